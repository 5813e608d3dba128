"""Accesses to vaults: kept, and handed to the workloads that they select (docs/external-secrets.md).

The KMS connects to no vault. A credential is opened, and a secret fetched, by the workload alone.
"""

from collections.abc import Collection, Sequence
from typing import Any

from kms.authz.roles import SHARED
from kms.authz.selector import parse_selector
from kms.errors import Denied, InvalidField, StoreTampered
from kms.model.access_json import access_to_json, parse_access
from kms.model.access_references import check_references
from kms.model.caller import Caller
from kms.model.names import NamespaceName, SecretManagementAccessName
from kms.model.records import SecretManagementAccessRecord
from kms.model.row import dump_row, load_row
from kms.model.sealed_credentials import check_sealed_credentials
from kms.model.secret_management_access import Allowances, SecretManagementAccess
from kms.model.secret_type import VaultSecret
from kms.services.call import Call, Outcome, Page
from kms.services.guard import Action, Guard
from kms.services.large_pages import large_page
from kms.services.policy_changes import Content, merge
from kms.services.repository import Loaded, Repository
from kms.services.tenant_resources import Actions, TenantResources, Written
from kms.services.tenants import require_namespace
from kms.storage.interface import Change

MAX_ACCESSES = 128

Stored = Loaded[SecretManagementAccessRecord]

FETCH = Action("FetchSecretManagementAccess", "")


class SecretManagementAccesses(TenantResources[SecretManagementAccessRecord]):
    """Content comes and goes as the JSON object of docs/external-secrets.md."""

    def __init__(self, guard: Guard, repository: Repository, allowances: Allowances) -> None:
        actions = Actions.of("SecretManagementAccess", "SecretManagementAccesses", "secretManagementAccesses")
        super().__init__(
            guard, repository, SecretManagementAccessRecord, actions, MAX_ACCESSES, in_thread=True
        )
        self._allowances = allowances

    async def create(
        self, call: Call, name: SecretManagementAccessName, content: Content, request_id: str
    ) -> Stored:
        """Raises `InvalidField`, `LimitExceeded`, `NotFound` for the namespace, `AlreadyExists`,
        `WrongState`, and `Denied` for a credential of an access that the caller may not read.
        """

        def make() -> Written[SecretManagementAccessRecord]:
            namespace = require_namespace(self._repository, NamespaceName(name.tenant, name.namespace))
            body, changes = self._checked(call, name, content)
            record = SecretManagementAccessRecord(body, call.time, call.time, request_id)
            return record, [namespace, *changes]

        return await self._create(call, name, request_id, make)

    async def update(
        self,
        call: Call,
        name: SecretManagementAccessName,
        content: Content,
        etag: str,
        fields: Collection[str] | None = None,
    ) -> Stored:
        """That content, or those of its fields and the others as they are.

        Raises `NotFound`, `EtagMismatch`, and as `create`.
        """

        def change(record: SecretManagementAccessRecord) -> Written[SecretManagementAccessRecord]:
            merged = content if fields is None else merge(content_of(record), content, fields)
            body, changes = self._checked(call, name, merged)
            written = SecretManagementAccessRecord(body, record.create_time, call.time, record.request_id)
            return written, changes

        return await self._update(call, name, etag, change)

    async def delete(self, call: Call, name: SecretManagementAccessName, etag: str) -> None:
        """Nobody fetches it from now on, nor uses a credential that is reached by it. Raises `NotFound`."""
        await self._delete(call, name, etag)

    def _page(self, folder: str, after: str, limit: int) -> Page[Stored]:
        def read(row: Stored) -> tuple[Stored, int]:
            return row, len(row.record.content)

        kind = SecretManagementAccessRecord
        return large_page(self._repository, kind, folder, after, limit, read)

    async def fetch(self, call: Call, name: SecretManagementAccessName) -> Stored:
        """For whomever the access selects. Raises `Denied` for others, and where there is none."""

        def act() -> Outcome[Stored]:
            loaded = self._repository.load(SecretManagementAccessRecord, str(name))
            if loaded is None:
                raise Denied("NO_SUCH_ACCESS")
            if not _selects(name, access_of(loaded.record), call.caller):
                raise Denied("NOT_SELECTED")
            return Outcome(loaded, details={"etag": loaded.etag})

        return await self._perform(call, FETCH, name, act)

    def _checked(
        self, call: Call, name: SecretManagementAccessName, content: Content
    ) -> tuple[bytes, Sequence[Change]]:
        """The canonical content, and what must hold of the accesses it refers to until it is written.

        Raises `Denied` for one that the caller may not read: he is not told whether it is there.
        """
        access = parse_access(content)
        for index, expression in enumerate(access.where.expressions):
            parse_selector(expression, f"where.expressions[{index}]")
        access.check_allowed(self._allowances)
        check_sealed_credentials(access, name.tenant)
        for secret in access.credentials.values():
            if isinstance(secret, VaultSecret) and secret.access.tenant == name.tenant:
                self._guard.check(call, self._actions.get.permission, secret.access)
        referred: dict[str, Stored] = {}

        def find(target: SecretManagementAccessName, field: str) -> SecretManagementAccess:
            loaded = self._repository.load(SecretManagementAccessRecord, str(target))
            if loaded is None:
                raise InvalidField(field, f"names {target}, which does not exist")
            referred[loaded.name] = loaded
            return access_of(loaded.record)

        check_references(name, access, find)
        body = dump_row(access_to_json(access), SecretManagementAccessRecord.KIND)
        return body, [loaded.require() for loaded in referred.values()]


def content_of(record: SecretManagementAccessRecord) -> dict[str, Any]:
    """The JSON object, credentials in clear included."""
    return dict(load_row(record.content, record.KIND))


def access_of(record: SecretManagementAccessRecord) -> SecretManagementAccess:
    """Raises `StoreTampered` for a content that this version would not have written."""
    try:
        return parse_access(content_of(record))
    except InvalidField as error:
        problem = error.message
    raise StoreTampered(f"a stored row of kind {record.KIND} cannot be read: {problem}")


def _selects(name: SecretManagementAccessName, access: SecretManagementAccess, caller: Caller) -> bool:
    """Whether the caller is of the namespace, or a site of the tenant, and one selector holds for it.

    Accesses of the namespace `shared` are for all of the tenant.
    """
    namespace = getattr(caller.identity, "namespace", name.namespace)
    if namespace != name.namespace and name.namespace != SHARED:
        return False
    return any(parse_selector(text).matches(caller.labels) for text in access.where.expressions)
