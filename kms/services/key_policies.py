"""The decision for keys: the key's policy and its namespace's set of policies, if both exist, must allow.

Asked once or more in every cryptographic call; on the event loop where `at_hand` finds the rules, for then
rows come from memory and nothing waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from types import MappingProxyType

from kms.authz.decide import decide_first
from kms.errors import Denied
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import KeyName, KmsPolicyName, KmsPolicyRevisionName, NamespaceName
from kms.model.policy_records import KmsPolicyRecord, KmsPolicyRevisionRecord, NamespacePolicyRecord
from kms.model.records import KeyRecord
from kms.services.kms_policy_contents import KmsPolicyContents, StoredKmsPolicy
from kms.services.policy_changes import revision_row
from kms.services.repository import Repository, found
from kms.storage.interface import MISSING, Require

NO_POLICY = "NO_POLICY"
POLICY_DELETED = "POLICY_DELETED"


Drafts = Mapping[str, StoredKmsPolicy]
NO_DRAFTS: Drafts = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The policies of one key as they are now: the key's own, if it has one, and its namespace's in order.

    Each set must allow; of a set the first policy decides that has a rule which matches. `depends_on_aad` is
    false if one answer holds for all additional authenticated data, `depends_on_time` if it holds always.
    """

    key: str
    labels: Mapping[str, str]
    sets: tuple[tuple[StoredKmsPolicy, ...], ...]
    depends_on_aad: bool
    depends_on_time: bool

    def require(self, caller: Caller, operation: str, aad: bytes | None, time: datetime) -> str:
        """The names of the rules that allow it, one of each set, joined by " + ".

        `operation` is one of `kms.model.policy.OPERATIONS`, `time` in UTC. Raises `Denied`, `InvalidField`.
        """
        request = self.request(caller, operation, aad, time)
        return " + ".join([_allowing_rule(policies, request) for policies in self.sets])

    def requirements(self) -> list[Require]:
        """The prefix sets that are named are as they were read until a unit is written."""
        policies = chain.from_iterable(self.sets)
        return [item.require() for policy in policies for item in policy.prefix_sets]

    def request(self, caller: Caller, operation: str, aad: bytes | None, time: datetime) -> AccessRequest:
        """What is asked of the policies. Arguments and errors as of `require`."""
        return AccessRequest(
            caller=caller,
            time=time,
            operation=operation,
            resource_labels=self.labels,
            key_name=self.key,
            aad=aad,
        )


