"""Tenants and their namespaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from kms.errors import AlreadyExists, LimitExceeded, WrongState
from kms.identity.grant import Grant
from kms.identity.join_tokens import MAX_LIFE, create_join_token
from kms.model.join_token import JoinToken
from kms.model.labels import check_labels
from kms.model.names import IdentityName, NamespaceName, TenantName
from kms.model.policy_records import KmsPolicyRecord, NamespacePolicyRecord, SecretPolicyRecord
from kms.model.records import (
    IdentityRecord,
    ImportKeyRecord,
    KeyRecord,
    NamespaceRecord,
    PrimaryRecord,
    SecretManagementAccessRecord,
    TenantRecord,
)
from kms.model.tenant_lifecycle import TenantState
from kms.services.call import Call, Outcome, Page
from kms.services.guard import Action, Guard
from kms.services.identity_trust import IdentityTrust
from kms.services.keyring import Keyring
from kms.services.repository import Loaded, Repository, Stored, create, found, page, same_request
from kms.storage.interface import MISSING, Change, Require, RequireNone

MAX_DESCRIPTION = 2048
SYSTEM = "system"
ADMIN = "admin"
ADMIN_ROLES = frozenset({"tenant-admin", "policy-author", "key-admin", "secret-sealer", "auditor"})

CREATE_TENANT = Action("CreateTenant", "tenants.create")
GET_TENANT = Action("GetTenant", "tenants.get")
LIST_TENANTS = Action("ListTenants", "tenants.list")
CREATE_NAMESPACE = Action("CreateNamespace", "namespaces.create")
GET_NAMESPACE = Action("GetNamespace", "namespaces.get")
LIST_NAMESPACES = Action("ListNamespaces", "namespaces.list")
DELETE_NAMESPACE = Action("DeleteNamespace", "namespaces.delete")


@dataclass(frozen=True, slots=True)
class Description:
    """The free part of a tenant or namespace: up to 2,048 characters of text, and labels.

    Raises `LimitExceeded`, `InvalidField`.
    """

    description: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if len(self.description) > MAX_DESCRIPTION:
            raise LimitExceeded("description", f"at most {MAX_DESCRIPTION} characters are allowed")
        object.__setattr__(self, "labels", check_labels(self.labels))


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A tenant that was made, and the one-use token by which its first administrator enrols within a day.

    The token is None where a repeated call finds the tenant made before: it is shown once.
    """

    tenant: Loaded[TenantRecord]
    admin_token: JoinToken | None


def first_administrator(tenant: TenantName) -> Grant:
    """Who may manage all of a new tenant, but use no key."""
    return Grant(IdentityName(tenant.tenant, SYSTEM, ADMIN), roles=ADMIN_ROLES)


class Tenants:
    """Tenants are created by platform operators, who see nothing inside them."""

    def __init__(self, guard: Guard, repository: Repository, keyring: Keyring, trust: IdentityTrust) -> None:
        self._guard = guard
        self._repository = repository
        self._keyring = keyring
        self._trust = trust

    async def create(self, call: Call, name: TenantName, about: Description, request_id: str) -> NewTenant:
        """Raises `AlreadyExists`, also for the name of a tenant that was destroyed.

        A repeat with the same request id returns what the first call made.
        """

        def act() -> Outcome[NewTenant]:
            existing = self._repository.load(TenantRecord, str(name))
            if existing is not None:
                if existing.record.state == TenantState.DESTROYED:
                    raise AlreadyExists(f"{name} was destroyed; its name is not used again")
                return Outcome(
                    NewTenant(same_request(existing, request_id, existing.record.request_id), None)
                )
            record, changes = self.new(call, name, about, request_id)
            grant = first_administrator(name)
            ca_fingerprint = self._trust.current().issuer.root_fingerprint
            token, row = create_join_token(grant, ca_fingerprint, call.time, MAX_LIFE)
            changes = [*changes, create(token.token_id.hex(), row)]
            details = {"tenant": name.tenant, "administrator": str(grant.identity)}
            return Outcome(NewTenant(Loaded(str(name), record, 1), token), changes, details)

        return await self._guard.perform(call, CREATE_TENANT, None, act)

    def new(
        self, call: Call, name: TenantName, about: Description, request_id: str
    ) -> tuple[TenantRecord, Sequence[Change]]:
        """A tenant's first rows, its key fresh, and the namespace that its administrator is in."""
        record = TenantRecord(
            description=about.description,
            labels=about.labels,
            state=TenantState.ENABLED.value,
            create_time=call.time,
            destroy_time=None,
            destroy_event_time=None,
            erase_time=None,
            anchor=0,
            request_id=request_id,
        )
        system = NamespaceName(name.tenant, SYSTEM)
        rows = [
            create(str(name), record),
            create(str(name), PrimaryRecord(0, 0)),
            create(str(system), NamespaceRecord("", {}, call.time, "")),
        ]
        return record, [*rows, *self._keyring.new_tenant(name.tenant)]

    async def get(self, call: Call, name: TenantName) -> Loaded[TenantRecord]:
        """For operators, and for the tenant's own readers. Raises `NotFound`."""

        def act() -> Outcome[Loaded[TenantRecord]]:
            return Outcome(found(self._repository.load(TenantRecord, str(name)), str(name)))

        scope = None if call.caller.tenant is None else name
        return await self._guard.perform(call, GET_TENANT, scope, act)

    async def list(self, call: Call, after: str, limit: int) -> Page[Loaded[TenantRecord]]:
        def act() -> Outcome[Page[Loaded[TenantRecord]]]:
            return Outcome(page(self._repository.scan(TenantRecord, "", after, limit + 1), limit))

        return await self._guard.perform(call, LIST_TENANTS, None, act)


