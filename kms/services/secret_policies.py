"""Secret policies: who may open what is sealed under them. Every write is a revision that never changes."""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from blindfold import Binding, PolicyDocument
from blindfold.exponent import UID_SIZE
from kms.authz.compile import read_policy, validate_policy
from kms.authz.explain import Explanation, explain
from kms.authz.lint import LintWarning
from kms.authz.prefix_sets import resolved
from kms.errors import InvalidField, WrongState
from kms.model.access_request import AccessRequest
from kms.model.names import NamespaceName, SecretPolicyName, SecretPolicyRevisionName
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import to_json
from kms.model.policy_records import DigestRecord, RevisionRecord, SecretPolicyRecord
from kms.model.records import SettingsRecord
from kms.services.call import Call, Outcome, Page
from kms.services.deny_overlay import extended
from kms.services.explaining import KnownIdentity, overruled, reason_to_deny
from kms.services.guard import Action, Guard
from kms.services.large_pages import large_page
from kms.services.policy_changes import Content, check_not_deleted, merge, revision_row, with_deletion
from kms.services.policy_documents import PolicyDocuments, StoredPolicy, content_json, document_fields
from kms.services.prefix_sets import TenantPrefixSets
from kms.services.repository import Loaded, Repository, create, found, same_request
from kms.services.tenants import require_namespace
from kms.storage.interface import Change

CREATE = Action("CreateSecretPolicy", "secretPolicies.create")
GET = Action("GetSecretPolicy", "secretPolicies.get")
LIST = Action("ListSecretPolicies", "secretPolicies.list")
UPDATE = Action("UpdateSecretPolicy", "secretPolicies.update")
DELETE = Action("DeleteSecretPolicy", "secretPolicies.delete")
UNDELETE = Action("UndeleteSecretPolicy", "secretPolicies.undelete")
LIST_REVISIONS = Action("ListRevisions", "secretPolicies.list")
GET_REVISION = Action("GetRevision", "secretPolicies.get")
REVOKE = Action("RevokeRevision", "secretPolicies.revokeRevision")
NARROW = Action("NarrowRevision", "secretPolicies.narrowRevision")
VALIDATE = Action("ValidateSecretPolicy", "secretPolicies.validate")
EXPLAIN = Action("ExplainSecretPolicy", "secretPolicies.explain")


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy's head and its current revision."""

    head: Loaded[SecretPolicyRecord]
    current: StoredPolicy


@dataclass(frozen=True, slots=True)
class RevisionView:
    """A revision's row and what its document says."""

    row: Loaded[RevisionRecord]
    policy: StoredPolicy


@dataclass(frozen=True, slots=True)
class Validated:
    """A content as a revision would have it, without prefix sets; and what is probably not meant in it."""

    content: Content
    warnings: tuple[LintWarning, ...]


