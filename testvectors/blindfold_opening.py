"""Vectors of opening: files, answers and payloads, most of them refused."""

from dataclasses import replace
from typing import Any

from blindfold import Binding
from blindfold._encoding import lp, u8, u16, u32
from blindfold._primitives import AESGCM
from blindfold.envelope import MAC_SIZE, MAGIC, PREFIX_SIZE, Header
from blindfold.modulus import element_size
from blindfold.opening import _begin_open_with
from blindfold.sealing import derive_keys
from blindfold.stream import CHUNK, nonce
from testvectors import material
from testvectors.blindfold_sealing import blind
from testvectors.vectorfile import VectorFile


def opens() -> VectorFile:
    file = VectorFile(
        "blindfold/v1 open",
        "open_schema.json",
        {
            "Valid": "Blinding with r gives the element, and the answer opens the secret.",
            "Form": "The file breaks its form; refused before anything is asked.",
            "Future": "The file is of a later version; refused as unsupported, not as damaged.",
            "BitFlip": "One bit of the file is flipped.",
            "Binding": "Tenant, key version or policy is exchanged: another exponent, or another key.",
            "Element": "C is not a usable group element.",
            "Answer": "The KMS answers wrongly.",
            "Payload": "The payload is cut, extended, or its padding is wrong.",
        },
        common={"key": material.key().to_bytes().decode(), "r": f"{blind('small'):x}"},
    )
    sealed = material.sealed()
    for comment, data in (
        ("a short secret", sealed),
        ("an empty secret", material.sealed(b"")),
        ("a padded secret", material.sealed(pad=True)),
        (
            "bound to the policy's name",
            material.sealed(policy_document=material.policy(binding=Binding.POLICY)),
        ),
    ):
        secret = b"" if comment == "an empty secret" else material.SECRET
        file.valid(comment, "Valid", sealed=data.hex(), **_asked(data), secret=secret.hex())
    _add_forms(file, sealed)
    _add_flips(file, sealed)
    _add_bindings(file)
    _add_elements(file)
    _add_answers(file, sealed)
    _add_payloads(file, sealed)
    return file


def _asked(sealed: bytes) -> dict[str, str]:
    """What the client asks with the fixed r, and the honest answer for the header's policy."""
    request, state = _begin_open_with(sealed, material.key(), test_only=True, blind=blind("small"))
    return {
        "element": request.element.hex(),
        "answer": material.root_of(request.element, "small", state._exponent).hex(),
    }


def _with_header(sealed: bytes, header: bytes) -> bytes:
    """The file with another header, its announced length corrected."""
    rest = sealed[header_end(sealed) :]
    return sealed[: PREFIX_SIZE - 4] + u32(len(header)) + header + rest


def header_end(sealed: bytes) -> int:
    return PREFIX_SIZE + int.from_bytes(sealed[PREFIX_SIZE - 4 : PREFIX_SIZE], "big")


def _add_forms(file: VectorFile, sealed: bytes) -> None:
    header = sealed[PREFIX_SIZE : header_end(sealed)]
    lock_end = 4 + int.from_bytes(header[2:4], "big")
    lock, metadata = header[1:lock_end], header[lock_end:]
    version, suite = len(MAGIC), len(MAGIC) + 1
    for comment, flag, error, data in (
        ("nothing", "Form", "NotSealed", b""),
        ("other magic bytes", "Form", "NotSealed", b"\x93BFOLD\n\n" + sealed[8:]),
        ("format 2", "Future", "Unsupported", sealed[:version] + u8(2) + sealed[version + 1 :]),
        ("suite 2", "Future", "Unsupported", sealed[:suite] + u16(2) + sealed[suite + 2 :]),
        ("no lock", "Form", "Corrupt", _with_header(sealed, u8(0) + metadata)),
        ("two locks", "Future", "Unsupported", _with_header(sealed, u8(2) + lock + lock + metadata)),
        ("lock type 2", "Future", "Unsupported", _with_header(sealed, u8(1) + u8(2) + lock[1:] + metadata)),
        (
            "a byte after the lock's fields",
            "Form",
            "Corrupt",
            _with_header(sealed, u8(1) + u8(1) + lp(lock[3:] + b"\x00") + metadata),
        ),
        ("metadata tag 5", "Future", "Unsupported", _with_header(sealed, header + u8(5) + lp(b"x"))),
        ("metadata out of order", "Form", "Corrupt", _with_header(sealed, header + u8(1) + lp(b"x"))),
        ("an empty metadata field", "Form", "Corrupt", _with_header(sealed, header + u8(4) + lp(b""))),
        ("a padding flag of 2", "Form", "Corrupt", _with_header(sealed, header + u8(4) + lp(b"\x02"))),
        (
            "a control character in the name",
            "Form",
            "Corrupt",
            _with_header(sealed, header[:lock_end] + u8(1) + lp(b"a\x1b[2Jb")),
        ),
        ("a header of 16 KiB and a byte", "Form", "Corrupt", sealed[: PREFIX_SIZE - 4] + u32(16385)),
        ("cut off inside the header", "Form", "Corrupt", sealed[: header_end(sealed) - 1]),
        ("cut off inside the mac", "Form", "Corrupt", sealed[: header_end(sealed) + MAC_SIZE - 1]),
    ):
        file.invalid(comment, flag, error, sealed=data.hex())


