"""A KMS reduced to its arithmetic: it answers every request rightly, whoever asks and under whatever policy.

It is the strongest honest oracle an attacker can have, so what does not open with it does not open at all.
Its roots are Python's `pow`, an implementation apart from the one under test.
"""

import io
from dataclasses import dataclass

from blindfold import BlindRequest, KeyDocument, PolicyDocument, begin_open, derive_exponent, finish_open
from blindfold.documents import document_exponent
from blindfold.envelope import Header, read_header
from blindfold.exponent import binding_info
from testvectors import material

# Two safe primes; 512 bits in all, for tests that seal or open thousands of times.
TINY = (
    0xD9924A8EAB36AC64DB73E5008F62FE1A9C63A1D8ABB77CA380D52BD405A5337B,
    0xE289F5556397D857D70BCB9CD569D6FE612A7369ED9D49C7BE136B61BE47E517,
)


@dataclass(frozen=True)
class HonestKms:
    """One tenant key."""

    p: int = TINY[0]
    q: int = TINY[1]
    tenant: str = "acme"
    version: int = 1

    @property
    def key(self) -> KeyDocument:
        return KeyDocument(self.tenant, self.version, self.p * self.q)

    def root(self, value: int, exponent: int) -> int:
        return pow(value, pow(exponent, -1, (self.p - 1) * (self.q - 1)), self.p * self.q)

    def root_bytes(self, element: bytes, exponent: int) -> bytes:
        return self.root(int.from_bytes(element, "big"), exponent).to_bytes(self.key.element_size, "big")

    def answer(self, request: BlindRequest) -> bytes:
        info = binding_info(request.tenant, request.key_version, request.binding, request.binding_value)
        return self.root_bytes(request.element, derive_exponent(self.key.n, info))

    def open(self, sealed: bytes, *, key: KeyDocument | None = None) -> bytes:
        request, state = begin_open(sealed, key or self.key, test_only=True)
        return finish_open(state, self.answer(request)).reveal()

    def x_of(self, sealed: bytes, policy: PolicyDocument) -> int:
        """What only the key's holder can compute of a file."""
        return self.root(element_of(sealed), document_exponent(self.key, policy))


def small_kms() -> HonestKms:
    """The vectors' 1024-bit key."""
    return HonestKms(*material.primes("small"))


def header_of(sealed: bytes) -> Header:
    return read_header(io.BytesIO(sealed))[0]


def element_of(sealed: bytes) -> int:
    return int.from_bytes(header_of(sealed).lock.element, "big")
