"""What is kept in memory of a row is dropped when the row is written."""

from kms.model.records import BlindfoldKeyRecord, KeyVersionRecord
from kms.services import blindfold_keys, key_versions
from kms.services.guard import Forget
from kms.services.key_handles import KeyHandles
from kms.services.keyring import Keyring
from kms.services.repository import Repository
from kms.storage.interface import MISSING, Delete, Put


def forget_in(repository: Repository, keyring: Keyring, handles: KeyHandles) -> Forget:
    """For `Guard`: bytes that are overwritten, and loaded keys whose version has changed."""

    def forget(write: Put | Delete) -> None:
        if write.expected == MISSING:
            return
        if isinstance(write, Delete) or write.destroys:
            repository.forget(write.kind, write.name)
        if write.kind == KeyVersionRecord.KIND:
            handles.forget(key_versions.name_of(write.name))
        elif write.kind == BlindfoldKeyRecord.KIND:
            keyring.forget(blindfold_keys.name_of(write.name))

    return forget