# What keeps a namespace from being deleted.
_INSIDE: tuple[type[Stored], ...] = (
    SecretPolicyRecord,
    KmsPolicyRecord,
    KeyRecord,
    IdentityRecord,
    SecretManagementAccessRecord,
)


class Namespaces:
    """Where a tenant's policies and identities live."""

    def __init__(self, guard: Guard, repository: Repository) -> None:
        self._guard = guard
        self._repository = repository

    async def create(
        self, call: Call, name: NamespaceName, about: Description, request_id: str
    ) -> Loaded[NamespaceRecord]:
        """As `Tenants.create`."""

        def act() -> Outcome[Loaded[NamespaceRecord]]:
            existing = self._repository.load(NamespaceRecord, str(name))
            if existing is not None:
                return Outcome(same_request(existing, request_id, existing.record.request_id))
            record = NamespaceRecord(about.description, about.labels, call.time, request_id)
            return Outcome(Loaded(str(name), record, 1), [create(str(name), record)])

        return await self._guard.perform(call, CREATE_NAMESPACE, name, act)

    async def get(self, call: Call, name: NamespaceName) -> Loaded[NamespaceRecord]:
        """Raises `NotFound`."""

        def act() -> Outcome[Loaded[NamespaceRecord]]:
            return Outcome(found(self._repository.load(NamespaceRecord, str(name)), str(name)))

        return await self._guard.perform(call, GET_NAMESPACE, name, act)

    async def list(
        self, call: Call, parent: TenantName, after: str, limit: int
    ) -> Page[Loaded[NamespaceRecord]]:
        def act() -> Outcome[Page[Loaded[NamespaceRecord]]]:
            rows = self._repository.scan(NamespaceRecord, f"{parent}/namespaces/", after, limit + 1)
            return Outcome(page(rows, limit))

        return await self._guard.perform(call, LIST_NAMESPACES, parent, act)

    async def delete(self, call: Call, name: NamespaceName, etag: str) -> None:
        """Raises `NotFound`, `EtagMismatch`, and `WrongState` while anything is in it.

        What is made in it meanwhile is found, or not made: who creates requires the namespace, and who
        deletes requires that nothing is in it. Import keys go with it: they last a day, and nobody can
        delete them.
        """

        def act() -> Outcome[None]:
            loaded = found(self._repository.load(NamespaceRecord, str(name)), str(name))
            loaded.check_etag(etag)
            for kind in _INSIDE:
                if not self._repository.is_empty(kind, f"{name}/"):
                    raise WrongState(f"{name} still holds {kind.KIND}; move or delete them first")
            choice = self._repository.load(NamespacePolicyRecord, str(name))
            import_keys = self._repository.all(ImportKeyRecord, f"{name}/")
            changes: list[Change] = [loaded.delete(), *(key.delete() for key in import_keys)]
            changes += [RequireNone(kind.KIND, f"{name}/") for kind in _INSIDE]
            changes.append(RequireNone(ImportKeyRecord.KIND, f"{name}/"))
            changes.append(
                Require(NamespacePolicyRecord.KIND, str(name), MISSING) if choice is None else choice.delete()
            )
            return Outcome(None, changes)

        await self._guard.perform(call, DELETE_NAMESPACE, name, act)


def require_namespace(repository: Repository, name: NamespaceName) -> Require:
    """The namespace exists, and goes on existing until the unit is written. Raises `NotFound`."""
    loaded = found(repository.load(NamespaceRecord, str(name)), str(name))
    return Require(NamespaceRecord.KIND, str(name), loaded.counter)
