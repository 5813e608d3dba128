"""Wrapping of keys by keys: AES-256-GCM, bound to what the wrapped key is (`docs/spec/store.md`, "Wrapping").

wrapped = 0x01 || nonce (12 bytes) || ciphertext || tag (16 bytes)
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blindfold._encoding import lp, u32
from blindfold.secret import SecretBytes
from kms.errors import StoreTampered

FORMAT = b"\x01"
NONCE_SIZE = 12
TAG_SIZE = 16
KEK_SIZE = 32


class UnwrapFailed(StoreTampered):
    """A wrapped key does not unwrap: another key, another place, or changed bytes. One flat error."""

    reason = "UNWRAP_FAILED"

    def __init__(self) -> None:
        super().__init__("a wrapped key does not unwrap")


def wrap(
    kek: SecretBytes, plaintext: SecretBytes, *, resource: str, version: int, algorithm: str, purpose: str
) -> bytes:
    """Encrypt a key under `kek` (32 bytes) for one place.

    The nonce is random: one kek wraps far fewer than the 2^32 keys that random 96-bit nonces allow
    (NIST SP 800-38D, section 8.3).
    """
    aad = _aad(resource, version, algorithm, purpose)
    return _wrap_with(kek, plaintext, aad, nonce=os.urandom(NONCE_SIZE))


def _wrap_with(kek: SecretBytes, plaintext: SecretBytes, aad: bytes, *, nonce: bytes) -> bytes:
    return FORMAT + nonce + _aead(kek).encrypt(nonce, plaintext.reveal(), aad)


def unwrap(
    kek: SecretBytes, wrapped: bytes, *, resource: str, version: int, algorithm: str, purpose: str
) -> SecretBytes:
    """The inverse of `wrap` with the same arguments. Raises `UnwrapFailed`."""
    if wrapped[:1] != FORMAT or len(wrapped) < len(FORMAT) + NONCE_SIZE + TAG_SIZE:
        raise UnwrapFailed
    nonce, ciphertext = wrapped[1 : 1 + NONCE_SIZE], wrapped[1 + NONCE_SIZE :]
    try:
        return SecretBytes(_aead(kek).decrypt(nonce, ciphertext, _aad(resource, version, algorithm, purpose)))
    except InvalidTag:
        pass
    raise UnwrapFailed


def _aad(resource: str, version: int, algorithm: str, purpose: str) -> bytes:
    """0x01 || lp(resource) || u32(version) || lp(algorithm) || lp(purpose): injective."""
    return FORMAT + lp(resource.encode()) + u32(version) + lp(algorithm.encode()) + lp(purpose.encode())


def _aead(kek: SecretBytes) -> AESGCM:
    if len(kek) != KEK_SIZE:
        raise ValueError(f"a wrapping key has {KEK_SIZE} bytes, not {len(kek)}")
    return AESGCM(kek.reveal())
