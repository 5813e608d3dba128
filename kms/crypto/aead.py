"""AES-GCM (NIST SP 800-38D) with 96-bit nonces and 128-bit tags, no others.

Nonces are random: a key version encrypts at most 2^32 times (section 8.3), which its budget sees to.
"""

import os
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blindfold.secret import SecretBytes
from kms.crypto.loaded_key import KeyMaterial, LoadedKey
from kms.errors import DecryptionFailed, InvalidField, LimitExceeded
from kms.model.algorithms import MAX_AAD, MAX_PLAINTEXT, Algorithm

NONCE_SIZE = 12
TAG_SIZE = 16


class RawCiphertext(NamedTuple):
    """What RawEncrypt gives; the ciphertext is as long as the plaintext."""

    nonce: bytes
    ciphertext: bytes
    tag: bytes


class AeadKey(LoadedKey):
    """An AES-GCM key. Plaintexts up to 64 KiB, additional authenticated data up to 16 KiB."""

    __slots__ = ("_aesgcm",)

    def __init__(self, algorithm: Algorithm, material: SecretBytes) -> None:
        super().__init__(algorithm)
        self._aesgcm = AESGCM(material.reveal())

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext || tag. For the formats in this package: whoever calls sees to nonce and limits."""
        return self._aesgcm.encrypt(nonce, plaintext, aad)

    def unseal(self, nonce: bytes, ciphertext_and_tag: bytes, aad: bytes) -> bytes:
        """The inverse of `seal`, for the same callers. Raises `DecryptionFailed`."""
        try:
            return self._aesgcm.decrypt(nonce, ciphertext_and_tag, aad)
        except InvalidTag:
            pass
        raise DecryptionFailed

    def raw_encrypt(self, plaintext: bytes, aad: bytes = b"") -> RawCiphertext:
        """Encrypt with a fresh random nonce, binding nothing but `aad`. Raises `LimitExceeded`."""
        return self._raw_encrypt_with(plaintext, aad, nonce=os.urandom(NONCE_SIZE))

    def _raw_encrypt_with(self, plaintext: bytes, aad: bytes, *, nonce: bytes) -> RawCiphertext:
        check_plaintext(plaintext)
        check_aad(aad)
        made = self._aesgcm.encrypt(nonce, plaintext, aad)
        return RawCiphertext(nonce, made[:-TAG_SIZE], made[-TAG_SIZE:])

    def raw_decrypt(self, nonce: bytes, ciphertext: bytes, tag: bytes, aad: bytes = b"") -> bytes:
        """Raises `InvalidField` unless the nonce has 12 bytes and the tag 16, `LimitExceeded`,
        `DecryptionFailed`."""
        check_raw(nonce, ciphertext, tag, aad)
        return self.unseal(nonce, ciphertext + tag, aad)


def split_raw(data: bytes) -> RawCiphertext:
    """Of nonce || ciphertext || tag. Raises `InvalidField` for fewer bytes than nonce and tag have."""
    if len(data) < NONCE_SIZE + TAG_SIZE:
        raise InvalidField("ciphertext", f"must have {NONCE_SIZE} bytes of nonce and {TAG_SIZE} of tag")
    return RawCiphertext(data[:NONCE_SIZE], data[NONCE_SIZE:-TAG_SIZE], data[-TAG_SIZE:])


def check_raw(nonce: bytes, ciphertext: bytes, tag: bytes, aad: bytes) -> None:
    """Raise `InvalidField` or `LimitExceeded` for what no raw ciphertext can be."""
    if len(nonce) != NONCE_SIZE:
        raise InvalidField("nonce", f"must have {NONCE_SIZE} bytes, not {len(nonce)}")
    if len(tag) != TAG_SIZE:
        raise InvalidField("tag", f"must have {TAG_SIZE} bytes, not {len(tag)}")
    check_plaintext(ciphertext, "ciphertext")
    check_aad(aad)


def check_plaintext(value: bytes, field: str = "plaintext") -> None:
    """Raise `LimitExceeded` above 64 KiB."""
    if len(value) > MAX_PLAINTEXT:
        raise LimitExceeded(field, f"at most {MAX_PLAINTEXT} bytes; encrypt more with a data key")


def check_aad(value: bytes, field: str = "additional_authenticated_data") -> None:
    """Raise `LimitExceeded` above 16 KiB."""
    if len(value) > MAX_AAD:
        raise LimitExceeded(field, f"at most {MAX_AAD} bytes")


def generate(algorithm: Algorithm) -> KeyMaterial:
    return KeyMaterial(SecretBytes(os.urandom(algorithm.key_bits // 8)))


def accept(algorithm: Algorithm, material: SecretBytes, field: str) -> KeyMaterial:
    """Imported raw bytes, if they are as long as the algorithm's key. Raises `InvalidField`."""
    size = algorithm.key_bits // 8
    if len(material) != size:
        raise InvalidField(field, f"{algorithm.name} has a key of {size} bytes, not {len(material)}")
    return KeyMaterial(material)
