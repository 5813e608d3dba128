"""Certificate signing requests: a public key with proof of possession, and nothing else (RFC 2986)."""

from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kms.errors import InvalidField, LimitExceeded

MAX_CSR = 16 * 1024
MIN_RSA_BITS = 3072
# TLS libraries stop at 8192 bits, and a larger key is a way to make others compute.
MAX_RSA_BITS = 8192
RSA_EXPONENT = 65537

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_CURVES = (ec.SECP256R1, ec.SECP384R1)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
_PEM_START = b"-----BEGIN "


def verify_csr(data: bytes) -> PublicKey:
    """The public key of a request, PEM or DER, whose signature proves that its maker holds the private key.

    The subject is ignored: names come from the grant. A requested extension or attribute is refused rather
    than dropped, so that nobody believes he was given it. Raises `InvalidField` or `LimitExceeded`.
    """
    if len(data) > MAX_CSR:
        raise LimitExceeded("csr", f"{len(data)} bytes, at most {MAX_CSR} are allowed")
    try:
        pem = data.lstrip().startswith(_PEM_START)
        csr = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        key = csr.public_key()
        requested = _requested(csr)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise InvalidField("csr", "is not a certificate signing request in PEM or DER") from None
    if requested:
        raise InvalidField("csr", f"asks for {', '.join(requested)}; names and usages come from the grant")
    accepted = check_public_key(key)
    _check_signature(csr)
    return accepted


def check_public_key(key: object) -> PublicKey:
    """Return key if identities may have one of its kind: P-256, P-384, Ed25519, or RSA of 3072 to 8192 bits.

    Raises `InvalidField`.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise InvalidField(
                "csr", f"RSA keys have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {key.key_size}"
            )
        if key.public_numbers().e != RSA_EXPONENT:
            raise InvalidField("csr", f"the public exponent of an RSA key is {RSA_EXPONENT}")
        return key
    raise InvalidField("csr", "the key is none of P-256, P-384, Ed25519 and RSA")


def _requested(csr: x509.CertificateSigningRequest) -> list[str]:
    attributes = [item.oid.dotted_string for item in csr.attributes if item.oid != _EXTENSION_REQUEST]
    try:
        extensions = [_name(item) for item in csr.extensions]
    except x509.DuplicateExtension as error:
        extensions = [f"{error.oid.dotted_string} twice"]
    return [f"the extension {name}" for name in extensions] + [f"the attribute {oid}" for oid in attributes]


def _name(extension: x509.Extension[x509.ExtensionType]) -> str:
    kind = type(extension.value)
    known = kind is not x509.UnrecognizedExtension
    return kind.__name__ if known else extension.oid.dotted_string


def _check_signature(csr: x509.CertificateSigningRequest) -> None:
    try:
        ed25519_signed = isinstance(csr.public_key(), ed25519.Ed25519PublicKey)
        is_valid = (
            ed25519_signed or isinstance(csr.signature_hash_algorithm, _HASHES)
        ) and csr.is_signature_valid
    except (UnsupportedAlgorithm, ValueError):
        is_valid = False
    if not is_valid:
        raise InvalidField("csr", "its signature does not verify, or is not made with SHA-256, 384 or 512")
