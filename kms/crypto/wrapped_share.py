"""Shares wrapped to their holders: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), AES-256-GCM.

`docs/spec/store.md`, "Shares". A share's header is HPKE's `info`: a share does not unwrap under another.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import rfc8785
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from blindfold._encoding import b64url, unb64url
from blindfold.errors import Corrupt
from blindfold.secret import SecretBytes
from kms.errors import InvalidField, Kind, KmsError
from kms.model.chain import STORE_ID_SIZE, Malformed, parse_object

SCHEMA = "kms/v1 wrapped share"
MAX_SIZE = 4096
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INVALID = "is not a share that `kms` wrapped"


class ShareNotUnwrapped(KmsError):
    """Wrapped to another key, or changed since. One flat error."""

    kind = Kind.INVALID
    reason = "SHARE_NOT_UNWRAPPED"
    hint = "Compare `recipient` in the file with the fingerprint of your key."

    def __init__(self) -> None:
        super().__init__("the share does not unwrap with this key")


@dataclass(frozen=True, slots=True)
class ShareHeader:
    """Whose share it is: the number of `count`, any `threshold` of which unlock the store."""

    store_id: bytes
    number: int
    threshold: int
    count: int


@dataclass(frozen=True, slots=True)
class WrappedShare:
    """A share that one key unwraps; `recipient` is that key's fingerprint."""

    header: ShareHeader
    recipient: str
    wrapped: bytes

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        return rfc8785.dumps({**_fields(self.header, self.recipient), "wrapped": b64url(self.wrapped)})

    @classmethod
    def parse(cls, data: bytes, field: str = "share") -> Self:
        """The inverse of `to_bytes`. Raises `InvalidField`."""
        try:
            found = cls._parse(parse_object(data)) if len(data) <= MAX_SIZE else None
        except (Malformed, Corrupt, KeyError, ValueError, TypeError, AttributeError):
            found = None
        if found is None or found.to_bytes() != data:
            raise InvalidField(field, _INVALID)
        return found

    @classmethod
    def _parse(cls, fields: dict[str, Any]) -> Self:
        numbers = (fields["number"], fields["threshold"], fields["count"])
        header = ShareHeader(bytes.fromhex(fields["store_id"]), *numbers)
        recipient, wrapped = fields["recipient"], unb64url(fields["wrapped"])
        typed = all(type(number) is int for number in numbers) and isinstance(recipient, str)
        if not typed or len(header.store_id) != STORE_ID_SIZE:
            raise ValueError("a field of another type or length")
        return cls(header, recipient, wrapped)


def new_key(passphrase: SecretBytes | None) -> tuple[SecretBytes, bytes]:
    """A holder's private key (PKCS #8, encrypted unless passphrase is None) and public key, both in PEM."""
    key = X25519PrivateKey.generate()
    protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.reveal())
    private = SecretBytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(public_pem: bytes) -> str:
    """`sha256:` and the SHA-256 of the SubjectPublicKeyInfo in DER. Raises `InvalidField`."""
    return _fingerprint(_public_key(public_pem))


def wrap_share(share: SecretBytes, header: ShareHeader, public_pem: bytes) -> WrappedShare:
    """Raises `InvalidField` for what is no X25519 public key in PEM, or a weak one."""
    key = _public_key(public_pem)
    recipient = _fingerprint(key)
    try:
        wrapped = _SUITE.encrypt(share.reveal(), key, _info(header, recipient))
    except ValueError:
        wrapped = None
    if wrapped is None:
        raise InvalidField("share_key", "is a key that nobody can hold alone")
    return WrappedShare(header, recipient, wrapped)


def unwrap_share(
    wrapped: WrappedShare, private_pem: SecretBytes, passphrase: SecretBytes | None
) -> SecretBytes:
    """The share. Raises `InvalidField` for what is no X25519 private key, `ShareNotUnwrapped`."""
    key = _private_key(private_pem, passphrase)
    try:
        return SecretBytes(_SUITE.decrypt(wrapped.wrapped, key, _info(wrapped.header, wrapped.recipient)))
    except (InvalidTag, ValueError):
        pass
    raise ShareNotUnwrapped


def _info(header: ShareHeader, recipient: str) -> bytes:
    return rfc8785.dumps(_fields(header, recipient))


def _fields(header: ShareHeader, recipient: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "store_id": header.store_id.hex(),
        "number": header.number,
        "threshold": header.threshold,
        "count": header.count,
        "recipient": recipient,
    }


def _public_key(public_pem: bytes) -> X25519PublicKey:
    try:
        key = load_pem_public_key(public_pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise InvalidField("share_key", "is not an X25519 public key in PEM")
    return key


def _private_key(private_pem: SecretBytes, passphrase: SecretBytes | None) -> X25519PrivateKey:
    password = None if passphrase is None else passphrase.reveal()
    try:
        key = load_pem_private_key(private_pem.reveal(), password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise InvalidField("key", "is not an X25519 private key in PEM, or its passphrase is another one")
    return key


def _fingerprint(key: X25519PublicKey) -> str:
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"
