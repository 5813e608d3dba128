"""Who can: which known identities of a tenant policies allow, and what else that depends on."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from kms.authz.judge import DENIED, OF_AAD, OF_ADDRESS, OF_TIME, Judgement, Verdict, both, judge
from kms.authz.roles import operation_permission, require_permission
from kms.errors import Denied
from kms.identity.spiffe import parse_identity_name
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import (
    KeyName,
    KmsPolicyName,
    KmsPolicyRevisionName,
    SecretPolicyName,
    SecretPolicyRevisionName,
    TenantName,
)
from kms.model.policy_records import DigestRecord, RevisionRecord, SecretPolicyRecord
from kms.model.records import IdentityRecord, KeyRecord
from kms.services.call import Call, Outcome, Page
from kms.services.deny_lists import DenyLists
from kms.services.explaining import known_caller, reason_to_deny
from kms.services.guard import Action, Guard
from kms.services.key_policies import KeyPolicies, KeyRules
from kms.services.policy_changes import revision_row
from kms.services.policy_documents import PolicyDocuments
from kms.services.repository import Repository, found, page
from kms.services.secret_policies import digest_row, policy_of

REVIEW_KMS = Action("ReviewKmsPolicyAccess", "kmsPolicies.reviewAccess")
REVIEW_SECRET = Action("ReviewSecretPolicyAccess", "secretPolicies.reviewAccess")

# What a policy asks about the key, where it is not said which one.
OF_KEY = ("key_matcher", "label_matcher")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of the calls that are asked about: None for what is not known. `time` is in UTC."""

    address: str | None = None
    time: datetime | None = None
    aad: bytes | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """The predicates that cannot be asked."""
        gaps = ((self.address, OF_ADDRESS), (self.time, OF_TIME), (self.aad, OF_AAD))
        return tuple(name for value, names in gaps if value is None for name in names)


@dataclass(frozen=True, slots=True)
class Access:
    """An identity, by its resource name, that is allowed or may be."""

    identity: str
    spiffe_id: str
    judgement: Judgement


Judge = Callable[[Caller], Judgement]
KmsSubject = KmsPolicyName | KmsPolicyRevisionName | KeyName
SecretSubject = SecretPolicyName | SecretPolicyRevisionName


