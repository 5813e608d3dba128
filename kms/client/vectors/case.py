"""What vector files state: cases with what each expects, and how many the API cannot express, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from kms.crypto.aead import NONCE_SIZE, TAG_SIZE
from kms.model.algorithms import ALGORITHMS, MAX_AAD, MAX_PLAINTEXT


class VectorsUnreadable(Exception):
    """A file begins like vectors of a known form and does not keep to it; the message says where."""


class Expect(StrEnum):
    """What must become of a case. ACCEPTABLE may be refused; if it is not, the result must be that stated."""

    VALID = "valid"
    INVALID = "invalid"
    ACCEPTABLE = "acceptable"


class Reason(StrEnum):
    """Why a case cannot be put to the API."""

    ALGORITHM = "an algorithm that the KMS does not have"
    KEY_SIZE = "a key of another size"
    IV_SIZE = "an IV of other than 96 bits"
    TAG_SIZE = "a tag of other than 128 bits"
    SHORT_CODE = "a shortened code"
    HASH = "another hash"
    MASK_HASH = "MGF1 with another hash than that of the message"
    SALT_SIZE = "a salt that is not as long as the hash"
    EXPONENT = "a public exponent other than 65537"
    PARAMETERS = "a public key that carries parameters of RSASSA-PSS"
    LENGTH = "an input that is longer than a call takes"
    FOREIGN_KEY = "a ciphertext to a key that an import key cannot be"
    OFFLINE = "nothing that a KMS is asked"
    FORM = "a file of another form"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Base. `key` is in the form of an import: raw bytes, PKCS #8, or a SubjectPublicKeyInfo in DER.

    `algorithm` is one of `kms.model.algorithms`; `refusal` the reason (`kms.errors`) that an invalid case is
    refused with, "" where the vectors do not tell refusals apart.
    """

    case_id: str
    expect: Expect
    algorithm: str
    key: bytes = field(repr=False)
    refusal: str = ""

    @property
    def group(self) -> tuple[str, str, bytes]:
        """Equal for cases that one imported key serves."""
        return type(self).__name__, self.algorithm, self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCase(Case):
    """AES-GCM: the message is what the ciphertext decrypts to, b"" where it does not."""

    nonce: bytes
    aad: bytes
    ciphertext: bytes
    tag: bytes
    message: bytes

    def unsupported(self) -> Reason | None:
        """Why the API cannot express it, None if it can."""
        if self.algorithm not in ALGORITHMS:
            return Reason.KEY_SIZE
        if len(self.nonce) != NONCE_SIZE:
            return Reason.IV_SIZE
        if len(self.tag) != TAG_SIZE:
            return Reason.TAG_SIZE
        fits = max(len(self.message), len(self.ciphertext)) <= MAX_PLAINTEXT and len(self.aad) <= MAX_AAD
        return None if fits else Reason.LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class OaepCase(Case):
    """RSAES-OAEP: decryption."""

    ciphertext: bytes
    label: bytes
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PssCase(Case):
    """RSASSA-PSS: verification by a public key."""

    message: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MacCase(Case):
    """HMAC-SHA-256, not shortened."""

    message: bytes
    code: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CiphertextCase(Case):
    """A self-describing ciphertext (docs/spec/ciphertext.md), bound to a version's name and a key's uid.

    `origin` is the valid case that an invalid one was made from, None where none resembles it; `nonce` and
    `plaintext` are b"" in an invalid one.
    """

    uid: bytes
    name: str
    aad: bytes
    ciphertext: bytes
    nonce: bytes = b""
    plaintext: bytes = b""
    origin: "CiphertextCase | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingCase(Case):
    """Material wrapped to the private key `key`, RSA of 3,072 bits, for a version of `algorithm`.

    `ephemeral` is what its first part decrypts to, None if it is too short to have one.
    """

    wrapped: bytes
    ephemeral: bytes | None = field(repr=False)
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeyCase(Case):
    """A public key, to be imported for a version of `algorithm`."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The cases of a file that the API can express, and how many it cannot, by reason."""

    cases: tuple[Case, ...] = ()
    unsupported: Mapping[Reason, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def sort(cls, items: Iterable[Case | Reason]) -> Self:
        """From what a parser made of each case of a file."""
        found = list(items)
        return cls(
            tuple(item for item in found if isinstance(item, Case)),
            MappingProxyType(dict(Counter(item for item in found if isinstance(item, Reason)))),
        )


def octets(text: object, field_name: str) -> bytes:
    """Bytes in hexadecimal. Raises `VectorsUnreadable`."""
    if isinstance(text, str):
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    raise VectorsUnreadable(f"{field_name} is not hexadecimal")
