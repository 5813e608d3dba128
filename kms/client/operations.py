"""What can be asked of keys, and what comes back: a value for each operation of `kms.v1.CryptoService`.

Bytes and limits are those of protos/kms/v1/crypto.proto. What is secret is a `SecretBytes` in answers, may be
one in requests, and is in no repr.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from blindfold.secret import SecretBytes
from kms.errors import InvalidField

Secret: TypeAlias = bytes | SecretBytes
Answer = TypeVar("Answer", covariant=True)


class Request(Generic[Answer]):
    """Base: what is asked of a key. All of them may be asked twice: a repetition changes nothing."""

    __slots__ = ()


class PublicKeyFormat(StrEnum):
    """How a public key is written: as PEM or DER of a SubjectPublicKeyInfo, or as a JSON Web Key."""

    PEM = "PUBLIC_KEY_FORMAT_PEM"
    DER = "PUBLIC_KEY_FORMAT_DER"
    JWK = "PUBLIC_KEY_FORMAT_JWK"


@dataclass(frozen=True, slots=True)
class Encrypted:
    """`name` is that of the key version."""

    name: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Decrypted:
    """`name` is that of the key version."""

    name: str
    plaintext: SecretBytes


@dataclass(frozen=True, slots=True)
class ReEncrypted:
    """`name` is that of the version that the ciphertext is of, `source_name` of the one before."""

    name: str
    source_name: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True, eq=False)
class DataKey:
    """`ciphertext` decrypts to `plaintext`, which is empty where it was not asked for."""

    name: str
    ciphertext: bytes
    plaintext: SecretBytes


@dataclass(frozen=True, slots=True, eq=False)
class RandomBytes:
    data: SecretBytes


@dataclass(frozen=True, slots=True)
class RawEncrypted:
    """`nonce` has 12 bytes, `tag` 16."""

    name: str
    nonce: bytes
    ciphertext: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """It holds; `name` is the key version that it is of. What does not hold raises."""

    name: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`algorithm` as "RSA_PSS_3072_SHA256"."""

    name: str
    algorithm: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class MacCode:
    name: str
    mac: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Encrypt(Request[Encrypted]):
    """Under the primary version of a key."""

    plaintext: Secret = field(repr=False)
    aad: bytes = b""


@dataclass(frozen=True, slots=True)
class Decrypt(Request[Decrypted]):
    """A ciphertext of Encrypt, ReEncrypt or GenerateDataKey."""

    ciphertext: bytes
    aad: bytes = b""
    allow_compromised: bool = False


@dataclass(frozen=True, slots=True)
class ReEncrypt(Request[ReEncrypted]):
    """To the primary version of `destination`, or of the same key. `destination_aad` is not taken from `aad`.

    A raw ciphertext, as nonce || ciphertext || tag, is asked of its version. All in one batch have the same
    destination.
    """

    ciphertext: bytes
    aad: bytes = b""
    destination: str = ""
    destination_aad: bytes = b""
    allow_compromised: bool = False


@dataclass(frozen=True, slots=True)
class GenerateDataKey(Request[DataKey]):
    """Of 16, 32 or 64 bytes."""

    aad: bytes = b""
    byte_count: int = 32
    with_plaintext: bool = True


@dataclass(frozen=True, slots=True)
class GenerateRandom(Request[RandomBytes]):
    """1 to 1,024 bytes. Asked of a namespace."""

    byte_count: int


@dataclass(frozen=True, slots=True, eq=False)
class RawEncrypt(Request[RawEncrypted]):
    """For exchange with others: nothing but `aad` is bound. The KMS draws the nonce."""

    plaintext: Secret = field(repr=False)
    aad: bytes = b""


@dataclass(frozen=True, slots=True)
class RawDecrypt(Request[Decrypted]):
    nonce: bytes
    ciphertext: bytes
    tag: bytes
    aad: bytes = b""
    allow_compromised: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class AsymmetricEncrypt(Request[Encrypted]):
    """RSAES-OAEP with a label."""

    plaintext: Secret = field(repr=False)
    label: bytes = b""


@dataclass(frozen=True, slots=True)
class AsymmetricDecrypt(Request[Decrypted]):
    """Asked of the version that encrypted."""

    ciphertext: bytes
    label: bytes = b""
    allow_compromised: bool = False


@dataclass(frozen=True, slots=True)
class Sign(Request[Signature]):
    """A message, or the digest of one. Raises `InvalidField` unless it is exactly one of them."""

    message: bytes | None = field(default=None, repr=False)
    digest: bytes | None = None

    def __post_init__(self) -> None:
        _one_of(self.message, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify(Request[Verified]):
    """A signature of a message, or of a digest; asked of the version that signed. Raises as `Sign`."""

    message: bytes | None = field(default=None, repr=False)
    digest: bytes | None = None
    signature: bytes
    allow_compromised: bool = False

    def __post_init__(self) -> None:
        _one_of(self.message, self.digest)


@dataclass(frozen=True, slots=True)
class GetPublicKey(Request[PublicKey]):
    format: PublicKeyFormat = PublicKeyFormat.PEM


@dataclass(frozen=True, slots=True)
class Mac(Request[MacCode]):
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MacVerify(Request[Verified]):
    """Asked of the version that made the code."""

    message: bytes = field(repr=False)
    mac: bytes
    allow_compromised: bool = False


def _one_of(message: bytes | None, digest: bytes | None) -> None:
    if (message is None) == (digest is None):
        raise InvalidField("data", "set message or digest")
