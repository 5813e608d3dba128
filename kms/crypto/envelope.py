"""Envelopes: bulk data under a data key that a key of the KMS wraps (docs/spec/envelope.md).

    header   = magic (8) || u8 format || lp(key version name) || lp(wrapped data key) || salt (32)
    envelope = header || commitment (32) || chunks

The chunks are those of a payload in `blindfold.stream`.
"""

import os
from dataclasses import dataclass
from typing import Self

from blindfold._encoding import lp, u8
from blindfold._primitives import hkdf, is_equal, sha256
from blindfold.envelope import Source, read_exactly
from blindfold.secret import SecretBytes
from kms.crypto.ciphertext import OVERHEAD, parse
from kms.errors import DecryptionFailed, InvalidField
from kms.model.names import KeyVersionName

MAGIC = b"\x93KMSEV\r\n"
FORMAT = 1
DATA_KEY_SIZE = 32
SALT_SIZE = 32
COMMITMENT_SIZE = 32
MAX_NAME = 255
# What the KMS binds when it wraps a data key, so that a ciphertext of something else is not taken for one.
WRAPPING_AAD = b"kms/v1 envelope"
_FIELD = "envelope"


@dataclass(frozen=True, slots=True)
class Header:
    """Public. `name` is the key version that wrapped the data key, `salt` is drawn for each envelope."""

    name: KeyVersionName
    wrapped: bytes
    salt: bytes

    def __post_init__(self) -> None:
        """Raises `InvalidField`."""
        if len(self.wrapped) != DATA_KEY_SIZE + OVERHEAD:
            raise InvalidField(_FIELD, f"its wrapped data key has {len(self.wrapped)} bytes")
        if parse(self.wrapped, _FIELD).version != self.name.version:
            raise InvalidField(_FIELD, "its data key is not wrapped by the version that it names")

    def to_bytes(self) -> bytes:
        return MAGIC + u8(FORMAT) + lp(str(self.name).encode()) + lp(self.wrapped) + self.salt

    @classmethod
    def read(cls, source: Source) -> Self:
        """The header at the start of a source. Raises `InvalidField` for anything that is none."""
        if read_exactly(source, len(MAGIC)) != MAGIC:
            raise InvalidField(_FIELD, "does not begin as one; is it what an EnvelopeCipher wrote?")
        version = _take(source, 1)[0]
        if version != FORMAT:
            raise InvalidField(_FIELD, f"has format {version}; the only known format is {FORMAT}")
        name = KeyVersionName.parse(_take_lp(source, MAX_NAME).decode("ascii", "replace"), _FIELD)
        return cls(name, _take_lp(source, DATA_KEY_SIZE + OVERHEAD), _take(source, SALT_SIZE))


def message_key(data_key: SecretBytes, header: Header, aad: bytes) -> tuple[bytes, bytes]:
    """(commitment, message key) of an envelope, 32 bytes each. `aad` may have any length.

    A message key serves one envelope, so a data key may serve any number of them. Raises `DecryptionFailed`
    for a data key that is none.
    """
    if len(data_key) != DATA_KEY_SIZE:
        raise DecryptionFailed
    info = WRAPPING_AAD + b"\x00" + sha256(aad)
    okm = hkdf("sha256", secret=data_key.reveal(), salt=header.salt, info=info, length=2 * COMMITMENT_SIZE)
    return okm[:COMMITMENT_SIZE], okm[COMMITMENT_SIZE:]


def verify_message_key(data_key: SecretBytes, header: Header, aad: bytes, commitment: bytes) -> bytes:
    """The message key, if the commitment is of this data key, salt and `aad`. Raises `DecryptionFailed`."""
    expected, key = message_key(data_key, header, aad)
    if not is_equal(expected, commitment):
        raise DecryptionFailed
    return key


def read_commitment(source: Source) -> bytes:
    """What follows a header. Raises `InvalidField`."""
    return _take(source, COMMITMENT_SIZE)


def new_salt() -> bytes:
    return os.urandom(SALT_SIZE)


def _take(source: Source, size: int) -> bytes:
    data = read_exactly(source, size)
    if len(data) != size:
        raise InvalidField(_FIELD, "is cut off")
    return data


def _take_lp(source: Source, limit: int) -> bytes:
    size = int.from_bytes(_take(source, 2), "big")
    if size > limit:
        raise InvalidField(_FIELD, f"has a field of {size} bytes where at most {limit} are allowed")
    return _take(source, size)
