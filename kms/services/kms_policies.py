"""KMS policies: who may do what with keys. Every write is a revision that never changes.

A policy counts for a key that names it, and for every key of a namespace that names it.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from blindfold.exponent import UID_SIZE
from kms.authz.compile import compile_policy, read_policy, validate_policy
from kms.authz.explain import Explanation, explain
from kms.authz.lint import LintWarning
from kms.authz.prefix_sets import references
from kms.authz.roles import require_permission
from kms.errors import InvalidField, LimitExceeded, NotFound
from kms.model.access_request import AccessRequest
from kms.model.names import KmsPolicyName, KmsPolicyRevisionName, NamespaceName
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import parse_policy
from kms.model.policy_records import KmsPolicyRecord, KmsPolicyRevisionRecord, NamespacePolicyRecord
from kms.services.call import Call, Outcome, Page
from kms.services.explaining import KnownIdentity, overruled
from kms.services.guard import Action, Guard
from kms.services.kms_policy_contents import content_bytes, content_object
from kms.services.large_pages import large_page
from kms.services.policy_changes import Content, check_not_deleted, merge, revision_row, with_deletion
from kms.services.prefix_sets import TenantPrefixSets
from kms.services.repository import Loaded, Repository, create, found, same_request
from kms.services.tenants import require_namespace
from kms.storage.interface import MISSING, Require

CREATE = Action("CreateKmsPolicy", "kmsPolicies.create")
GET = Action("GetKmsPolicy", "kmsPolicies.get")
LIST = Action("ListKmsPolicies", "kmsPolicies.list")
UPDATE = Action("UpdateKmsPolicy", "kmsPolicies.update")
DELETE = Action("DeleteKmsPolicy", "kmsPolicies.delete")
UNDELETE = Action("UndeleteKmsPolicy", "kmsPolicies.undelete")
LIST_REVISIONS = Action("ListKmsPolicyRevisions", "kmsPolicies.list")
GET_REVISION = Action("GetKmsPolicyRevision", "kmsPolicies.get")
VALIDATE = Action("ValidateKmsPolicy", "kmsPolicies.validate")
EXPLAIN = Action("ExplainKmsPolicy", "kmsPolicies.explain")
SET_NAMESPACE_POLICY = Action("SetNamespacePolicy", "namespaces.setPolicy")
GET_NAMESPACE_POLICY = Action("GetNamespacePolicy", "namespaces.getPolicy")

MAX_SET = 16


@dataclass(frozen=True, slots=True)
class KmsRevisionView:
    """A revision's row, and its content as the JSON object of docs/policies.md."""

    row: Loaded[KmsPolicyRevisionRecord]
    content: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KmsPolicyView:
    """A policy's head and its current revision."""

    head: Loaded[KmsPolicyRecord]
    current: KmsRevisionView