class KeyPolicies:
    """Finds the policies of keys. Safe for calls from several threads."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._contents = KmsPolicyContents(repository)

    def resolve(self, key: KeyName, record: KeyRecord, drafts: Drafts = NO_DRAFTS) -> KeyRules:
        """The rules of a key. A policy that is the key's, and the namespace's only one, is asked once.

        Each of `drafts` stands in the place of the policy of that name. Raises `Denied` because of
        `NO_POLICY`, `POLICY_DELETED` or `PREFIX_SET_MISSING`, and `StoreTampered`.
        """
        namespace = f"tenants/{key.tenant}/namespaces/{key.namespace}"
        sets = self._sets(namespace, record.policy)
        return self._rules(key.tenant, sets, key.key, record.labels, drafts)

    def requirements(self, key: KeyName, record: KeyRecord) -> list[Require]:
        """That the policies which `resolve` reads are those that they are now until a unit is written.

        Asked for before `resolve`, and with the `requirements` of what that returns. Raises `Denied`.
        """
        namespace = f"tenants/{key.tenant}/namespaces/{key.namespace}"
        choice = self._repository.load(NamespacePolicyRecord, namespace)
        required = [
            Require(NamespacePolicyRecord.KIND, namespace, MISSING if choice is None else choice.counter)
        ]
        for name in chain.from_iterable(self._sets(namespace, record.policy)):
            head = self._repository.load(KmsPolicyRecord, name)
            if head is not None:
                required.append(head.require())
        return required

    def at_hand(
        self, key: KeyName, record: KeyRecord, caller: Caller, aads: Sequence[bytes]
    ) -> KeyRules | None:
        """As `resolve`; None if that, or deciding about a caller's items, is work for a thread.

        `aads` are the items' additional authenticated data.
        """
        searched = sum(map(len, aads))
        sets = []
        for names in self._sets(f"tenants/{key.tenant}/namespaces/{key.namespace}", record.policy):
            policies = []
            for name in names:
                policy = self._contents.at_hand(self._revision(key.tenant, name), key.tenant)
                if policy is None:
                    return None
                decisions = len(names) * (len(aads) if policy.reads_aad else 1)
                if policy.compiled.may_take_long(caller, decisions, searched):
                    return None
                policies.append(policy)
            sets.append(tuple(policies))
        return _key_rules(key.key, record.labels, sets)

    def policy(self, name: KmsPolicyName | KmsPolicyRevisionName) -> StoredKmsPolicy | None:
        """The current revision of a policy, or the named one; None if it denies whatever its rules say.

        Raises `NotFound`, `StoreTampered`.
        """
        policy = name if isinstance(name, KmsPolicyName) else name.policy_name
        head = found(self._repository.load(KmsPolicyRecord, str(policy)), str(name)).record
        number = head.revision if isinstance(name, KmsPolicyName) else name.revision
        row = self._repository.load(KmsPolicyRevisionRecord, revision_row(policy, number))
        revision = found(row, str(name)).record
        if head.delete_time is not None:
            return None
        try:
            return self._contents.read(revision, name.tenant)
        except Denied:
            return None

    def resolve_namespace(self, name: NamespaceName, drafts: Drafts = NO_DRAFTS) -> KeyRules:
        """The rules of a namespace alone, for what names no key. As `resolve`."""
        return self._rules(name.tenant, self._sets(str(name), ""), "", {}, drafts)

    def asked_for(self, namespace: NamespaceName, own: str = "") -> frozenset[str]:
        """The policies that are asked for a key of that namespace, which names `own` itself, if any."""
        try:
            return frozenset(name for names in self._sets(str(namespace), own) for name in names)
        except Denied:
            return frozenset()

    def _rules(
        self,
        tenant: str,
        sets: Sequence[tuple[str, ...]],
        key: str,
        labels: Mapping[str, str],
        drafts: Drafts,
    ) -> KeyRules:
        stored = [tuple([drafts.get(name) or self._read(tenant, name) for name in names]) for names in sets]
        return _key_rules(key, labels, stored)

    def _read(self, tenant: str, name: str) -> StoredKmsPolicy:
        return self._contents.read(self._revision(tenant, name), tenant)

    def _sets(self, namespace: str, own: str) -> list[tuple[str, ...]]:
        of_namespace = self._repository.load(NamespacePolicyRecord, namespace)
        sets: list[tuple[str, ...]] = [(own,)] if own else []
        if of_namespace is not None and of_namespace.record.policies not in ((), (own,)):
            sets.append(of_namespace.record.policies)
        if not sets:
            raise Denied(NO_POLICY)
        return sets

    def _revision(self, tenant: str, name: str) -> KmsPolicyRevisionRecord:
        """The current revision of a policy of that tenant."""
        head = self._repository.load(KmsPolicyRecord, name)
        is_theirs = name.startswith(f"tenants/{tenant}/")
        if head is None or head.record.delete_time is not None or not is_theirs:
            raise Denied(POLICY_DELETED)
        row = f"{name}/revisions/{head.record.revision:010d}"
        return self._repository.require(KmsPolicyRevisionRecord, row).record


def _key_rules(key: str, labels: Mapping[str, str], sets: Sequence[tuple[StoredKmsPolicy, ...]]) -> KeyRules:
    policies = tuple(chain.from_iterable(sets))
    reads_aad, reads_time = (
        any(each.reads_aad for each in policies),
        any(each.reads_time for each in policies),
    )
    return KeyRules(key, labels, tuple(sets), reads_aad, reads_time)


def _allowing_rule(policies: tuple[StoredKmsPolicy, ...], request: AccessRequest) -> str:
    policy, decision = decide_first([policy.compiled for policy in policies], request)
    if not decision.is_allowed or decision.rule_index is None:
        raise Denied(decision.reason)
    return policy.content.rules[decision.rule_index].name