class SecretPolicies:
    """Content comes as the JSON object of docs/policies.md. Policies are read, and compiled, in threads."""

    def __init__(self, guard: Guard, repository: Repository, documents: PolicyDocuments) -> None:
        self._guard = guard
        self._repository = repository
        self._documents = documents

    async def create(
        self, call: Call, name: SecretPolicyName, content: Content, request_id: str
    ) -> PolicyView:
        """Raises `InvalidField`, `LimitExceeded`, `NotFound` for the namespace, `AlreadyExists`."""

        def act() -> Outcome[PolicyView]:
            existing = self._repository.load(SecretPolicyRecord, str(name))
            if existing is not None:
                return Outcome(
                    self._view(name, same_request(existing, request_id, existing.record.request_id))
                )
            namespace = require_namespace(self._repository, NamespaceName(name.tenant, name.namespace))
            sets = TenantPrefixSets(self._repository, name.tenant)
            valid = resolved(read_policy(content, PolicyKind.SECRET, sets), sets)
            revision = self._new_revision(call, name, valid, uid=secrets.token_bytes(UID_SIZE), number=1)
            head = SecretPolicyRecord(
                uid=revision.document.uid,
                binding=revision.document.binding.name,
                revision=1,
                digest=revision.record.digest,
                create_time=call.time,
                update_time=call.time,
                delete_time=None,
                request_id=request_id,
            )
            view = PolicyView(Loaded(str(name), head, 1), self._documents.read(revision.record))
            changes = [namespace, *sets.requirements(), create(str(name), head), *revision.rows]
            return Outcome(view, changes, {"revision": "1", "digest": head.digest.hex()})

        return await self._guard.perform(call, CREATE, name, act, in_thread=True)

    async def get(self, call: Call, name: SecretPolicyName) -> PolicyView:
        """Deleted ones too. Raises `NotFound`."""

        def act() -> Outcome[PolicyView]:
            return Outcome(self._view(name, self._head(name)))

        return await self._guard.perform(call, GET, name, act, in_thread=True)

    async def list(
        self, call: Call, parent: NamespaceName, after: str, limit: int, *, show_deleted: bool
    ) -> Page[PolicyView]:
        def act() -> Outcome[Page[PolicyView]]:
            def read(head: Loaded[SecretPolicyRecord]) -> tuple[PolicyView, int] | None:
                if head.record.delete_time is not None and not show_deleted:
                    return None
                name = SecretPolicyName.parse(head.name)
                row = self._repository.require(RevisionRecord, revision_row(name, head.record.revision))
                return PolicyView(head, self._documents.read(row.record)), len(row.record.document)

            folder, kind = f"{parent}/secretPolicies/", SecretPolicyRecord
            return Outcome(large_page(self._repository, kind, folder, after, limit, read))

        return await self._guard.perform(call, LIST, parent, act, in_thread=True)

    async def update(
        self,
        call: Call,
        name: SecretPolicyName,
        content: Content,
        etag: str,
        fields: Collection[str] | None = None,
    ) -> PolicyView:
        """A new revision with that content, or with those of its fields and the others as they are.

        The binding is unchanged. Raises `NotFound`, `EtagMismatch`, `WrongState`, `InvalidField`,
        `LimitExceeded`.
        """

        def act() -> Outcome[PolicyView]:
            head = self._head(name)
            head.check_etag(etag)
            check_not_deleted(head)
            sets = TenantPrefixSets(self._repository, name.tenant)
            merged = self._merged(name, head, content, fields)
            valid = resolved(read_policy(merged, PolicyKind.SECRET, sets), sets)
            if valid.binding is not None and valid.binding.name != head.record.binding:
                raise InvalidField("binding", f"is {head.record.binding} for this policy's whole life")
            number = head.record.revision + 1
            revision = self._new_revision(call, name, valid, uid=head.record.uid, number=number)
            record = replace(
                head.record, revision=number, digest=revision.record.digest, update_time=call.time
            )
            view = PolicyView(
                Loaded(head.name, record, head.counter + 1), self._documents.read(revision.record)
            )
            changes = [*sets.requirements(), head.put(record), *revision.rows]
            return Outcome(view, changes, {"revision": str(number), "digest": record.digest.hex()})

        return await self._guard.perform(call, UPDATE, name, act, in_thread=True)

    async def delete(self, call: Call, name: SecretPolicyName, etag: str) -> PolicyView:
        """From now on the policy denies. Raises `NotFound`, `EtagMismatch`, `WrongState`."""
        return await self._set_deleted(call, DELETE, name, etag, deleted=True)

    async def undelete(self, call: Call, name: SecretPolicyName, etag: str) -> PolicyView:
        """The policy decides again, with the revisions it had. Raises as `delete`."""
        return await self._set_deleted(call, UNDELETE, name, etag, deleted=False)

    async def _set_deleted(
        self, call: Call, action: Action, name: SecretPolicyName, etag: str, *, deleted: bool
    ) -> PolicyView:
        def act() -> Outcome[PolicyView]:
            head = self._head(name)
            changed = with_deletion(head, etag, call.time, deleted=deleted)
            return Outcome(self._view(name, changed), [head.put(changed.record)])

        return await self._guard.perform(call, action, name, act, in_thread=True)

    async def list_revisions(
        self, call: Call, parent: SecretPolicyName, after: str, limit: int
    ) -> Page[RevisionView]:
        """Oldest first. Raises `NotFound`."""

        def act() -> Outcome[Page[RevisionView]]:
            self._head(parent)

            def read(row: Loaded[RevisionRecord]) -> tuple[RevisionView, int]:
                size = len(row.record.document) + sum(map(len, row.record.denied))
                return RevisionView(row, self._documents.read(row.record)), size

            folder = f"{parent}/revisions/"
            return Outcome(large_page(self._repository, RevisionRecord, folder, after, limit, read))

        return await self._guard.perform(call, LIST_REVISIONS, parent, act, in_thread=True)

    async def get_revision(self, call: Call, name: SecretPolicyRevisionName) -> RevisionView:
        """Raises `NotFound`."""

        def act() -> Outcome[RevisionView]:
            row = self._revision(name)
            return Outcome(RevisionView(row, self._documents.read(row.record)))

        return await self._guard.perform(call, GET_REVISION, name, act, in_thread=True)

    async def revoke_revision(
        self, call: Call, name: SecretPolicyRevisionName, etag: str, comment: str
    ) -> RevisionView:
        """Nobody opens under it any more, for good. Raises `NotFound`, `EtagMismatch`, `WrongState`."""

        def change(record: RevisionRecord) -> RevisionRecord:
            if record.revoke_time is not None:
                raise WrongState(f"{name} is already revoked")
            return replace(record, revoke_time=call.time)

        return await self._change_revision(call, REVOKE, name, etag, change, {"comment": comment[:256]})

    async def narrow_revision(
        self, call: Call, name: SecretPolicyRevisionName, denied: tuple[str, ...], etag: str, comment: str
    ) -> RevisionView:
        """Deny identities (SPIFFE ids) before the revision's rules are asked. They are added, never removed.

        Raises `InvalidField` also for an identity that is not of the tenant, `LimitExceeded`, `NotFound`,
        `EtagMismatch`.
        """

        def change(record: RevisionRecord) -> RevisionRecord:
            trust_domain = self._repository.require(SettingsRecord, "kms").record.trust_domain
            union = extended(record.denied, denied, trust_domain=trust_domain, tenant=name.tenant)
            return replace(record, denied=union)

        details = {"denied": " ".join(denied)[:1024], "comment": comment[:256]}
        return await self._change_revision(call, NARROW, name, etag, change, details)

    async def _change_revision(
        self,
        call: Call,
        action: Action,
        name: SecretPolicyRevisionName,
        etag: str,
        change: Callable[[RevisionRecord], RevisionRecord],
        details: Mapping[str, str],
    ) -> RevisionView:
        def act() -> Outcome[RevisionView]:
            row = self._revision(name)
            row.check_etag(etag)
            if self._head(policy_of(name)).record.binding != Binding.REVISION.name:
                raise WrongState(f"{policy_of(name)} is bound by name: edit its rules, or delete it")
            record = change(row.record)
            view = RevisionView(Loaded(row.name, record, row.counter + 1), self._documents.read(record))
            return Outcome(view, [row.put(record)], details)

        return await self._guard.perform(call, action, name, act, in_thread=True)

    async def validate(self, call: Call, parent: NamespaceName, content: Content) -> Validated:
        """Check content without writing it. Raises `InvalidField`, `LimitExceeded`."""

        def act() -> Outcome[Validated]:
            sets = TenantPrefixSets(self._repository, parent.tenant)
            valid, warnings = validate_policy(content, PolicyKind.SECRET, call.time, sets)
            return Outcome(Validated(to_json(resolved(valid, sets)), warnings))

        return await self._guard.perform(call, VALIDATE, parent, act, in_thread=True)

    async def explain(
        self,
        call: Call,
        name: SecretPolicyName | SecretPolicyRevisionName,
        asked: AccessRequest | KnownIdentity,
    ) -> Explanation:
        """How the current, or the named, revision decides a request. Raises `NotFound`, `Denied`."""

        def act() -> Outcome[Explanation]:
            head = self._head(name if isinstance(name, SecretPolicyName) else policy_of(name)).record
            number = head.revision if isinstance(name, SecretPolicyName) else name.revision
            row = self._revision(SecretPolicyRevisionName(name.tenant, name.namespace, name.policy, number))
            policy = self._documents.read(row.record)
            request = (
                asked if isinstance(asked, AccessRequest) else asked.request(self._repository, name.tenant)
            )
            request = replace(request, resource_labels=policy.content.labels)
            overruling = reason_to_deny(head, row.record, request.caller, name.tenant)
            return Outcome(overruled(explain(policy.compiled, request), overruling))

        return await self._guard.perform(call, EXPLAIN, name, act, in_thread=True)

    def _head(self, name: SecretPolicyName) -> Loaded[SecretPolicyRecord]:
        return found(self._repository.load(SecretPolicyRecord, str(name)), str(name))

    def _revision(self, name: SecretPolicyRevisionName) -> Loaded[RevisionRecord]:
        return found(
            self._repository.load(RevisionRecord, revision_row(policy_of(name), name.revision)), str(name)
        )

    def _merged(
        self,
        name: SecretPolicyName,
        head: Loaded[SecretPolicyRecord],
        content: Content,
        fields: Collection[str] | None,
    ) -> Content:
        """The content of the next revision; the binding may be left out of what the author sends."""
        merged = content
        if fields is not None:
            merged = merge(content_json(self._view(name, head).current.document), content, fields)
        return {"binding": head.record.binding} | dict(merged)

    def _view(self, name: SecretPolicyName, head: Loaded[SecretPolicyRecord]) -> PolicyView:
        row = self._repository.require(RevisionRecord, revision_row(name, head.record.revision))
        return PolicyView(head, self._documents.read(row.record))

    def _new_revision(
        self, call: Call, name: SecretPolicyName, content: PolicyContent, *, uid: bytes, number: int
    ) -> "_NewRevision":
        """The nonce is drawn here, after the content is fixed (docs/spec/blindfold.md, "Documents")."""
        document = PolicyDocument(
            tenant=name.tenant,
            namespace=name.namespace,
            name=name.policy,
            uid=uid,
            revision=number,
            nonce=secrets.token_bytes(UID_SIZE),
            **document_fields(content),
        )
        record = RevisionRecord(
            document=document.to_bytes(),
            digest=document.digest,
            author=call.caller.spiffe_id,
            create_time=call.time,
            revoke_time=None,
            denied=(),
        )
        row = revision_row(name, number)
        rows = (create(row, record), create(digest_row(name.tenant, document.digest), DigestRecord(row)))
        return _NewRevision(document, record, rows)


@dataclass(frozen=True, slots=True)
class _NewRevision:
    document: PolicyDocument
    record: RevisionRecord
    rows: tuple[Change, ...]


def digest_row(tenant: str, digest: bytes) -> str:
    """Where a tenant's revision is found by its digest."""
    return f"tenants/{tenant}/{digest.hex()}"


def policy_of(name: SecretPolicyRevisionName) -> SecretPolicyName:
    return SecretPolicyName(name.tenant, name.namespace, name.policy)