def _add_flips(file: VectorFile, sealed: bytes) -> None:
    """A flip in each field, with the answer an honest KMS gives for what the flipped header asks."""
    lock = Header.parse(sealed[: header_end(sealed)]).lock
    body = PREFIX_SIZE + 4
    offsets = {
        "tenant": (body + 1 + len(lock.tenant), "DocumentMismatch"),
        "key version": (body + 2 + len(lock.tenant) + 2, "DocumentMismatch"),
        "binding": (body + 2 + len(lock.tenant) + 4, None),
        "binding value": (sealed.index(lock.binding_value), "WrongAnswer"),
        "fingerprint": (sealed.index(lock.fingerprint), "DocumentMismatch"),
        "element": (sealed.index(lock.element) + 100, "OpenFailed"),
        "name": (sealed.index(b"web/tls.key"), "OpenFailed"),
        "content type": (sealed.index(b"text/plain"), "OpenFailed"),
        "created": (header_end(sealed) - 1, "OpenFailed"),
        "mac": (header_end(sealed), "OpenFailed"),
        "payload": (header_end(sealed) + MAC_SIZE, "OpenFailed"),
        "last byte": (len(sealed) - 1, "OpenFailed"),
    }
    for field, (offset, error) in offsets.items():
        data = bytearray(sealed)
        data[offset] ^= 1
        flipped = bytes(data)
        if error is None:
            file.invalid(f"{field}", "BitFlip", "Unsupported", sealed=flipped.hex())
        elif error == "DocumentMismatch":
            file.invalid(f"{field}", "BitFlip", error, sealed=flipped.hex())
        elif error == "WrongAnswer":
            # The KMS knows no such policy; an answer under the true policy does not help either.
            honest = _asked(sealed)["answer"]
            file.invalid(f"{field}", "BitFlip", error, sealed=flipped.hex(), answer=honest)
        else:
            file.invalid(f"{field}", "BitFlip", error, sealed=flipped.hex(), answer=_asked(flipped)["answer"])


def _add_bindings(file: VectorFile) -> None:
    for comment, data in (
        (
            "sealed to another tenant",
            material.sealed(
                key_document=material.key(tenant="acme2"), policy_document=material.policy(tenant="acme2")
            ),
        ),
        ("sealed to another key version", material.sealed(key_document=material.key(version=2))),
        ("sealed to another key", material.sealed(key_document=material.key("other"))),
    ):
        file.invalid(comment, "Binding", "DocumentMismatch", sealed=data.hex())
    sealed = material.sealed()
    request, _ = _begin_open_with(sealed, material.key(), test_only=True, blind=blind("small"))
    other = material.root_of(
        request.element, "small", material.exponent("small", material.policy(revision=2))
    )
    file.invalid(
        "answered under another revision", "Binding", "WrongAnswer", sealed=sealed.hex(), answer=other.hex()
    )
    header = Header.parse(sealed[: header_end(sealed)])
    moved = replace(header, lock=replace(header.lock, binding_value=material.policy(revision=2).digest))
    data = moved.to_bytes() + sealed[header_end(sealed) :]
    file.invalid(
        "moved to another revision", "Binding", "OpenFailed", sealed=data.hex(), answer=_asked(data)["answer"]
    )


def _add_elements(file: VectorFile) -> None:
    sealed = material.sealed()
    header = Header.parse(sealed[: header_end(sealed)])
    p, q = material.primes("small")
    n, size = p * q, element_size(p * q)
    for comment, value in (
        ("0", 0),
        ("1", 1),
        ("n - 1", n - 1),
        ("n", n),
        ("n + 1", n + 1),
        ("p", p),
        ("5p", 5 * p),
    ):
        lock = replace(header.lock, element=value.to_bytes(size, "big"))
        data = replace(header, lock=lock).to_bytes() + sealed[header_end(sealed) :]
        file.invalid(f"C = {comment}", "Element", "ElementOutOfRange", sealed=data.hex())
    short = replace(header, lock=replace(header.lock, element=header.lock.element[1:]))
    data = short.to_bytes() + sealed[header_end(sealed) :]
    file.invalid("C is a byte short", "Element", "ElementOutOfRange", sealed=data.hex())