class KmsPolicies:
    """Content comes as the JSON object of docs/policies.md. Policies are read, and compiled, in threads."""

    def __init__(self, guard: Guard, repository: Repository) -> None:
        self._guard = guard
        self._repository = repository

    async def create(
        self, call: Call, name: KmsPolicyName, content: Content, request_id: str
    ) -> KmsPolicyView:
        """Raises `InvalidField`, `LimitExceeded`, `NotFound` for the namespace, `AlreadyExists`."""

        def act() -> Outcome[KmsPolicyView]:
            existing = self._repository.load(KmsPolicyRecord, str(name))
            if existing is not None:
                return Outcome(self._view(same_request(existing, request_id, existing.record.request_id)))
            namespace = require_namespace(self._repository, NamespaceName(name.tenant, name.namespace))
            sets = TenantPrefixSets(self._repository, name.tenant)
            revision = _new_revision(call, name, read_policy(content, PolicyKind.KMS, sets), number=1)
            head = KmsPolicyRecord(
                uid=secrets.token_bytes(UID_SIZE),
                revision=1,
                create_time=call.time,
                update_time=call.time,
                delete_time=None,
                request_id=request_id,
            )
            view = KmsPolicyView(Loaded(str(name), head, 1), revision)
            rows = [create(str(name), head), create(revision.row.name, revision.row.record)]
            return Outcome(view, [namespace, *sets.requirements(), *rows], _details(view))

        return await self._guard.perform(call, CREATE, name, act, in_thread=True)

    async def get(self, call: Call, name: KmsPolicyName) -> KmsPolicyView:
        """Deleted ones too. Raises `NotFound`."""

        def act() -> Outcome[KmsPolicyView]:
            return Outcome(self._view(self._head(name)))

        return await self._guard.perform(call, GET, name, act, in_thread=True)

    async def list(
        self, call: Call, parent: NamespaceName, after: str, limit: int, *, show_deleted: bool
    ) -> Page[KmsPolicyView]:
        def act() -> Outcome[Page[KmsPolicyView]]:
            def read(head: Loaded[KmsPolicyRecord]) -> tuple[KmsPolicyView, int] | None:
                if head.record.delete_time is not None and not show_deleted:
                    return None
                view = self._view(head)
                return view, _size(view.current)

            folder, kind = f"{parent}/kmsPolicies/", KmsPolicyRecord
            return Outcome(large_page(self._repository, kind, folder, after, limit, read))

        return await self._guard.perform(call, LIST, parent, act, in_thread=True)

    async def update(
        self,
        call: Call,
        name: KmsPolicyName,
        content: Content,
        etag: str,
        fields: Collection[str] | None = None,
    ) -> KmsPolicyView:
        """A new revision with that content, or with those of its fields and the others as they are.

        Raises `NotFound`, `EtagMismatch`, `WrongState`, `InvalidField`, `LimitExceeded`.
        """

        def act() -> Outcome[KmsPolicyView]:
            head = self._head(name)
            head.check_etag(etag)
            check_not_deleted(head)
            merged = content if fields is None else merge(self._view(head).current.content, content, fields)
            number = head.record.revision + 1
            sets = TenantPrefixSets(self._repository, name.tenant)
            revision = _new_revision(call, name, read_policy(merged, PolicyKind.KMS, sets), number=number)
            record = replace(head.record, revision=number, update_time=call.time)
            view = KmsPolicyView(Loaded(head.name, record, head.counter + 1), revision)
            rows = [head.put(record), create(revision.row.name, revision.row.record)]
            return Outcome(view, [*sets.requirements(), *rows], _details(view))

        return await self._guard.perform(call, UPDATE, name, act, in_thread=True)

    async def delete(self, call: Call, name: KmsPolicyName, etag: str) -> KmsPolicyView:
        """From now on the policy denies. Raises `NotFound`, `EtagMismatch`, `WrongState`."""
        return await self._set_deleted(call, DELETE, name, etag, deleted=True)

    async def undelete(self, call: Call, name: KmsPolicyName, etag: str) -> KmsPolicyView:
        """The policy decides again, with the revisions it had. Raises as `delete`."""
        return await self._set_deleted(call, UNDELETE, name, etag, deleted=False)

    async def _set_deleted(
        self, call: Call, action: Action, name: KmsPolicyName, etag: str, *, deleted: bool
    ) -> KmsPolicyView:
        def act() -> Outcome[KmsPolicyView]:
            head = self._head(name)
            changed = with_deletion(head, etag, call.time, deleted=deleted)
            return Outcome(self._view(changed), [head.put(changed.record)])

        return await self._guard.perform(call, action, name, act, in_thread=True)

    async def list_revisions(
        self, call: Call, parent: KmsPolicyName, after: str, limit: int
    ) -> Page[KmsRevisionView]:
        """Oldest first. Raises `NotFound`."""

        def act() -> Outcome[Page[KmsRevisionView]]:
            prefix, kind = f"{self._head(parent).name}/revisions/", KmsPolicyRevisionRecord

            def read(row: Loaded[KmsPolicyRevisionRecord]) -> tuple[KmsRevisionView, int]:
                view = _revision_view(row)
                return view, _size(view)

            return Outcome(large_page(self._repository, kind, prefix, after, limit, read))

        return await self._guard.perform(call, LIST_REVISIONS, parent, act, in_thread=True)

    async def get_revision(self, call: Call, name: KmsPolicyRevisionName) -> KmsRevisionView:
        """Raises `NotFound`."""

        def act() -> Outcome[KmsRevisionView]:
            return Outcome(_revision_view(self._revision(name)))

        return await self._guard.perform(call, GET_REVISION, name, act, in_thread=True)

    async def validate(self, call: Call, parent: NamespaceName, content: Content) -> tuple[LintWarning, ...]:
        """Check content without writing it. Raises `InvalidField`, `LimitExceeded`."""

        def act() -> Outcome[tuple[LintWarning, ...]]:
            sets = TenantPrefixSets(self._repository, parent.tenant)
            return Outcome(validate_policy(content, PolicyKind.KMS, call.time, sets)[1])

        return await self._guard.perform(call, VALIDATE, parent, act, in_thread=True)

    async def explain(
        self,
        call: Call,
        name: KmsPolicyName | KmsPolicyRevisionName,
        asked: AccessRequest | KnownIdentity,
    ) -> Explanation:
        """How the current, or the named, revision alone decides a request about a key.

        Raises `NotFound`, `Denied`.
        """

        def act() -> Outcome[Explanation]:
            head = self._head(name if isinstance(name, KmsPolicyName) else name.policy_name)
            if isinstance(name, KmsPolicyName):
                content = self._view(head).current.content
            else:
                content = _revision_view(self._revision(name)).content
            request = (
                asked if isinstance(asked, AccessRequest) else asked.request(self._repository, name.tenant)
            )
            policy = parse_policy(content, PolicyKind.KMS)
            sets = TenantPrefixSets(self._repository, name.tenant)
            missing = sorted(name for name in references(policy) if name not in sets)
            compiled = compile_policy(policy, None if missing else sets)
            reason = _overruling(head, request, name.tenant, missing)
            return Outcome(overruled(explain(compiled, request), reason))

        return await self._guard.perform(call, EXPLAIN, name, act, in_thread=True)

    async def set_namespace_policies(
        self, call: Call, namespace: NamespaceName, policies: Sequence[KmsPolicyName], etag: str
    ) -> Loaded[NamespacePolicyRecord]:
        """Ask these policies, of the same tenant and in this order, for every key of the namespace.

        Raises `NotFound` for the namespace or a policy, `Denied` for a new one that the caller may not read,
        `WrongState` for a deleted one, `EtagMismatch`, `InvalidField`, `LimitExceeded`.
        """
        if len(policies) > MAX_SET:
            raise LimitExceeded("kms_policies", f"a set has at most {MAX_SET} policies")
        if len(set(policies)) < len(policies):
            raise InvalidField("kms_policies", "a policy is listed twice")

        def act() -> Outcome[Loaded[NamespacePolicyRecord]]:
            exists = require_namespace(self._repository, namespace)
            row = self._namespace_policies(namespace)
            row.check_etag(etag)
            for policy in policies:
                if str(policy) not in row.record.policies:
                    require_permission(call.caller, GET.permission, policy.namespace)
            requirements = [self._attachable(policy, namespace) for policy in policies]
            record = NamespacePolicyRecord(tuple(map(str, policies)))
            changed = Loaded(row.name, record, row.counter + 1)
            details = {"policies": " ".join(record.policies)}
            return Outcome(changed, [exists, *requirements, row.put(record)], details)

        return await self._guard.perform(call, SET_NAMESPACE_POLICY, namespace, act)

    async def get_namespace_policies(
        self, call: Call, namespace: NamespaceName
    ) -> Loaded[NamespacePolicyRecord]:
        """It has no policies where none is asked. Raises `NotFound` for the namespace."""

        def act() -> Outcome[Loaded[NamespacePolicyRecord]]:
            require_namespace(self._repository, namespace)
            return Outcome(self._namespace_policies(namespace))

        return await self._guard.perform(call, GET_NAMESPACE_POLICY, namespace, act)

    def _namespace_policies(self, namespace: NamespaceName) -> Loaded[NamespacePolicyRecord]:
        loaded = self._repository.load(NamespacePolicyRecord, str(namespace))
        return loaded or Loaded(str(namespace), NamespacePolicyRecord(()), MISSING)

    def _attachable(self, policy: KmsPolicyName, namespace: NamespaceName) -> Require:
        """The policy is as it was read until the unit is written."""
        if policy.tenant != namespace.tenant:
            raise NotFound(str(policy))
        head = self._head(policy)
        check_not_deleted(head)
        return Require(KmsPolicyRecord.KIND, head.name, head.counter)

    def _head(self, name: KmsPolicyName) -> Loaded[KmsPolicyRecord]:
        return found(self._repository.load(KmsPolicyRecord, str(name)), str(name))

    def _revision(self, name: KmsPolicyRevisionName) -> Loaded[KmsPolicyRevisionRecord]:
        row = revision_row(name.policy_name, name.revision)
        return found(self._repository.load(KmsPolicyRevisionRecord, row), str(name))

    def _view(self, head: Loaded[KmsPolicyRecord]) -> KmsPolicyView:
        row = revision_row(KmsPolicyName.parse(head.name), head.record.revision)
        return KmsPolicyView(head, _revision_view(self._repository.require(KmsPolicyRevisionRecord, row)))


