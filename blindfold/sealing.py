"""Sealing: offline, from two public documents (docs/spec/blindfold.md, "Sealing")."""

import io
import time
from dataclasses import replace
from typing import Protocol

from blindfold import _primitives, stream
from blindfold._encoding import lp, u8
from blindfold._frames import clearing
from blindfold.documents import KeyDocument, PolicyDocument, document_exponent
from blindfold.envelope import Header, Metadata, PolicyLock, Source, read_exactly
from blindfold.errors import DocumentMismatch, InputInvalid
from blindfold.modulus import check_modulus

SEED_SIZE = 64
HEADER_KEY_SIZE = 32


class Sink(Protocol):
    """Where bytes are written to: a binary file, a pipe, `io.BytesIO`."""

    def write(self, data: bytes, /) -> object: ...


@clearing
def seal(
    secret: bytes,
    key: KeyDocument,
    policy: PolicyDocument,
    *,
    expect_policy: str | None = None,
    name: str = "",
    content_type: str = "",
    pad: bool = False,
    test_only: bool = False,
) -> bytes:
    """Seal a secret that is at hand in memory; the result is the binary form. Raises as `seal_stream`."""
    sink = io.BytesIO()
    seal_stream(
        io.BytesIO(secret), sink, key, policy, expect_policy=expect_policy,
        name=name, content_type=content_type, pad_to=len(secret) if pad else None, test_only=test_only,
    )  # fmt: skip
    return sink.getvalue()


@clearing
def seal_stream(
    source: Source,
    sink: Sink,
    key: KeyDocument,
    policy: PolicyDocument,
    *,
    expect_policy: str | None = None,
    name: str = "",
    content_type: str = "",
    pad_to: int | None = None,
    test_only: bool = False,
) -> None:
    """Seal up to 4 TiB from source into sink in constant memory.

    `key` and `policy` are verified documents (`Bundle.verify`). `expect_policy` is the resource name of the
    policy that is meant. Leave it out only where `policy` did not come from others: whoever may write any
    policy of the tenant has signed documents too. `pad_to` turns padding on and is the exact length of the
    secret in bytes. `test_only` lets small moduli pass. Raises `DocumentMismatch`, `KeyUnacceptable`,
    `InputInvalid`.
    """
    if expect_policy is not None:
        policy.check_named(expect_policy)
    metadata = Metadata(name=name, content_type=content_type, created=int(time.time()))
    check_modulus(key.n, test_only=test_only)
    _seal_with(source, sink, key, policy, metadata=metadata, pad_to=pad_to, seed=None)


def _seal_with(
    source: Source,
    sink: Sink,
    key: KeyDocument,
    policy: PolicyDocument,
    *,
    metadata: Metadata,
    pad_to: int | None,
    seed: bytes | None,
) -> None:
    """`seal_stream` with its inputs laid open; a seed of None is drawn, any other is for vectors only."""
    if key.tenant != policy.tenant:
        raise DocumentMismatch(f"the key is of tenant {key.tenant!r}, the policy of {policy.tenant!r}")
    if pad_to is not None:
        source = stream.PaddingSource(source, pad_to)
        metadata = replace(metadata, padded=True)
    first = read_exactly(source, stream.CHUNK)
    lock = PolicyLock(key.tenant, key.key_version, policy.binding, policy.binding_value, key.fingerprint, b"")
    draft = Header(lock, metadata)
    x = _derive_x(key.n, draft, first, seed)
    element = _primitives.secret_power(x, document_exponent(key, policy), key.n)
    header = replace(draft, lock=replace(lock, element=int(element).to_bytes(key.element_size, "big")))
    public = header.to_bytes()
    header_key, payload_key = derive_keys(public, x.to_bytes(key.element_size, "big"))
    sink.write(public + _primitives.hmac_sha256(header_key, public))
    for chunk in stream.encrypt(payload_key, stream.chunks(source, first)):
        sink.write(chunk)


def _derive_x(n: int, draft: Header, first_chunk: bytes, seed: bytes | None) -> int:
    """x in [2, n-2], from a 64-byte seed hedged with what is sealed.

    A generator that repeats its output still gives another x for another header or another first chunk. x
    must never serve two seals: x under two exponents is public, by Bezout. Raises `InputInvalid` if a given
    seed hits one of the three values outside the range; a drawn one is drawn again.
    """
    salt = _primitives.sha256(draft.to_bytes(with_element=False) + first_chunk)
    while True:
        okm = _primitives.hkdf(
            "sha384",
            secret=_primitives.random_bytes(SEED_SIZE) if seed is None else seed,
            salt=salt,
            info=b"blindfold/v1 x",
            length=(n.bit_length() + 7) // 8 + 16,
        )
        x = int.from_bytes(okm, "big") % n
        if 2 <= x <= n - 2:
            return x
        if seed is not None:
            raise InputInvalid("the seed gives an x outside [2, n-2]")


def derive_keys(public: bytes, x: bytes) -> tuple[bytes, bytes]:
    """(header key, payload key), 32 bytes each, from every byte before the mac and x in k bytes."""
    okm = _primitives.hkdf(
        "sha256",
        secret=u8(PolicyLock.TYPE) + lp(x),
        salt=_primitives.sha256(public),
        info=b"blindfold/v1 keys",
        length=2 * HEADER_KEY_SIZE,
    )
    return okm[:HEADER_KEY_SIZE], okm[HEADER_KEY_SIZE:]
