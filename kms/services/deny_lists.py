"""The deny list in force for each tenant, and for the platform's operators."""

from collections.abc import Callable
from datetime import UTC, datetime

from kms.errors import Unauthenticated
from kms.identity.revocation import DenyList
from kms.identity.spiffe import SpiffeId
from kms.model.caller import Caller
from kms.model.names import OperatorName
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import MISSING, Put, Require

PLATFORM = "platform"
# Serial numbers are positive (RFC 5280, section 4.1.2.2).
_NO_SERIAL = 0
_EARLIEST = datetime.min.replace(tzinfo=UTC)


class DenyLists:
    """Reads the authenticated row at every call."""

    def __init__(
        self, repository: Repository, check_authority: Callable[[Caller], tuple[Require, ...]]
    ) -> None:
        """`check_authority` says what must hold for a caller's authority to be trusted still.

        It raises `Unauthenticated`.
        """
        self._repository = repository
        self._check_authority = check_authority

    def current(self, tenant: str | None) -> DenyList:
        """For the authenticator. Raises `StoreTampered`."""
        loaded = self._load(tenant)
        return DenyList() if loaded is None else loaded.record

    def check(self, caller: Caller) -> tuple[Require, ...]:
        """Hold while list and authorities are those that the caller was looked up in.

        Raises `Unauthenticated`.
        """
        since = caller.issued_at or _EARLIEST
        listed = self._require(caller.tenant, caller.serial, caller.spiffe_id, since)
        return (listed, *self._check_authority(caller))

    def not_revoked(self, spiffe_id: SpiffeId, since: datetime) -> Require:
        """Holds while neither the identity nor its site is revoked at `since` or later.

        Raises `Unauthenticated`.
        """
        identity = spiffe_id.identity
        tenant = None if isinstance(identity, OperatorName) else identity.tenant
        return self._require(tenant, _NO_SERIAL, str(spiffe_id), since)

    def _require(self, tenant: str | None, serial: int, spiffe_id: str, since: datetime) -> Require:
        loaded = self._load(tenant)
        if loaded is None:
            return Require(DenyList.KIND, _row(tenant), MISSING)
        loaded.record.check(serial, spiffe_id, since)
        return loaded.require()

    def admits(self, caller: Caller) -> bool:
        """Whether `check` would pass now."""
        try:
            self.check(caller)
        except Unauthenticated:
            return False
        return True

    def edit(self, tenant: str | None, change: Callable[[DenyList], DenyList]) -> Put:
        """The write that replaces the list by what change makes of it."""
        loaded = self._load(tenant)
        if loaded is None:
            return create(_row(tenant), change(DenyList()))
        return loaded.put(change(loaded.record))

    def _load(self, tenant: str | None) -> Loaded[DenyList] | None:
        return self._repository.load(DenyList, _row(tenant))


def _row(tenant: str | None) -> str:
    return PLATFORM if tenant is None else f"tenants/{tenant}"
