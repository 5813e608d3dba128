"""Every call into a cryptographic library that sealing, opening and evaluating make, each in one place.

Nothing else in this package, but key generation, imports `cryptography`, `nacl` or `gmpy2`. The functions
know nothing of formats; each states why its use here is safe.
"""

import hashlib
import hmac
import os
import secrets
from typing import TypeAlias

import gmpy2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

Integer: TypeAlias = "gmpy2.mpz"

__all__ = [
    "AESGCM",
    "BadSignatureError",
    "Integer",
    "InvalidTag",
    "ed25519_public_key",
    "ed25519_sign",
    "ed25519_verify",
    "hkdf",
    "hmac_sha256",
    "integer",
    "inverse",
    "is_equal",
    "is_prime",
    "power",
    "random_bytes",
    "random_prime",
    "random_unit",
    "release_gil_in_this_thread",
    "secret_inverse",
    "secret_power",
    "sha256",
]


def random_bytes(size: int) -> bytes:
    """`size` bytes from the operating system."""
    return os.urandom(size)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def is_equal(left: bytes, right: bytes) -> bool:
    """Compare in constant time for equal lengths."""
    return hmac.compare_digest(left, right)


_HASHES = {"sha256": hashes.SHA256, "sha384": hashes.SHA384}


def hkdf(algorithm: str, *, secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF (RFC 5869) extract and expand. `algorithm` is "sha256" or "sha384"."""
    return HKDF(_HASHES[algorithm](), length, salt, info).derive(secret)


def ed25519_public_key(seed: bytes) -> bytes:
    """The 32-byte public key of a 32-byte seed (RFC 8032)."""
    return bytes(SigningKey(seed).verify_key)


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """A 64-byte Ed25519 signature (RFC 8032). Deterministic: it needs no randomness of ours."""
    return SigningKey(seed).sign(message).signature


def ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise `BadSignatureError` unless the signature holds; a wrong length is a bad signature."""
    if len(public_key) != 32 or len(signature) != 64:
        raise BadSignatureError("wrong length")
    VerifyKey(public_key).verify(message, signature)


def integer(value: "int | Integer") -> "Integer":
    """A GMP integer, on which + - * % run in GMP."""
    return gmpy2.mpz(value)


def power(base: "int | Integer", exponent: "int | Integer", modulus: "int | Integer") -> "Integer":
    """base^exponent mod modulus in variable time: for public values and exponents."""
    return gmpy2.powmod(base, exponent, modulus)


def secret_power(base: "int | Integer", exponent: "int | Integer", modulus: "int | Integer") -> "Integer":
    """base^exponent mod an odd modulus by GMP's side-channel silent `mpz_powm_sec`; base may be unreduced."""
    return gmpy2.powmod_sec(base, exponent, modulus)


def inverse(value: "int | Integer", modulus: "int | Integer") -> "Integer":
    """The inverse in variable time, for public values. Raises `ZeroDivisionError` where there is none."""
    return gmpy2.invert(value, modulus)


def secret_inverse(value: "int | Integer", modulus: "int | Integer") -> "Integer":
    """The inverse of a secret value modulo a public modulus.

    GMP's inversion takes time that depends on its input, so it is given value * s for a fresh random unit
    s: what it sees is independent of the value. Raises `ZeroDivisionError` where there is no inverse.
    """
    blind = random_unit(modulus)
    return blind * gmpy2.invert(value * blind % modulus, modulus) % modulus


def random_unit(modulus: "int | Integer") -> "Integer":
    """A uniform element of Z_modulus*, by rejection, from the operating system's randomness."""
    while True:
        value = gmpy2.mpz(secrets.randbelow(int(modulus)))
        if gmpy2.gcd(value, modulus) == 1:
            return value


def is_prime(value: "int | Integer", rounds: int = 25) -> bool:
    """BPSW, then Miller-Rabin to `rounds` in all (GMP's `mpz_probab_prime_p`)."""
    return bool(gmpy2.is_prime(value, rounds))


def random_prime(bits: int) -> "Integer":
    """A random prime from the operating system's randomness, its top bit set; for fault checks, not for keys.

    It is the first prime above a random number, so not uniform, and above bits in size with negligible
    probability.
    """
    return gmpy2.next_prime(secrets.randbits(bits) | 1 << (bits - 1))


def release_gil_in_this_thread() -> None:
    """Let GMP run beside other Python threads. gmpy2 keeps this setting per thread."""
    gmpy2.get_context().allow_release_gil = True
