"""Which keys a backup's key is wrapped under."""

from collections.abc import Callable

from kms.audit.authenticated_store import AuthenticatedStore
from kms.crypto.backup import root_key_id
from kms.crypto.key_hierarchy import KeyHierarchy
from kms.crypto.root_of_trust.interface import RootKeyRecord, WrongRootMaterial
from kms.errors import BackupInvalid, ConfigError, StoreTampered
from kms.model.backup_header import BackupHeader


def keys_of(vault: AuthenticatedStore, header: BackupHeader) -> KeyHierarchy:
    """Those of the store, or others that its root of trust gives.

    Raises `WrongRootMaterial`, `BackupInvalid`.
    """
    keys = vault.root.keys
    if header.root_key_id == root_key_id(keys):
        return keys
    if not header.root_record:
        raise WrongRootMaterial("the backup is under a root key that this store does not have")
    try:
        return keys_in(header, vault.keys_under)
    except ConfigError as error:
        problem = error.message
    raise WrongRootMaterial(problem)


def keys_in(header: BackupHeader, unlock: Callable[[RootKeyRecord], KeyHierarchy]) -> KeyHierarchy:
    """What the record in a header gives. Raises `BackupInvalid`, and what `unlock` raises besides."""
    record = recorded(header)
    try:
        keys = unlock(record)
    except StoreTampered:
        keys = None
    if keys is None:
        raise BackupInvalid("its record of the root key is damaged")
    if header.root_key_id != root_key_id(keys):
        raise BackupInvalid("its record is of another root key")
    return keys


def recorded(header: BackupHeader) -> RootKeyRecord:
    """What the root of trust gives the root key back from. Raises `BackupInvalid`."""
    try:
        return RootKeyRecord.parse(header.root_record.encode())
    except StoreTampered:
        pass
    raise BackupInvalid("its record of the root key is damaged")
