"""The worked example of docs/spec/blindfold.md, computed anew from the library and from the formulas.

`python -m tests.docs.test_spec_example` prints the block that the page must hold.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from blindfold import _primitives, begin_open, derive_exponent, finish_open
from blindfold._encoding import lp, u8
from blindfold.envelope import Header, read_header
from blindfold.errors import KeyUnacceptable
from blindfold.exponent import binding_info
from blindfold.opening import OpeningState, _begin_open_with
from blindfold.sealing import SEED_SIZE, _derive_x, derive_keys
from testvectors import material
from testvectors.blindfold_sealing import blind

PAGE = Path(__file__).parents[2] / "docs/spec/blindfold.md"
BLOCK = re.compile(r"^```example\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME_WIDTH, LINE_WIDTH = 15, 96

KEY, POLICY = material.key(), material.policy()
SEED = material.seeded("seed", SEED_SIZE)


@dataclass(frozen=True)
class Example:
    """Every intermediate value of one seal and one opening."""

    info: bytes
    exponent: int
    short_header: bytes
    salt: bytes
    x: int
    element: int
    header: bytes
    okm: bytes
    mac: bytes
    payload: bytes
    r: int
    blinded: bytes
    answer: bytes
    secret: bytes


def k_bytes(value: int) -> bytes:
    return value.to_bytes(KEY.element_size, "big")


def opening() -> tuple[bytes, OpeningState]:
    request, state = _begin_open_with(material.sealed(), KEY, test_only=True, blind=blind("small"))
    return request.element, state


def by_the_library() -> Example:
    sealed = material.sealed()
    source = io.BytesIO(sealed)
    header, public, mac = read_header(source)
    info = binding_info(KEY.tenant, KEY.key_version, POLICY.binding, POLICY.binding_value)
    exponent = derive_exponent(KEY.n, info)
    draft = Header(replace(header.lock, element=b""), header.metadata)
    x = _derive_x(KEY.n, draft, material.SECRET, SEED)
    blinded, state = opening()
    answer = material.root_of(blinded, "small", exponent)
    return Example(
        info=info,
        exponent=exponent,
        short_header=draft.to_bytes(with_element=False),
        salt=_primitives.sha256(draft.to_bytes(with_element=False) + material.SECRET),
        x=x,
        element=int.from_bytes(header.lock.element, "big"),
        header=public,
        okm=b"".join(derive_keys(public, k_bytes(x))),
        mac=mac,
        payload=source.read(),
        r=blind("small"),
        blinded=blinded,
        answer=answer,
        secret=finish_open(state, answer).reveal(),
    )


def fields(example: Example) -> Iterator[tuple[str, str]]:
    """Names and values in the order of the page."""
    p, q = material.primes("small")
    yield "p", f"{p:x}"
    yield "q", f"{q:x}"
    yield "key document", KEY.to_bytes().decode()
    yield "policy", POLICY.to_bytes().decode()
    yield "binding_value", POLICY.digest.hex()
    yield "info", example.info.hex()
    yield "e'", f"{example.exponent:x}"
    yield "secret", example.secret.hex()
    yield "seed", SEED.hex()
    yield "without lp(C)", example.short_header.hex()
    yield "salt", example.salt.hex()
    yield "x", f"{example.x:x}"
    yield "C", k_bytes(example.element).hex()
    yield "prefix, header", example.header.hex()
    yield "header_key", example.okm[:32].hex()
    yield "payload_key", example.okm[32:].hex()
    yield "mac", example.mac.hex()
    yield "payload", example.payload.hex()
    yield "r", f"{example.r:x}"
    yield "B", example.blinded.hex()
    yield "y", example.answer.hex()


def render(example: Example) -> str:
    lines = []
    for name, value in fields(example):
        label = name
        for start in range(0, len(value), LINE_WIDTH):
            lines.append(f"{label:{NAME_WIDTH}}{value[start : start + LINE_WIDTH]}\n")
            label = ""
    return "".join(lines)


def page_block() -> str:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 1
    return str(blocks[0])


EXAMPLE = by_the_library()


def test_page_holds_the_example_that_the_library_computes() -> None:
    assert page_block() == render(EXAMPLE)


def test_the_formulas_of_the_page_give_the_same_values() -> None:
    n, x, e = KEY.n, EXAMPLE.x, EXAMPLE.exponent
    p, q = material.primes("small")
    okm = _primitives.hkdf(
        "sha384", secret=b"key" + EXAMPLE.info + b"\x00", salt=k_bytes(n), info=b"PBRSA", length=64 + 16
    )
    assert e == int.from_bytes(bytes([okm[0] & 0x3F]) + okm[1:63] + bytes([okm[63] | 1]), "big")
    drawn = _primitives.hkdf(
        "sha384", secret=SEED, salt=EXAMPLE.salt, info=b"blindfold/v1 x", length=KEY.element_size + 16
    )
    assert x == int.from_bytes(drawn, "big") % n
    assert pow(x, e, n) == EXAMPLE.element
    assert int.from_bytes(EXAMPLE.blinded, "big") == EXAMPLE.element * pow(EXAMPLE.r, e, n) % n
    y = int.from_bytes(EXAMPLE.answer, "big")
    assert y == pow(int.from_bytes(EXAMPLE.blinded, "big"), pow(e, -1, (p - 1) * (q - 1)), n)
    assert y * pow(EXAMPLE.r, -1, n) % n == x


def test_the_keys_mac_and_payload_follow_from_header_and_x() -> None:
    okm = _primitives.hkdf(
        "sha256",
        secret=u8(1) + lp(k_bytes(EXAMPLE.x)),
        salt=_primitives.sha256(EXAMPLE.header),
        info=b"blindfold/v1 keys",
        length=64,
    )
    assert okm == EXAMPLE.okm
    assert EXAMPLE.mac == _primitives.hmac_sha256(okm[:32], EXAMPLE.header)
    assert EXAMPLE.payload == _primitives.AESGCM(okm[32:]).encrypt(bytes(11) + b"\x01", EXAMPLE.secret, None)
    assert EXAMPLE.secret == material.SECRET


def test_header_without_c_is_the_header_but_for_its_lengths_and_lp_c() -> None:
    without, complete = EXAMPLE.short_header, EXAMPLE.header
    assert len(without) == len(complete) - 2 - KEY.element_size
    assert complete.replace(lp(k_bytes(EXAMPLE.element)), b"")[19:] == without[19:]


def test_the_example_is_the_first_test_of_the_vectors() -> None:
    file = json.loads((PAGE.parents[2] / "testvectors/blindfold/open.json").read_text())
    first = file["tests"][0]
    assert first["tcId"] == 1
    assert first["sealed"] == (EXAMPLE.header + EXAMPLE.mac + EXAMPLE.payload).hex()
    assert (first["element"], first["answer"]) == (EXAMPLE.blinded.hex(), EXAMPLE.answer.hex())
    assert file["r"] == f"{EXAMPLE.r:x}"


def test_the_library_refuses_the_short_key_outside_of_tests() -> None:
    with pytest.raises(KeyUnacceptable):
        begin_open(material.sealed(), KEY)


if __name__ == "__main__":
    print(render(EXAMPLE), end="")  # noqa: T201
