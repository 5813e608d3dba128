"""RSA keys: generation, their stored forms, and what an imported one must be.

Private keys are PKCS#8 (RFC 5208), public keys SubjectPublicKeyInfo (RFC 5280), both DER; the exponent is
65537.
"""

import hashlib
from collections.abc import Collection, Mapping
from types import MappingProxyType

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from blindfold.secret import SecretBytes
from kms.crypto.loaded_key import KeyMaterial
from kms.errors import InvalidField, StoreTampered
from kms.model.algorithms import Algorithm

EXPONENT = 65537
# |p - q| > 2^(bits/2 - 100), against Fermat's factoring method (FIPS 186-5, appendix A.1.3).
DISTANCE_SLACK_BITS = 100

HASHES: Mapping[str, hashes.HashAlgorithm] = MappingProxyType(
    {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
)


def generate(bits: int) -> KeyMaterial:
    """A fresh key, from OpenSSL's generator, seeded by the operating system. Takes up to some seconds."""
    key = generate_private_key(EXPONENT, bits)
    return KeyMaterial(SecretBytes(pkcs8(key)), spki(key.public_key()))


def spki(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pkcs8(key: RSAPrivateKey) -> bytes:
    """PrivateKeyInfo in DER, unencrypted."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def pkcs1(material: SecretBytes) -> bytes:
    """RSAPrivateKey (RFC 8017, appendix A.1.2) in DER of a key of our own."""
    return load_own(material).private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def digest(algorithm: Algorithm, message: bytes) -> bytes:
    """The message's digest by the algorithm's hash."""
    return hashlib.new(algorithm.hash_name, message).digest()


def load_own(material: SecretBytes) -> RSAPrivateKey:
    """A private key that this KMS generated, or checked at import, and authenticated since.

    Its checks are skipped: they take 135 ms for 3072 bits. Raises `StoreTampered` for anything else.
    """
    try:
        key = load_der_private_key(material.reveal(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise StoreTampered("a stored RSA key does not load")
    return key


def accept_private(algorithm: Algorithm, material: SecretBytes, field: str) -> KeyMaterial:
    """Imported PKCS#8, if it is a sound RSA key of the algorithm's size. Takes up to a second.

    OpenSSL checks that p and q are prime and everything else follows from them. Raises `InvalidField`,
    which says what is wrong: whoever wrapped the key holds it.
    """
    der = material.reveal()
    try:
        key = load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey) or pkcs8(key) != der:
        raise InvalidField(field, "not a sound RSA key of two primes as unencrypted PKCS#8 in DER")
    _check_size(key.public_key(), [algorithm.key_bits], field)
    numbers = key.private_numbers()
    half = algorithm.key_bits // 2
    if numbers.p.bit_length() != half or numbers.q.bit_length() != half:
        raise InvalidField(field, "the primes differ in size")
    if abs(numbers.p - numbers.q) <= 1 << (half - DISTANCE_SLACK_BITS):
        raise InvalidField(field, "the primes are too close to each other")
    if numbers.d <= 1 << half:
        raise InvalidField(field, "the private exponent is too small")
    return KeyMaterial(material, spki(key.public_key()))


def parse_public(der: bytes, sizes: Collection[int], field: str) -> RSAPublicKey:
    """A public key with a modulus of one of these sizes, in bits. Raises `InvalidField`."""
    try:
        key = load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or spki(key) != der:
        raise InvalidField(field, "not an RSA key as SubjectPublicKeyInfo in DER")
    _check_size(key, sizes, field)
    return key


def _check_size(key: RSAPublicKey, sizes: Collection[int], field: str) -> None:
    if key.key_size not in sizes:
        expected = " or ".join(map(str, sizes))
        raise InvalidField(field, f"a modulus of {key.key_size} bits; {expected} are expected")
    if key.public_numbers().e != EXPONENT:
        raise InvalidField(field, f"the public exponent must be {EXPONENT}")
