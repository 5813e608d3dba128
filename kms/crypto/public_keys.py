"""RSA public keys as others read them: PEM (RFC 7468) and JSON Web Keys (RFC 7517, RFC 7518)."""

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from blindfold import _canonical
from blindfold._encoding import b64url
from kms.crypto import rsa_keys
from kms.errors import InvalidField, StoreTampered
from kms.model.algorithms import Algorithm, Family

# RFC 7518, sections 3.5 and 4.3; the algorithms of OAEP with longer hashes are of W3C Web Cryptography.
_USE = {Family.RSA_PSS: ("sig", "PS"), Family.RSA_OAEP: ("enc", "RSA-OAEP-")}


def to_pem(spki: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) in PEM."""
    return _load(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def to_jwk(spki: bytes, algorithm: Algorithm, key_id: str) -> bytes:
    """A JSON Web Key, canonical by RFC 8785, with `use`, `alg` and `kid`."""
    numbers = _load(spki).public_numbers()
    use, prefix = _USE[algorithm.family]
    jwk = {
        "alg": prefix + algorithm.hash_name.removeprefix("sha"),
        "e": _base64url_uint(numbers.e),
        "kid": key_id,
        "kty": "RSA",
        "n": _base64url_uint(numbers.n),
        "use": use,
    }
    return _canonical.dump(jwk)


def from_numbers(n: int, e: int) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a modulus and an exponent. Raises `InvalidField`."""
    try:
        return rsa_keys.spki(RSAPublicNumbers(e, n).public_key())
    except ValueError:
        pass
    raise InvalidField("public_key", "not the modulus and exponent of an RSA key")


def _load(spki: bytes) -> RSAPublicKey:
    key = load_der_public_key(spki)
    if not isinstance(key, RSAPublicKey):
        raise StoreTampered("a stored public key is not one of RSA")
    return key


def _base64url_uint(number: int) -> str:
    """RFC 7518, section 2: as many bytes as are needed."""
    return b64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