class AccessReview:
    """Goes through the identities of a tenant, in threads. Revoked ones are left out."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        deny_lists: DenyLists,
        policies: KeyPolicies,
        documents: PolicyDocuments,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._deny_lists = deny_lists
        self._policies = policies
        self._documents = documents

    async def kms(
        self, call: Call, name: KmsSubject, operation: str, known: Circumstances, after: str, limit: int
    ) -> Page[Access]:
        """Whom a policy, or one of its revisions, allows an operation by its rules alone; of a key, whom all
        its policies allow it and a role permits it. `limit` is of the identities that are looked at.

        Raises `NotFound`.
        """

        def act() -> Outcome[Page[Access]]:
            chosen = self._of_key if isinstance(name, KeyName) else self._of_kms_policy
            judge_caller = chosen(call, name, operation, known)  # type: ignore[arg-type]
            return Outcome(self._review(name.tenant, known, judge_caller, after, limit))

        return await self._guard.perform(call, REVIEW_KMS, name, act, in_thread=True)

    async def secret(
        self,
        call: Call,
        name: SecretSubject | TenantName,
        digest: bytes,
        known: Circumstances,
        after: str,
        limit: int,
    ) -> Page[Access]:
        """Whom a policy, one of its revisions, or the tenant's revision of that digest lets open.

        Raises `NotFound`.
        """

        def act() -> Outcome[Page[Access]]:
            judge_caller = self._of_secret_policy(call, name, digest, known)
            return Outcome(self._review(name.tenant, known, judge_caller, after, limit))

        return await self._guard.perform(call, REVIEW_SECRET, name, act, in_thread=True)

    def _review(
        self, tenant: str, known: Circumstances, judge_caller: Judge, after: str, limit: int
    ) -> Page[Access]:
        rows = page(self._repository.scan(IdentityRecord, f"tenants/{tenant}/", after, limit + 1), limit)
        reviewed = []
        for row in rows.items:
            caller = known_caller(parse_identity_name(row.name), row.record, known.address or "")
            if row.record.revoke_time is None and self._deny_lists.admits(caller):
                reviewed.append(Access(row.name, caller.spiffe_id, judge_caller(caller)))
        allowed = (access for access in reviewed if access.judgement.verdict is not Verdict.DENY)
        return Page(tuple(allowed), rows.next_after)

    def _of_kms_policy(
        self, call: Call, name: KmsPolicyName | KmsPolicyRevisionName, operation: str, known: Circumstances
    ) -> Judge:
        policy = self._policies.policy(name)
        if policy is None:
            return lambda caller: DENIED
        rules = KeyRules("", {}, ((policy,),), policy.reads_aad, policy.reads_time)
        unknown = known.unknown if operation == "GENERATE_RANDOM" else (*known.unknown, *OF_KEY)
        time = known.time or call.time
        return lambda caller: judge_rules(rules, rules.request(caller, operation, known.aad, time), unknown)

    def _of_key(self, call: Call, name: KeyName, operation: str, known: Circumstances) -> Judge:
        record = found(self._repository.load(KeyRecord, str(name)), str(name)).record
        try:
            rules = self._policies.resolve(name, record)
        except Denied:
            return lambda caller: DENIED
        time = known.time or call.time

        def judge_caller(caller: Caller) -> Judgement:
            if not has_role(caller, operation, name.namespace):
                return DENIED
            return judge_rules(rules, rules.request(caller, operation, known.aad, time), known.unknown)

        return judge_caller

    def _of_secret_policy(
        self, call: Call, name: SecretSubject | TenantName, digest: bytes, known: Circumstances
    ) -> Judge:
        revision = self._secret_revision(name, digest)
        head = found(self._repository.load(SecretPolicyRecord, str(policy_of(revision))), str(name)).record
        row = revision_row(policy_of(revision), revision.revision)
        record = found(self._repository.load(RevisionRecord, row), str(name)).record
        policy = self._documents.read(record)

        def judge_caller(caller: Caller) -> Judgement:
            if reason_to_deny(head, record, caller, revision.tenant):
                return DENIED
            request = AccessRequest(
                caller=caller, time=known.time or call.time, resource_labels=policy.content.labels
            )
            return judge([policy.compiled], request, known.unknown)

        return judge_caller

    def _secret_revision(self, name: SecretSubject | TenantName, digest: bytes) -> SecretPolicyRevisionName:
        """The revision that is meant: the current one of a policy. Raises `NotFound`."""
        if isinstance(name, SecretPolicyRevisionName):
            return name
        if isinstance(name, TenantName):
            pointer = found(
                self._repository.load(DigestRecord, digest_row(name.tenant, digest)), digest.hex()
            )
            policy, _, number = pointer.record.revision_row.rpartition("/revisions/")
            return SecretPolicyRevisionName.parse(f"{policy}/revisions/{int(number)}")
        head = found(self._repository.load(SecretPolicyRecord, str(name)), str(name)).record
        return SecretPolicyRevisionName(name.tenant, name.namespace, name.policy, head.revision)


def judge_rules(rules: KeyRules, request: AccessRequest, unknown: Collection[str]) -> Judgement:
    """The verdict of all policies of a key: each set must allow."""
    judgements = (
        judge([policy.compiled for policy in policies], request, unknown) for policies in rules.sets
    )
    return reduce(both, judgements)


def has_role(caller: Caller, operation: str, namespace: str) -> bool:
    """Whether a role permits the operation with keys of that namespace."""
    try:
        require_permission(caller, operation_permission(operation), namespace)
    except Denied:
        return False
    return True
