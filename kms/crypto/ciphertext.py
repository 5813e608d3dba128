"""Self-describing ciphertexts (`docs/spec/ciphertext.md`, "Format").

0x01 || key uid (16 bytes) || u32 version || nonce (12 bytes) || ciphertext || tag (16 bytes)
"""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blindfold._encoding import lp, u32
from kms.crypto.aead import NONCE_SIZE, TAG_SIZE, AeadKey, check_aad, check_plaintext
from kms.crypto.device.keys import DeviceAeadKey, Pending
from kms.errors import DecryptionFailed, InvalidField, LimitExceeded
from kms.model.algorithms import MAX_PLAINTEXT, Algorithm
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


class _BoundCipher:
    """What is bound of one key version, computed once; keep it beside the key.

    The AAD binds the key's name, the version and the algorithm besides the caller's, so that a ciphertext
    opens in no other place.
    """

    __slots__ = ("_aad_prefix", "_header", "_uid", "_version")

    def __init__(self, algorithm: Algorithm, name: KeyVersionName, uid: bytes) -> None:
        """`uid` is the key's, 16 bytes. Raises `ValueError` for another length."""
        if len(uid) != UID_SIZE:
            raise ValueError(f"a key's uid has {UID_SIZE} bytes, not {len(uid)}")
        version = u32(name.version)
        self._uid = uid
        self._version = name.version
        self._header = FORMAT + uid + version
        self._aad_prefix = FORMAT + lp(str(name.key_name).encode()) + version + lp(algorithm.name.encode())

    def _check(self, ciphertext: Ciphertext, aad: bytes) -> None:
        check_aad(aad)
        if ciphertext.uid != self._uid or ciphertext.version != self._version:
            raise DecryptionFailed

    def _bound(self, aad: bytes) -> bytes:
        """0x01 || lp(key name) || u32(version) || lp(algorithm) || u32(len(aad)) || aad: injective."""
        return self._aad_prefix + len(aad).to_bytes(4, "big") + aad


class VersionCipher(_BoundCipher):
    """Encrypts and decrypts with one key version."""

    __slots__ = ("_key",)

    def __init__(self, key: AeadKey, name: KeyVersionName, uid: bytes) -> None:
        """`uid` is the key's, 16 bytes. Raises `ValueError` for another length."""
        super().__init__(key.algorithm, name, uid)
        self._key = key

    def encrypt(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """A self-describing ciphertext, 49 bytes longer than the plaintext. Raises `LimitExceeded`."""
        return self.encrypting(1)(plaintext, aad)

    def encrypting(self, count: int) -> Callable[[bytes, bytes], bytes]:
        """`encrypt` for at most so many plaintexts: their nonces are drawn at once."""
        drawn = os.urandom(count * NONCE_SIZE)
        nonces = [drawn[at : at + NONCE_SIZE] for at in range(0, len(drawn), NONCE_SIZE)]
        return self._encrypting_with(iter(nonces))

    def _encrypt_with(self, plaintext: bytes, aad: bytes, *, nonce: bytes) -> bytes:
        return self._encrypting_with(iter((nonce,)))(plaintext, aad)

    def _encrypting_with(self, nonces: Iterator[bytes]) -> Callable[[bytes, bytes], bytes]:
        header, bound, seal = self._header, self._bound, self._key.seal

        def encrypt(plaintext: bytes, aad: bytes) -> bytes:
            check_plaintext(plaintext)
            check_aad(aad)
            nonce = next(nonces)
            return header + nonce + seal(nonce, plaintext, bound(aad))

        return encrypt

    def decrypt(self, ciphertext: Ciphertext, aad: bytes = b"") -> bytes:
        """The plaintext of a parsed ciphertext. Raises `LimitExceeded` for the AAD, `DecryptionFailed`."""
        self._check(ciphertext, aad)
        return self._key.unseal(ciphertext.nonce, ciphertext.body, self._bound(aad))


class DeviceVersionCipher(_BoundCipher):
    """The same ciphertexts, by a key version in a device."""

    __slots__ = ("_key",)

    def __init__(self, key: DeviceAeadKey, name: KeyVersionName, uid: bytes) -> None:
        super().__init__(key.algorithm, name, uid)
        self._key = key

    def encrypt(self, plaintext: bytes, aad: bytes = b"") -> Pending[bytes]:
        """Raises as `VersionCipher.encrypt`."""
        check_plaintext(plaintext)
        check_aad(aad)
        nonce = os.urandom(NONCE_SIZE)
        sealed = self._key.seal(nonce, plaintext, self._bound(aad))
        return sealed.then(lambda body: self._header + nonce + body)

    def encrypting(self, count: int) -> Callable[[bytes, bytes], Pending[bytes]]:
        """As `VersionCipher.encrypting`."""
        return self.encrypt

    def decrypt(self, ciphertext: Ciphertext, aad: bytes = b"") -> Pending[bytes]:
        """Raises as `VersionCipher.decrypt`."""
        self._check(ciphertext, aad)
        return self._key.unseal(ciphertext.nonce, ciphertext.body, self._bound(aad))
