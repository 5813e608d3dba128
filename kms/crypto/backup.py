"""How a backup is encrypted (docs/spec/backup.md, "Keys" and "Payload").

root key -> backup wrapping key -> backup key, drawn for one backup -> payload key, and wrapping keys for the
tenant key and for the key of the backup before
"""

import os
from collections.abc import Callable, Iterator
from typing import Self

from blindfold import stream
from blindfold.envelope import Source, read_exactly
from blindfold.errors import OpenFailed
from blindfold.secret import SecretBytes
from kms.crypto.key_hierarchy import KeyHierarchy, derive
from kms.crypto.wrapping import UnwrapFailed, unwrap, wrap
from kms.errors import BackupInvalid
from kms.model.backup_header import ROOT_KEY_ID_SIZE, BackupHeader, StoreBackupHeader

BACKUP_KEY_SIZE = 32

_ALGORITHM = "AES_256_GCM"
_BACKUP = "BACKUP"
_TENANT_KEY = "BACKUP_TENANT_KEY"
_PREVIOUS = "BACKUP_PREVIOUS"


def root_key_id(keys: KeyHierarchy) -> bytes:
    """16 public bytes that tell one root key from another."""
    return derive(keys.backup_wrapping, b"kms/v1 backup root key id", ROOT_KEY_ID_SIZE).reveal()


class BackupKey:
    """The key of one backup."""

    __slots__ = ("_key",)

    def __init__(self, key: SecretBytes) -> None:
        self._key = key

    @classmethod
    def new(cls, random_bytes: Callable[[int], bytes] = os.urandom) -> Self:
        return cls(SecretBytes(random_bytes(BACKUP_KEY_SIZE)))

    @classmethod
    def unwrap(cls, keys: KeyHierarchy, header: BackupHeader) -> Self:
        """The key of the backup with that header. Raises `BackupInvalid` for every failure alike."""
        try:
            return cls(_unwrap(keys.backup_wrapping, header.wrapped_key, header.scope, _BACKUP))
        except UnwrapFailed:
            pass
        raise BackupInvalid("its key does not open")

    def wrap(self, keys: KeyHierarchy, scope: str) -> bytes:
        """What `unwrap` opens, for a header with that scope."""
        return _wrap(keys.backup_wrapping, self._key, scope, _BACKUP)

    def wrap_tenant_key(self, name: str, key: SecretBytes) -> bytes:
        """The form in which the tenant key of that resource name is in the payload."""
        return _wrap(self._tenant_wrapping(), key, name, _TENANT_KEY)

    def unwrap_tenant_key(self, name: str, wrapped: bytes) -> SecretBytes:
        """The inverse. Raises `UnwrapFailed`."""
        return _unwrap(self._tenant_wrapping(), wrapped, name, _TENANT_KEY)

    def wrap_previous(self, previous: "BackupKey", scope: str) -> bytes:
        """The key of the backup that this one follows, so that who opens this one opens that one too."""
        return _wrap(self._previous_wrapping(), previous._key, scope, _PREVIOUS)

    def unwrap_previous(self, header: StoreBackupHeader) -> "BackupKey":
        """Of the backup that the one with that header follows. Raises `BackupInvalid`."""
        try:
            wrapped = header.wrapped_previous_key
            return BackupKey(_unwrap(self._previous_wrapping(), wrapped, header.scope, _PREVIOUS))
        except UnwrapFailed:
            pass
        raise BackupInvalid("the key of the one before it does not open")

    def encrypt(self, header: BackupHeader, plain: Source) -> Iterator[bytes]:
        """The payload of the backup with that header, in chunks."""
        first = read_exactly(plain, stream.CHUNK)
        return stream.encrypt(self._payload_key(header), stream.chunks(plain, first))

    def decrypt(self, header: BackupHeader, payload: Source) -> Iterator[bytes]:
        """Verified pieces of what was encrypted; until they have ended, the rest may yet be cut off.

        Raises `BackupInvalid` for every failure alike.
        """
        try:
            yield from stream.decrypt(self._payload_key(header), payload)
            return
        except OpenFailed:
            pass
        raise BackupInvalid("it was changed or cut off")

    def _payload_key(self, header: BackupHeader) -> bytes:
        return derive(self._key, b"kms/v1 backup payload\x00" + header.digest()).reveal()

    def _previous_wrapping(self) -> SecretBytes:
        return derive(self._key, b"kms/v1 backup previous key")

    def _tenant_wrapping(self) -> SecretBytes:
        return derive(self._key, b"kms/v1 backup tenant key")


def _wrap(kek: SecretBytes, key: SecretBytes, resource: str, purpose: str) -> bytes:
    return wrap(kek, key, resource=resource, version=1, algorithm=_ALGORITHM, purpose=purpose)


def _unwrap(kek: SecretBytes, wrapped: bytes, resource: str, purpose: str) -> SecretBytes:
    return unwrap(kek, wrapped, resource=resource, version=1, algorithm=_ALGORITHM, purpose=purpose)
