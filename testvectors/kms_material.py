"""Fixed inputs of the KMS's vectors, and the forms of keys put together here, not by what is tested."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from blindfold._encoding import lp, u8, u32
from blindfold._primitives import AESGCM
from testvectors.identity_vectors import INTEGER, SEQUENCE, tlv
from testvectors.material import seeded

KEYS_FILE = Path(__file__).parent / "rsa_keys.json"
BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER = 0x03, 0x04, 0x06
NULL = b"\x05\x00"
RSA_ENCRYPTION = tlv(OBJECT_IDENTIFIER, bytes.fromhex("2a864886f70d010101"))
RSASSA_PSS = tlv(OBJECT_IDENTIFIER, bytes.fromhex("2a864886f70d01010a"))

# The AlgorithmIdentifier of EC keys of the curve P-256, and its base point.
EC_ALGORITHM = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
EC_POINT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)


PLAINTEXT = b"a plaintext of the vectors"
AAD = b"order 1729"


@dataclass(frozen=True)
class Place:
    """A key version, and what its ciphertexts bind."""

    algorithm: str = "AES_256_GCM"
    key: bytes = seeded("kms key", 32)
    uid: bytes = seeded("kms uid", 16)
    key_name: str = "tenants/acme/namespaces/prod/keys/orders"
    version: int = 3

    @property
    def name(self) -> str:
        return f"{self.key_name}/versions/{self.version}"

    def bound(self, aad: bytes) -> bytes:
        head = u8(1) + lp(self.key_name.encode()) + u32(self.version) + lp(self.algorithm.encode())
        return head + u32(len(aad)) + aad

    def encrypt(self, plaintext: bytes, aad: bytes, *, bound: bytes | None = None) -> bytes:
        """`bound` replaces what is bound."""
        nonce = seeded("kms nonce", 12)
        sealed = AESGCM(self.key).encrypt(nonce, plaintext, self.bound(aad) if bound is None else bound)
        return u8(1) + self.uid + u32(self.version) + nonce + sealed

    def fields(self, aad: bytes, ciphertext: bytes) -> dict[str, str]:
        return {
            "algorithm": self.algorithm,
            "key": self.key.hex(),
            "uid": self.uid.hex(),
            "name": self.name,
            "aad": aad.hex(),
            "ciphertext": ciphertext.hex(),
        }


HERE = Place()


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


@dataclass(frozen=True)
class RsaKey:
    """Primes and exponent (RFC 8017, appendix A); `wrong` numbers go into private keys instead."""

    p: int
    q: int
    e: int = 65537
    wrong: tuple[tuple[str, int], ...] = ()

    @classmethod
    def fixed(cls, label: str) -> "RsaKey":
        """A key of `rsa_keys.json`."""
        entry = json.loads(KEYS_FILE.read_text())[label]
        return cls(int(entry["p"], 16), int(entry["q"], 16))

    def but(self, **wrong: int) -> "RsaKey":
        return replace(self, wrong=tuple(wrong.items()))

    @cached_property
    def numbers(self) -> dict[str, int]:
        d = pow(self.e, -1, (self.p - 1) * (self.q - 1))
        right = {"n": self.p * self.q, "e": self.e, "d": d, "p": self.p, "q": self.q}
        right |= {"dp": d % (self.p - 1), "dq": d % (self.q - 1), "qinv": pow(self.q, -1, self.p)}
        return right | dict(self.wrong)

    @property
    def n(self) -> int:
        return self.p * self.q

    @property
    def size(self) -> int:
        return (self.n.bit_length() + 7) // 8

    def pkcs1(self, version: int = 0, more: bytes = b"") -> bytes:
        return tlv(SEQUENCE, integer(version) + b"".join(map(integer, self.numbers.values())) + more)

    def pkcs8(self, oid: bytes = RSA_ENCRYPTION, inner: bytes | None = None, more: bytes = b"") -> bytes:
        """RFC 5208; `inner` replaces the PKCS#1 form, `more` follows it."""
        content = tlv(OCTET_STRING, self.pkcs1() if inner is None else inner)
        return tlv(SEQUENCE, integer(0) + tlv(SEQUENCE, oid + NULL) + content + more)

    def public_pkcs1(self) -> bytes:
        return tlv(SEQUENCE, integer(self.n) + integer(self.e))

    def spki(self, oid: bytes = RSA_ENCRYPTION, parameters: bytes = NULL) -> bytes:
        """RFC 5280, section 4.1."""
        return tlv(SEQUENCE, tlv(SEQUENCE, oid + parameters) + tlv(BIT_STRING, b"\x00" + self.public_pkcs1()))


def mgf1(seed: bytes, size: int, name: str) -> bytes:
    """RFC 8017, appendix B.2.1."""
    count = -(-size // hashlib.new(name).digest_size)
    return b"".join(hashlib.new(name, seed + u32(number)).digest() for number in range(count))[:size]


def oaep(
    key: RsaKey,
    message: bytes,
    seed: bytes,
    *,
    label: bytes = b"",
    hash_name: str = "sha256",
    mgf: str = "sha256",
) -> bytes:
    """RSAES-OAEP with a fixed seed (RFC 8017, section 7.1.1)."""
    label_hash = hashlib.new(hash_name, label).digest()
    seed = seed[: len(label_hash)]
    block = label_hash + b"\x01" + message
    data = label_hash + bytes(key.size - len(seed) - 1 - len(block)) + b"\x01" + message
    masked = _xor(data, mgf1(seed, len(data), mgf))
    encoded = b"\x00" + _xor(seed, mgf1(masked, len(seed), mgf)) + masked
    return power(key, encoded)


def pkcs1_v15(key: RsaKey, message: bytes, filler: bytes) -> bytes:
    """RSAES-PKCS1-v1_5, which nothing accepts; `filler` has no zero byte."""
    size = key.size - len(message) - 3
    return power(key, b"\x00\x02" + (filler * key.size)[:size] + b"\x00" + message)


def power(key: RsaKey, encoded: bytes) -> bytes:
    return pow(int.from_bytes(encoded, "big"), key.e, key.n).to_bytes(key.size, "big")


def kwp(kek: bytes, data: bytes, *, stated: int | None = None, fill: bytes = b"\x00") -> bytes:
    """AES-KWP (RFC 5649) of more than 8 bytes, with another length stated or another fill if asked."""
    length = len(data) if stated is None else stated
    padded = data + fill * (-len(data) % 8)
    return wrap_blocks(kek, b"\xa6\x59\x59\xa6" + u32(length), padded)


def wrap_blocks(kek: bytes, initial: bytes, data: bytes) -> bytes:
    """The wrapping process of RFC 3394, section 2.2.1."""
    block = Cipher(AES(kek), ECB()).encryptor()  # noqa: S305
    head, parts = initial, [data[at : at + 8] for at in range(0, len(data), 8)]
    for turn in range(6):
        for at, part in enumerate(parts):
            made = block.update(head + part)
            head = _xor(made[:8], (turn * len(parts) + at + 1).to_bytes(8, "big"))
            parts[at] = made[8:]
    return head + b"".join(parts)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def flip(data: bytes, at: int) -> bytes:
    """One bit of the byte at that place flipped."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
