"""Keys on their way in and out: CKM_RSA_AES_KEY_WRAP (`docs/spec/ciphertext.md`, "Wrapping").

wrapped = RSAES-OAEP(recipient, ephemeral AES-256 key) || AES-KWP(ephemeral key, material)

OAEP (RFC 8017) with SHA-256, MGF1 with SHA-256 and no label; KWP is RFC 5649. Import wraps towards a
key of this KMS, export towards one that the caller proves to hold.
"""

import os

from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from blindfold._encoding import lp
from blindfold.secret import SecretBytes
from kms.crypto import rsa_keys
from kms.crypto.loaded_key import KeyMaterial
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.errors import DecryptionFailed, InvalidField, LimitExceeded
from kms.model.algorithms import ALGORITHMS

RECIPIENT_BITS = (3072, 4096)
EPHEMERAL_SIZE = 32
MAX_MATERIAL = 4096
PROOF_NONCE_SIZE = 32

_KWP_BLOCK = 8
_MIN_KWP = 16


class Recipient:
    """The public key that material is wrapped towards: RSA of 3072 or 4096 bits."""

    __slots__ = ("_oaep", "_pss", "public_key")

    def __init__(self, public_key: bytes, field: str = "public_key") -> None:
        """`public_key` is an SPKI in DER. Raises `InvalidField`."""
        key = rsa_keys.parse_public(public_key, RECIPIENT_BITS, field)
        self.public_key = public_key
        self._oaep = OaepKey(ALGORITHMS[f"RSA_OAEP_{key.key_size}_SHA256"], key, None)
        self._pss = PssKey(ALGORITHMS[f"RSA_PSS_{key.key_size}_SHA256"], key, None)

    def wrap(self, material: SecretBytes) -> bytes:
        """Wrap 1 to 4,096 bytes. Raises `ValueError` for more or less."""
        return self._wrap_with(material, ephemeral=os.urandom(EPHEMERAL_SIZE))

    def _wrap_with(self, material: SecretBytes, *, ephemeral: bytes) -> bytes:
        if not 1 <= len(material) <= MAX_MATERIAL:
            raise ValueError(f"{len(material)} bytes are not wrapped; 1 to {MAX_MATERIAL} are")
        return self._oaep.encrypt(ephemeral) + aes_key_wrap_with_padding(ephemeral, material.reveal())

    def verify_proof(self, message: bytes, signature: bytes) -> bytes:
        """The message of `proof_message`, if whoever holds the private key signed it.

        Raises `SignatureInvalid`.
        """
        return self._pss.verify(message, signature)


class Unwrapper:
    """The private key that undoes `Recipient.wrap`: an import key, or an exporting caller's own."""

    __slots__ = ("_oaep", "_pss", "_size", "public_key")

    def __init__(self, material: SecretBytes) -> None:
        """`material` is PKCS#8 in DER, of a key made here, or checked by `accept_private`.

        Raises `StoreTampered`, or `ValueError` for another size than a recipient's.
        """
        private = rsa_keys.load_own(material)
        if private.key_size not in RECIPIENT_BITS:
            raise ValueError(f"a wrapping key does not have {private.key_size} bits")
        public = private.public_key()
        self._size = private.key_size // 8
        self.public_key = rsa_keys.spki(public)
        self._oaep = OaepKey(ALGORITHMS[f"RSA_OAEP_{private.key_size}_SHA256"], public, private)
        self._pss = PssKey(ALGORITHMS[f"RSA_PSS_{private.key_size}_SHA256"], public, private)

    def unwrap(self, wrapped: bytes, field: str = "wrapped_key") -> SecretBytes:
        """The material, which is authentic to whoever chose the ephemeral key, and not yet checked.

        Raises `InvalidField` for an impossible length, `LimitExceeded`, `DecryptionFailed` for all else.
        """
        body = len(wrapped) - self._size
        if body < _MIN_KWP or body % _KWP_BLOCK:
            parts = f"{self._size} bytes, then {_MIN_KWP} or more, a multiple of {_KWP_BLOCK}"
            raise InvalidField(field, f"must have {parts}; it has {len(wrapped)}")
        if body > MAX_MATERIAL + _KWP_BLOCK:
            raise LimitExceeded(field, f"at most {MAX_MATERIAL} bytes of key material")
        try:
            ephemeral = self._oaep.decrypt(wrapped[: self._size])
            material = _unwrap_kwp(ephemeral, wrapped[self._size :])
        except (DecryptionFailed, InvalidUnwrap):
            material = None
        if material is None:
            raise DecryptionFailed
        return material

    def prove(self, message: bytes) -> bytes:
        """A signature that `Recipient.verify_proof` accepts."""
        return self._pss.sign(message)


def generate(bits: int = RECIPIENT_BITS[0]) -> KeyMaterial:
    """A fresh key pair to wrap towards. Takes up to some seconds. Raises `ValueError` for other sizes."""
    if bits not in RECIPIENT_BITS:
        raise ValueError(f"a wrapping key has {' or '.join(map(str, RECIPIENT_BITS))} bits, not {bits}")
    return rsa_keys.generate(bits)


def proof_message(nonce: bytes, name: str, request_sha256: bytes) -> bytes:
    """What a caller signs to show that it holds an export's recipient key.

    `nonce` (32 bytes) is the server's and used once; `name` is the key version's. Raises `ValueError`
    for another size of nonce or digest.
    """
    if len(nonce) != PROOF_NONCE_SIZE or len(request_sha256) != PROOF_NONCE_SIZE:
        raise ValueError(f"nonce and digest have {PROOF_NONCE_SIZE} bytes each")
    return b"kms/v1 export" + b"\x00" + lp(nonce) + lp(name.encode()) + lp(request_sha256)


def _unwrap_kwp(ephemeral: bytes, body: bytes) -> SecretBytes | None:
    if len(ephemeral) != EPHEMERAL_SIZE:
        return None
    return SecretBytes(aes_key_unwrap_with_padding(ephemeral, body))
