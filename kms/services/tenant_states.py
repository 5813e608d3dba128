"""Whether a tenant is served now. Asked by the guard at every call, and at every authentication."""

from kms.errors import NotFound, TenantNotServed, Unauthenticated
from kms.model.names import Identity, NamespaceName, OperatorName, TenantName
from kms.model.records import TenantRecord
from kms.model.tenant_lifecycle import TenantState
from kms.services.granting import CREATE_PERMISSION, scope_of
from kms.services.repository import Loaded, Repository, found
from kms.services.tenants import require_namespace
from kms.storage.interface import Require

# What a tenant's own readers may still do while it is not served: see that it will go, and take its audit
# trail along (docs/adr/0018-destroyed-tenants.md).
ALWAYS = frozenset({"tenants.get", "audit.list", "audit.export", "audit.getCheckpoint"})


class TenantStates:
    """Reads the authenticated row each time. Of a destroyed tenant nothing is served at all."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def serving(self, tenant: str, permission: str) -> Require:
        """Holds while the tenant is in the state in which the permission was admitted.

        Raises `TenantNotServed`, `NotFound` for a tenant that is not there.
        """
        name = _row(tenant)
        loaded = found(self._load(tenant), name)
        state = loaded.record.state
        if state == TenantState.ENABLED or (state != TenantState.DESTROYED and permission in ALWAYS):
            return loaded.require()
        raise TenantNotServed(name, state)

    def check_exists(self, tenant: str) -> None:
        """Raise `Unauthenticated` for identities of a tenant that is not there, or not any more."""
        loaded = self._load(tenant)
        if loaded is None or loaded.record.state == TenantState.DESTROYED:
            raise Unauthenticated("the identity's tenant does not exist here")

    def _load(self, tenant: str) -> Loaded[TenantRecord] | None:
        return self._repository.load(TenantRecord, _row(tenant))


def _row(tenant: str) -> str:
    """The row's name: that of a tenant whose id was checked, which is not done again for each call."""
    return f"tenants/{tenant}"


def require_place(repository: Repository, identity: Identity) -> list[Require]:
    """Somebody may enrol as this identity: its tenant is served, and its namespace is there.

    Raises `NotFound` otherwise.
    """
    if isinstance(identity, OperatorName):
        return []
    scope = scope_of(identity)
    try:
        place = [TenantStates(repository).serving(identity.tenant, CREATE_PERMISSION)]
    except TenantNotServed:
        raise NotFound(str(identity)) from None
    if isinstance(scope, NamespaceName):
        place.append(require_namespace(repository, scope))
    return place


def check_not_destroyed(repository: Repository, name: TenantName) -> None:
    """Raises `NotFound` for a tenant that is not there, or is there as a tombstone only."""
    loaded = repository.load(TenantRecord, str(name))
    if loaded is None or loaded.record.state == TenantState.DESTROYED:
        raise NotFound(str(name))
