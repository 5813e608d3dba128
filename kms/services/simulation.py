"""Simulating: what a draft of a policy would have decided otherwise about recorded requests.

Both sides are decided now, by the policies and identities as they are; the draft alone differs. Of the
additional authenticated data nothing is recorded: where it decides, the verdict is UNKNOWN.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from kms.authz.compile import CompiledPolicy, compile_policy, read_policy
from kms.authz.judge import DENIED, OF_AAD, Judgement, Verdict, judge
from kms.authz.prefix_sets import resolved
from kms.errors import Denied, InvalidField, LimitExceeded
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName, NamespaceName, SecretPolicyName
from kms.model.policy import PolicyKind
from kms.model.policy_records import KmsPolicyRecord, RevisionRecord, SecretPolicyRecord
from kms.model.records import KeyRecord
from kms.services.access_review import has_role, judge_rules
from kms.services.call import Call, Outcome
from kms.services.explaining import reason_to_deny
from kms.services.guard import Action, Guard
from kms.services.key_policies import NO_DRAFTS, Drafts, KeyPolicies, KeyRules
from kms.services.kms_policy_contents import stored
from kms.services.policy_changes import Content, check_not_deleted, revision_row
from kms.services.policy_documents import PolicyDocuments
from kms.services.prefix_sets import TenantPrefixSets
from kms.services.recorded_requests import Callers, RecordedRequest, Recording, recorded
from kms.services.repository import Repository, found
from kms.storage.interface import Store

SIMULATE_KMS = Action("SimulateKmsPolicy", "kmsPolicies.simulate")
SIMULATE_SECRET = Action("SimulateSecretPolicy", "secretPolicies.simulate")

DEFAULT_EVENTS = 1000
MAX_EVENTS = 10_000
MAX_CHANGES = 1000

# Nothing of the additional data of these is recorded; the other operations have none.
WITH_AAD = frozenset(
    {
        "ENCRYPT",
        "DECRYPT",
        "GENERATE_DATA_KEY",
        "REENCRYPT_FROM",
        "REENCRYPT_TO",
        "RAW_ENCRYPT",
        "RAW_DECRYPT",
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """Requests of one caller that the draft decides otherwise, or may.

    `rules` are those by which the draft allows them, or may.
    """

    caller: str
    operation: str
    resource: str
    before: Verdict
    after: Verdict
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Simulation:
    """`changes` with their numbers of requests, the most first; at most 1,000 of them.

    Of `requests` that the policy is asked about, `unchanged` are decided as before, and `unknown_callers` are
    of whom no identity is known any more. `events` were looked at, of which the oldest is of `since`.
    """

    changes: tuple[tuple[Change, int], ...]
    requests: int
    unchanged: int
    unknown_callers: int
    events: int
    since: datetime | None


# The verdicts before and with the draft; None for a request that the policy is not asked about.
Verdicts = Callable[[Caller], tuple[Judgement, Judgement]]
Compare = Callable[[RecordedRequest], Verdicts | None]


class Simulations:
    """Reads the audit trail and decides, in threads."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        store: Store,
        policies: KeyPolicies,
        documents: PolicyDocuments,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._store = store
        self._policies = policies
        self._documents = documents

    async def kms(self, call: Call, name: KmsPolicyName, content: Content, events: int) -> Simulation:
        """With the draft in the place of the policy, for every key that asks it, beside other policies.

        Raises `NotFound`, `WrongState` for a deleted policy, `InvalidField`, `LimitExceeded`.
        """

        def act() -> Outcome[Simulation]:
            head = found(self._repository.load(KmsPolicyRecord, str(name)), str(name))
            check_not_deleted(head)
            sets = TenantPrefixSets(self._repository, name.tenant)
            draft = stored(read_policy(content, PolicyKind.KMS, sets), sets)
            compare = _KeyComparison(self._repository, self._policies, str(name), {str(name): draft})
            return Outcome(self._simulate(name.tenant, compare, events))

        return await self._guard.perform(call, SIMULATE_KMS, name, act, in_thread=True)

    async def secret(self, call: Call, name: SecretPolicyName, content: Content, events: int) -> Simulation:
        """With the draft as the next revision, for what was opened under any revision of the policy.

        A new revision has no deny overlay; before is the current one, with its own. Raises as `kms`.
        """

        def act() -> Outcome[Simulation]:
            head = found(self._repository.load(SecretPolicyRecord, str(name)), str(name))
            check_not_deleted(head)
            row = self._repository.require(RevisionRecord, revision_row(name, head.record.revision)).record
            sets = TenantPrefixSets(self._repository, name.tenant)
            draft = compile_policy(resolved(read_policy(content, PolicyKind.SECRET, sets), sets))
            current = self._documents.read(row).compiled

            def compare(request: RecordedRequest) -> Verdicts | None:
                if request.operation or request.resource != str(name):
                    return None
                return lambda caller: (
                    DENIED
                    if reason_to_deny(head.record, row, caller, name.tenant)
                    else _judge_opening(current, caller, request.time),
                    _judge_opening(draft, caller, request.time),
                )

            return Outcome(self._simulate(name.tenant, compare, events))

        return await self._guard.perform(call, SIMULATE_SECRET, name, act, in_thread=True)

    def _simulate(self, tenant: str, compare: Compare, events: int) -> Simulation:
        if not 1 <= events <= MAX_EVENTS:
            raise LimitExceeded("event_count", f"must be from 1 to {MAX_EVENTS}")
        recording = recorded(self._store, tenant, self._store.last_event(), events)
        return _tally(recording, Callers(self._repository, tenant), compare)


