"""What is kept in memory of a row is dropped when the row is written."""

from kms.crypto.key_hierarchy import TENANT_KEY
from kms.model.names import TenantName
from kms.model.records import (
    BlindfoldKeyRecord,
    KeyVersionRecord,
    RateLimiterRecord,
    TrustedAuthorityRecord,
    UserIdentificationRecord,
)
from kms.services import blindfold_keys, key_versions
from kms.services.corporate_trust import CorporateTrust
from kms.services.guard import Forget
from kms.services.key_access import KeyAccesses
from kms.services.key_handles import KeyHandles
from kms.services.keyring import Keyring
from kms.services.rate_limits import RateLimits
from kms.services.repository import Repository
from kms.storage.interface import MISSING, Delete, Put

_OF_LIMITS = (RateLimiterRecord.KIND, UserIdentificationRecord.KIND)


def forget_in(
    repository: Repository,
    keyring: Keyring,
    handles: KeyHandles,
    accesses: KeyAccesses,
    rate_limits: RateLimits,
    trust: CorporateTrust,
) -> Forget:
    """For `Guard`: bytes that are overwritten, keys, limits and authorities that have changed."""

    def forget(write: Put | Delete) -> None:
        if write.kind in _OF_LIMITS:
            rate_limits.forget(write.name.split("/")[1])
        elif write.kind == TrustedAuthorityRecord.KIND:
            trust.forget()
        if write.expected == MISSING:
            return
        if isinstance(write, Delete) or write.destroys:
            repository.forget(write.kind, write.name)
        if write.kind == KeyVersionRecord.KIND:
            handles.forget(key_versions.name_of(write.name))
            accesses.forget()
        elif write.kind == BlindfoldKeyRecord.KIND:
            keyring.forget(blindfold_keys.name_of(write.name))
        elif write.kind == TENANT_KEY:
            keyring.forget_tenant(TenantName.parse(write.name).tenant)

    return forget
