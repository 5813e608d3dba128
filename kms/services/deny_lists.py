"""The deny list in force for each tenant, and for the platform's operators."""

from collections.abc import Callable

from kms.identity.revocation import DenyList
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import Put

PLATFORM = "platform"


class DenyLists:
    """Reads the authenticated row at every call."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def current(self, tenant: str | None) -> DenyList:
        """For the authenticator. Raises `StoreTampered`."""
        loaded = self._load(tenant)
        return DenyList() if loaded is None else loaded.record

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
