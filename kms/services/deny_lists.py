"""The deny list in force for each tenant, and for the platform's operators."""

from collections.abc import Callable
from datetime import UTC, datetime

from kms.errors import Unauthenticated
from kms.identity.revocation import DenyList
from kms.model.caller import Caller
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import MISSING, Put, Require

PLATFORM = "platform"
_EARLIEST = datetime.min.replace(tzinfo=UTC)


class DenyLists:
    """Reads the authenticated row at every call."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def current(self, tenant: str | None) -> DenyList:
        """For the authenticator. Raises `StoreTampered`."""
        loaded = self._load(tenant)
        return DenyList() if loaded is None else loaded.record

    def check(self, caller: Caller) -> Require:
        """Holds while the list is the one that the caller was looked up in. Raises `Unauthenticated`."""
        loaded = self._load(caller.tenant)
        if loaded is None:
            return Require(DenyList.KIND, _row(caller.tenant), MISSING)
        loaded.record.check(caller.serial, caller.spiffe_id, caller.issued_at or _EARLIEST)
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
