"""Self-describing ciphertexts (`docs/spec/ciphertext.md`, "Format").

0x01 || key uid (16 bytes) || u32 version || nonce (12 bytes) || ciphertext || tag (16 bytes)
"""

import os
from typing import NamedTuple

from blindfold._encoding import lp, u32
from kms.crypto.aead import NONCE_SIZE, TAG_SIZE, AeadKey, check_aad, check_plaintext
from kms.errors import DecryptionFailed, InvalidField, LimitExceeded
from kms.model.algorithms import MAX_PLAINTEXT
from kms.model.names import KeyVersionName

FORMAT = b"\x01"
UID_SIZE = 16
OVERHEAD = len(FORMAT) + UID_SIZE + 4 + NONCE_SIZE + TAG_SIZE
MAX_CIPHERTEXT = MAX_PLAINTEXT + OVERHEAD

_VERSION_AT = len(FORMAT) + UID_SIZE
_NONCE_AT = _VERSION_AT + 4
_BODY_AT = _NONCE_AT + NONCE_SIZE


class Ciphertext(NamedTuple):
    """The parts of a ciphertext; `body` is ciphertext || tag. Nothing in it is verified yet.

    Every item of every batch makes one, so it is a tuple: it costs half of what a frozen dataclass does.
    """

    uid: bytes
    version: int
    nonce: bytes
    body: bytes


def parse(data: bytes, field: str = "ciphertext") -> Ciphertext:
    """Take a ciphertext apart. Raises `InvalidField` if it breaks the format, `LimitExceeded`."""
    if len(data) < OVERHEAD:
        raise InvalidField(field, f"{len(data)} bytes are too few; a ciphertext has {OVERHEAD} or more")
    if len(data) > MAX_CIPHERTEXT:
        raise LimitExceeded(field, f"at most {MAX_CIPHERTEXT} bytes")
    if data[:1] != FORMAT:
        raise InvalidField(field, f"begins with 0x{data[0]:02x}; the only known format is 0x01")
    version = int.from_bytes(data[_VERSION_AT:_NONCE_AT], "big")
    if version == 0:
        raise InvalidField(field, "names key version 0; versions begin at 1")
    return Ciphertext(data[1:_VERSION_AT], version, data[_NONCE_AT:_BODY_AT], data[_BODY_AT:])


class VersionCipher:
    """Encrypts and decrypts with one key version. Keep it beside the key: what it binds is computed once.

    The AAD binds the key's name, the version and the algorithm besides the caller's, so that a ciphertext
    opens in no other place.
    """

    __slots__ = ("_aad_prefix", "_header", "_key", "_uid", "_version")

    def __init__(self, key: AeadKey, name: KeyVersionName, uid: bytes) -> None:
        """`uid` is the key's, 16 bytes. Raises `ValueError` for another length."""
        if len(uid) != UID_SIZE:
            raise ValueError(f"a key's uid has {UID_SIZE} bytes, not {len(uid)}")
        version = u32(name.version)
        self._key = key
        self._uid = uid
        self._version = name.version
        self._header = FORMAT + uid + version
        self._aad_prefix = (
            FORMAT + lp(str(name.key_name).encode()) + version + lp(key.algorithm.name.encode())
        )

    def encrypt(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """A self-describing ciphertext, 49 bytes longer than the plaintext. Raises `LimitExceeded`."""
        return self._encrypt_with(plaintext, aad, nonce=os.urandom(NONCE_SIZE))

    def _encrypt_with(self, plaintext: bytes, aad: bytes, *, nonce: bytes) -> bytes:
        check_plaintext(plaintext)
        check_aad(aad)
        return self._header + nonce + self._key.seal(nonce, plaintext, self._bound(aad))

    def decrypt(self, ciphertext: Ciphertext, aad: bytes = b"") -> bytes:
        """The plaintext of a parsed ciphertext. Raises `LimitExceeded` for the AAD, `DecryptionFailed`."""
        check_aad(aad)
        if ciphertext.uid != self._uid or ciphertext.version != self._version:
            raise DecryptionFailed
        return self._key.unseal(ciphertext.nonce, ciphertext.body, self._bound(aad))

    def _bound(self, aad: bytes) -> bytes:
        """0x01 || lp(key name) || u32(version) || lp(algorithm) || u32(len(aad)) || aad: injective."""
        return self._aad_prefix + u32(len(aad)) + aad
