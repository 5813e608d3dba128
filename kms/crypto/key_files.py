"""RSA keys as people keep them in files, made what the API takes: PEM (RFC 7468) or DER becomes DER."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from blindfold.secret import SecretBytes
from kms.crypto import rsa_keys
from kms.crypto.key_wrapping import RECIPIENT_BITS, Unwrapper
from kms.errors import InvalidField

_PEM = b"-----BEGIN "


def private_key(data: SecretBytes, field: str) -> SecretBytes:
    """An unencrypted RSA key as PKCS #8 in DER, checked in full, which takes up to a second.

    Raises `InvalidField`.
    """
    return SecretBytes(rsa_keys.pkcs8(_load_private(data, field)))


def key_material(data: SecretBytes, field: str) -> SecretBytes:
    """What an import wraps: an RSA key in PEM as PKCS #8 in DER, all else as it is.

    Raises `InvalidField` for PEM of anything else.
    """
    return private_key(data, field) if data.reveal().startswith(_PEM) else data


def public_key(data: bytes, field: str) -> bytes:
    """An RSA public key as SubjectPublicKeyInfo in DER. Raises `InvalidField`."""
    load = load_pem_public_key if data.startswith(_PEM) else load_der_public_key
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise InvalidField(field, "not an RSA public key (SubjectPublicKeyInfo) in PEM or DER")
    return rsa_keys.spki(key)


def recipient(data: SecretBytes, field: str) -> Unwrapper:
    """The RSA private key that an export is wrapped to the public half of. Raises `InvalidField`."""
    key = _load_private(data, field)
    if key.key_size not in RECIPIENT_BITS:
        sizes = " or ".join(map(str, RECIPIENT_BITS))
        raise InvalidField(field, f"an RSA key of {sizes} bits is needed, not of {key.key_size}")
    return Unwrapper(SecretBytes(rsa_keys.pkcs8(key)))


def _load_private(data: SecretBytes, field: str) -> RSAPrivateKey:
    raw = data.reveal()
    load = load_pem_private_key if raw.startswith(_PEM) else load_der_private_key
    try:
        key = load(raw, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidField(field, "not a sound, unencrypted RSA private key in PEM or DER")
    return key