def _tally(recording: Recording, callers: Callers, compare: Compare) -> Simulation:
    changes: Counter[Change] = Counter()
    requests = unchanged = unknown_callers = 0
    for request in recording.requests:
        verdicts = compare(request)
        if verdicts is None:
            continue
        requests += 1
        caller = callers.at(request.spiffe_id, request.address)
        if caller is None:
            unknown_callers += 1
            continue
        before, after = verdicts(caller)
        if _is_alike(before, after):
            unchanged += 1
        else:
            resource, operation = request.resource, request.operation
            changes[
                Change(request.spiffe_id, operation, resource, before.verdict, after.verdict, after.rules)
            ] += 1
    most = tuple(changes.most_common(MAX_CHANGES))
    return Simulation(most, requests, unchanged, unknown_callers, recording.events, recording.since)


def _is_alike(before: Judgement, after: Judgement) -> bool:
    """Whether the decision is the same, whatever is not known."""
    if before.verdict is Verdict.UNKNOWN and after.verdict is Verdict.UNKNOWN:
        return before.residue == after.residue
    return before.verdict is after.verdict


def _judge_opening(policy: CompiledPolicy, caller: Caller, time: datetime) -> Judgement:
    request = AccessRequest(caller=caller, time=time, resource_labels=policy.content.labels)
    return judge([policy], request)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of a key, or of what names none, as they are and with the draft; None where all is denied."""

    namespace: str
    before: KeyRules | None
    after: KeyRules | None


class _KeyComparison:
    """Requests about keys that ask one policy. Each key is looked up once."""

    def __init__(self, repository: Repository, policies: KeyPolicies, name: str, drafts: Drafts) -> None:
        self._repository = repository
        self._policies = policies
        self._name = name
        self._drafts = drafts
        self._rules: dict[str, _Rules | None] = {}

    def __call__(self, request: RecordedRequest) -> Verdicts | None:
        if not request.operation:
            return None
        if request.resource not in self._rules:
            self._rules[request.resource] = self._look_up(request.resource)
        rules = self._rules[request.resource]
        if rules is None:
            return None
        return lambda caller: (
            _judge_use(rules.before, rules.namespace, caller, request),
            _judge_use(rules.after, rules.namespace, caller, request),
        )

    def _look_up(self, resource: str) -> _Rules | None:
        name = _subject(resource)
        loaded = self._repository.load(KeyRecord, str(name)) if isinstance(name, KeyName) else None
        resolve: Callable[[Drafts], KeyRules]
        if isinstance(name, KeyName) and loaded is not None:
            namespace, own = NamespaceName(name.tenant, name.namespace), loaded.record.policy
            resolve = partial(self._policies.resolve, name, loaded.record)
        elif isinstance(name, NamespaceName):
            namespace, own, resolve = name, "", partial(self._policies.resolve_namespace, name)
        else:
            return None
        if self._name not in self._policies.asked_for(namespace, own):
            return None
        return _Rules(namespace.namespace, _allowed(resolve, NO_DRAFTS), _allowed(resolve, self._drafts))


def _subject(resource: str) -> KeyName | NamespaceName | None:
    """The key, also of a key version, or the namespace."""
    for kind in (KeyName, KeyVersionName, NamespaceName):
        try:
            name = kind.parse(resource)
        except InvalidField:
            continue
        return name.key_name if isinstance(name, KeyVersionName) else name
    return None


def _allowed(resolve: Callable[[Drafts], KeyRules], drafts: Drafts) -> KeyRules | None:
    try:
        return resolve(drafts)
    except Denied:
        return None


def _judge_use(rules: KeyRules | None, namespace: str, caller: Caller, request: RecordedRequest) -> Judgement:
    if rules is None or not has_role(caller, request.operation, namespace):
        return DENIED
    asked = rules.request(caller, request.operation, None, request.time)
    return judge_rules(rules, asked, OF_AAD if request.operation in WITH_AAD else ())
