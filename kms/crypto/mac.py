"""HMAC-SHA-256 (RFC 2104, FIPS 198-1), never truncated."""

import hmac
import os

from blindfold.secret import SecretBytes
from kms.crypto.aead import check_plaintext
from kms.crypto.loaded_key import KeyMaterial, LoadedKey
from kms.errors import InvalidField, MacInvalid
from kms.model.algorithms import Algorithm

MAC_SIZE = 32
# Below 16 bytes a key is weaker than 128 bits (NIST SP 800-107, section 5.3.4). Above the hash's block of
# 64 bytes HMAC replaces a key by its hash, which adds no strength; 128 leaves room for keys made for SHA-512.
MIN_IMPORTED_KEY = 16
MAX_IMPORTED_KEY = 128


class MacKey(LoadedKey):
    """An HMAC key. Messages up to 64 KiB."""

    __slots__ = ("_secret",)

    def __init__(self, algorithm: Algorithm, material: SecretBytes) -> None:
        super().__init__(algorithm)
        self._secret = material.reveal()

    def mac(self, message: bytes) -> bytes:
        """The code of a message, 32 bytes. Raises `LimitExceeded`."""
        check_plaintext(message, "message")
        return hmac.digest(self._secret, message, self.algorithm.hash_name)

    def verify(self, message: bytes, mac: bytes) -> bytes:
        """The message, if the code is its own; compared in constant time. Raises `LimitExceeded`,
        `MacInvalid`; a shortened code is a wrong one."""
        if not hmac.compare_digest(self.mac(message), mac):
            raise MacInvalid
        return message


def generate(algorithm: Algorithm) -> KeyMaterial:
    return KeyMaterial(SecretBytes(os.urandom(algorithm.key_bits // 8)))


def accept(algorithm: Algorithm, material: SecretBytes, field: str) -> KeyMaterial:
    """Imported raw bytes, 16 to 128 of them. Raises `InvalidField`."""
    if not MIN_IMPORTED_KEY <= len(material) <= MAX_IMPORTED_KEY:
        allowed = f"{MIN_IMPORTED_KEY} to {MAX_IMPORTED_KEY}"
        raise InvalidField(field, f"{algorithm.name} has a key of {allowed} bytes, not {len(material)}")
    return KeyMaterial(material)
