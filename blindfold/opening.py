"""Opening: blind, ask, unblind, verify (docs/spec/blindfold.md, "Opening"). No I/O but reading the file.

    begin_open(sealed, key) -> (request, state)         the request goes to the KMS, by whatever transport
    finish_open(state, answer) -> secret                once the answer is verified, and the file to its end

The request's element is uniform and independent of the file. The state is secret and serves once.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from blindfold import _primitives, stream
from blindfold._frames import clearing, clearing_pieces
from blindfold.documents import KeyDocument
from blindfold.envelope import Header, Source, read_header
from blindfold.errors import DocumentMismatch, NameMismatch, OpenFailed, StateConsumed, WrongAnswer
from blindfold.exponent import Binding, binding_info, derive_exponent
from blindfold.modulus import check_modulus, parse_element
from blindfold.sealing import derive_keys
from blindfold.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class BlindRequest:
    """All that the KMS learns of a file: which key version and policy it is under, and a uniform element."""

    tenant: str
    key_version: int
    binding: Binding
    binding_value: bytes
    element: bytes


class OpeningState:
    """What the opener keeps between the two halves: the blinding factor, and the file it belongs to."""

    __slots__ = ("_blind", "_exponent", "_key", "_mac", "_public", "_source", "header")

    def __init__(
        self,
        header: Header,
        public: bytes,
        mac: bytes,
        source: Source,
        key: KeyDocument,
        exponent: int,
        blind: int,
    ) -> None:
        self.header = header
        self._public = public
        self._mac = mac
        self._source = source
        self._key = key
        self._exponent = exponent
        self._blind: int | None = blind

    def __repr__(self) -> str:
        return f"OpeningState(key_version={self._key.key_version}, consumed={self._blind is None})"

    def __reduce__(self) -> str:
        raise TypeError("an opening state is neither copied nor stored")

    def _consume(self, answer: bytes) -> bytes:
        """x in k bytes, once x^e' == C has been checked. Raises `StateConsumed` or `WrongAnswer`."""
        if self._blind is None:
            raise StateConsumed("this state has already been used")
        blind, self._blind = self._blind, None
        n, size = self._key.n, self._key.element_size
        y = int.from_bytes(answer, "big")
        if len(answer) != size or y >= n:
            raise WrongAnswer(f"the answer is not {size} bytes below the modulus")
        x = y * _primitives.secret_inverse(blind, n) % n
        if _primitives.secret_power(x, self._exponent, n) != int.from_bytes(self.header.lock.element, "big"):
            raise WrongAnswer("the answer is not the root of what was asked")
        return int(x).to_bytes(size, "big")

    def _payload_key(self, answer: bytes, expect_name: str | None) -> bytes:
        x = self._consume(answer)
        header_key, payload_key = derive_keys(self._public, x)
        if not _primitives.is_equal(_primitives.hmac_sha256(header_key, self._public), self._mac):
            raise OpenFailed
        name = self.header.metadata.name
        if expect_name is not None and name != expect_name:
            raise NameMismatch(f"the sealed secret is named {name!r}, expected {expect_name!r}")
        return payload_key


@clearing
def begin_open(
    sealed: bytes | Source, key: KeyDocument, *, test_only: bool = False
) -> tuple[BlindRequest, OpeningState]:
    """Blind a sealed secret's element. `sealed` is the binary form, as bytes or as an open binary file.

    `key` is the key document of the version the header names. A resend sends the same request again; a new
    attempt begins anew. Raises `Corrupt`, `NotSealed`, `Unsupported`, `DocumentMismatch`, `KeyUnacceptable`,
    `ElementOutOfRange`.
    """
    return _begin_open_with(sealed, key, test_only=test_only, blind=None)


def _begin_open_with(
    sealed: bytes | Source, key: KeyDocument, *, test_only: bool, blind: int | None
) -> tuple[BlindRequest, OpeningState]:
    """`begin_open` with its randomness laid open; a blind of None is drawn, any other is for tests only."""
    source: Source = io.BytesIO(sealed) if isinstance(sealed, bytes) else sealed
    header, public, mac = read_header(source)
    lock = header.lock
    if (lock.tenant, lock.key_version, lock.fingerprint) != (key.tenant, key.key_version, key.fingerprint):
        raise DocumentMismatch(
            f"sealed to key version {lock.key_version} of tenant {lock.tenant!r}, "
            f"the key document is version {key.key_version} of {key.tenant!r}, or its modulus differs"
        )
    n = check_modulus(key.n, test_only=test_only)
    element = parse_element(lock.element, n, "the sealed element")
    exponent = derive_exponent(
        n, binding_info(lock.tenant, lock.key_version, lock.binding, lock.binding_value)
    )
    r = int(_primitives.random_unit(n)) if blind is None else blind
    blinded = element * _primitives.secret_power(r, exponent, n) % n
    request = BlindRequest(
        lock.tenant,
        lock.key_version,
        lock.binding,
        lock.binding_value,
        int(blinded).to_bytes(key.element_size, "big"),
    )
    return request, OpeningState(header, public, mac, source, key, exponent, r)


@clearing
def finish_open(state: OpeningState, answer: bytes, *, expect_name: str | None = None) -> SecretBytes:
    """The secret, only after its last chunk has been verified.

    `answer` is what the KMS sent for the request's element. Raises `WrongAnswer` (an alarm),
    `OpenFailed`, `NameMismatch`, `StateConsumed`.
    """
    return SecretBytes(b"".join(open_unfinished_stream(state, answer, expect_name=expect_name)))


@clearing
def open_unfinished_stream(
    state: OpeningState, answer: bytes, *, expect_name: str | None = None
) -> Iterator[bytes]:
    """The secret in verified pieces, in constant memory.

    Unfinished: until the iterator has ended, the rest of the file may be missing, and the caller must be
    ready to discard all it got. Answer, mac and name are checked before this returns. Raises as
    `finish_open`.
    """
    payload_key = state._payload_key(answer, expect_name)
    plain = stream.decrypt(payload_key, state._source)
    return clearing_pieces(stream.unpad(plain) if state.header.metadata.padded else plain)