def _new_revision(call: Call, name: KmsPolicyName, content: PolicyContent, *, number: int) -> KmsRevisionView:
    """A revision that is still to be written."""
    data = content_bytes(content)
    record = KmsPolicyRevisionRecord(
        content=data,
        digest=hashlib.sha256(data).digest(),
        author=call.caller.spiffe_id,
        create_time=call.time,
    )
    return _revision_view(Loaded(revision_row(name, number), record, 1))


def _revision_view(row: Loaded[KmsPolicyRevisionRecord]) -> KmsRevisionView:
    return KmsRevisionView(row, content_object(row.record))


def _size(view: KmsRevisionView) -> int:
    return len(view.row.record.content)


def _details(view: KmsPolicyView) -> Mapping[str, str]:
    return {"revision": str(view.head.record.revision), "digest": view.current.row.record.digest.hex()}


def _overruling(
    head: Loaded[KmsPolicyRecord], request: AccessRequest, tenant: str, missing: Sequence[str]
) -> str:
    """Why the request is denied before any rule is asked, as in `kms.services.key_policies`; else ""."""
    reasons = (
        (request.caller.tenant != tenant, "the caller is not of the policy's tenant"),
        (head.record.delete_time is not None, "the policy is deleted"),
        (bool(missing), f"there is no prefix set {' or '.join(missing)}"),
    )
    return next((reason for holds, reason in reasons if holds), "")
