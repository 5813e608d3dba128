"""What keys can do: one table from algorithm to purpose, sizes and limits. No other switch on algorithms.

The functions are in `kms.crypto`; the first algorithm of a purpose is its default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from kms.errors import InvalidField

MAX_PLAINTEXT = 64 * 1024
MAX_AAD = 16 * 1024
# How often may encrypt who was given the bytes of an AES-GCM key, for each time that he was given them.
USES_ELSEWHERE = 1 << 14


class Purpose(StrEnum):
    """What a key is for, for its whole life. Keys of different purposes never share a version's bytes."""

    ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
    ASYMMETRIC_DECRYPT = "ASYMMETRIC_DECRYPT"
    ASYMMETRIC_SIGN = "ASYMMETRIC_SIGN"
    MAC = "MAC"
    RAW_ENCRYPT_DECRYPT = "RAW_ENCRYPT_DECRYPT"


class Family(StrEnum):
    """Which primitive an algorithm is of."""

    AES_GCM = "AES_GCM"
    RSA_OAEP = "RSA_OAEP"
    RSA_PSS = "RSA_PSS"
    HMAC = "HMAC"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`key_bits` is the size of an AES or HMAC key, or of an RSA modulus; `hash_name` as hashlib names it.

    `counts_nonces`: each use draws a random 96-bit nonce, so a version has a budget of invocations.
    """

    name: str
    family: Family
    purposes: frozenset[Purpose]
    key_bits: int
    hash_name: str = ""

    @property
    def counts_nonces(self) -> bool:
        return self.family is Family.AES_GCM

    @property
    def is_asymmetric(self) -> bool:
        return self.family in (Family.RSA_OAEP, Family.RSA_PSS)


def _rsa(family: Family, purpose: Purpose) -> list[Algorithm]:
    sizes = [(bits, digest) for bits in (3072, 2048, 4096) for digest in ("sha256", "sha384", "sha512")]
    return [
        Algorithm(f"{family}_{bits}_{digest.upper()}", family, frozenset({purpose}), bits, digest)
        for bits, digest in sizes
    ]


_AES_PURPOSES = frozenset({Purpose.ENCRYPT_DECRYPT, Purpose.RAW_ENCRYPT_DECRYPT})

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (
            Algorithm("AES_256_GCM", Family.AES_GCM, _AES_PURPOSES, 256),
            Algorithm("AES_128_GCM", Family.AES_GCM, _AES_PURPOSES, 128),
            *_rsa(Family.RSA_OAEP, Purpose.ASYMMETRIC_DECRYPT),
            *_rsa(Family.RSA_PSS, Purpose.ASYMMETRIC_SIGN),
            Algorithm("HMAC_SHA256", Family.HMAC, frozenset({Purpose.MAC}), 256, "sha256"),
        )
    }
)


def find(name: str, purpose: Purpose, field: str = "algorithm") -> Algorithm:
    """The algorithm of that name, or the purpose's default for "". Raises `InvalidField`."""
    fitting = [algorithm for algorithm in ALGORITHMS.values() if purpose in algorithm.purposes]
    if not name:
        return fitting[0]
    for algorithm in fitting:
        if algorithm.name == name:
            return algorithm
    raise InvalidField(field, f"for {purpose} it is one of {', '.join(item.name for item in fitting)}")