def _add_answers(file: VectorFile, sealed: bytes) -> None:
    n = material.key().n
    size = element_size(n)
    honest = int(_asked(sealed)["answer"], 16)
    for comment, answer in (
        ("a byte short", honest.to_bytes(size, "big")[1:]),
        ("a byte long", b"\x00" + honest.to_bytes(size, "big")),
        ("plus n, in one byte more", (honest + n).to_bytes(size + 1, "big")),
        ("off by one", ((honest + 1) % n).to_bytes(size, "big")),
        ("negated", (n - honest).to_bytes(size, "big")),
        ("zero", bytes(size)),
        ("n", n.to_bytes(size, "big")),
        ("the element itself", bytes.fromhex(_asked(sealed)["element"])),
        ("nothing", b""),
    ):
        file.invalid(f"answer: {comment}", "Answer", "WrongAnswer", sealed=sealed.hex(), answer=answer.hex())


def _add_payloads(file: VectorFile, sealed: bytes) -> None:
    start = header_end(sealed) + MAC_SIZE
    answer = _asked(sealed)["answer"]
    for comment, payload in (
        ("no chunk at all", b""),
        ("shorter than a tag", sealed[start:][:15]),
        ("cut off by a byte", sealed[start:-1]),
        ("a byte appended", sealed[start:] + b"\x00"),
    ):
        file.invalid(comment, "Payload", "OpenFailed", sealed=(sealed[:start] + payload).hex(), answer=answer)
    padded = material.sealed(pad=True)
    asked = _asked(padded)["answer"]
    length = len(material.SECRET)
    body = length.to_bytes(8, "big") + material.SECRET
    for comment, plain in (
        ("padding that is not zero", body.ljust(255, b"\x00") + b"\x01"),
        ("padding too short", body.ljust(255, b"\x00")),
        ("padding too long", body.ljust(257, b"\x00")),
        ("a length that the padding does not fit", (length + 300).to_bytes(8, "big") + bytes(248)),
        ("a length of 2^64 - 1", b"\xff" * 8 + bytes(248)),
        ("no room for the length", b"\x00" * 7),
    ):
        data = padded[: header_end(padded) + MAC_SIZE] + AESGCM(_payload_key(padded)).encrypt(
            nonce(0, last=True), plain, None
        )
        file.invalid(comment, "Payload", "OpenFailed", sealed=data.hex(), answer=asked)


def _payload_key(sealed: bytes) -> bytes:
    """The payload key of a file that `material.sealed` made."""
    public = sealed[: header_end(sealed)]
    lock = Header.parse(public).lock
    x = material.root_of(lock.element, "small", material.exponent("small", material.policy()))
    return derive_keys(public, x)[1]


def chunked() -> VectorFile:
    """Payloads of several chunks, given as recipes: a full chunk would not be small."""
    file = VectorFile(
        "blindfold/v1 payload chunks",
        "chunks_schema.json",
        {
            "Valid": "The chunks, each encrypted with its nonce, form a payload.",
            "Order": "A chunk is missing, repeated, swapped, or not marked as the last.",
            "Size": "A chunk has a size that its place does not allow.",
        },
        common={"payload_key": material.seeded("payload key", 32).hex()},
    )
    full, rest = CHUNK, 10

    def recipe(*parts: tuple[int, bool, int]) -> list[dict[str, Any]]:
        return [{"counter": counter, "last": last, "zeros": zeros} for counter, last, zeros in parts]

    for comment, parts in (
        ("one chunk", ((0, True, rest),)),
        ("one full chunk", ((0, True, full),)),
        ("three chunks", ((0, False, full), (1, False, full), (2, True, rest))),
    ):
        file.valid(comment, "Valid", chunks=recipe(*parts), length=sum(part[2] for part in parts))
    for comment, flag, parts in (
        ("an empty last chunk after a full one", "Size", ((0, False, full), (1, True, 0))),
        ("a short chunk before the last", "Size", ((0, False, full - 1), (1, True, rest))),
        ("a chunk of 65,537 bytes", "Size", ((0, True, full + 1),)),
        ("swapped chunks", "Order", ((1, False, full), (0, False, full), (2, True, rest))),
        ("a chunk twice", "Order", ((0, False, full), (0, False, full), (1, True, rest))),
        ("the first chunk missing", "Order", ((1, False, full), (2, True, rest))),
        ("the middle chunk missing", "Order", ((0, False, full), (2, True, rest))),
        ("the last chunk missing", "Order", ((0, False, full), (1, False, full))),
        ("two last chunks", "Order", ((0, True, full), (1, True, rest))),
        ("nothing marked as last", "Order", ((0, False, rest),)),
    ):
        file.invalid(comment, flag, "OpenFailed", chunks=recipe(*parts))
    return file
