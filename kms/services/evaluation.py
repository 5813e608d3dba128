"""EvaluateBlinded: authenticate -> rate limit -> load -> decide -> state -> evaluate -> audit -> answer.

The request names a revision or a policy of the caller's own tenant, and nothing else selects the exponent:
rules and exponent come from the one record that is loaded (docs/spec/blindfold.md, "The request"). The events
are committed only while policy, revision, key version and deny list are as they were when it was decided:
once a revocation is acknowledged, no answer that was decided before it leaves.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

from blindfold import Binding
from blindfold.errors import ElementOutOfRange, EvaluationFault
from blindfold.evaluation import MAX_EXPONENTS, Evaluator
from blindfold.exponent import binding_info, derive_exponent
from kms.authz.decide import decide
from kms.errors import (
    Denied,
    EvaluationFailed,
    InvalidField,
    KmsError,
    LimitExceeded,
    StoreTampered,
    Unavailable,
    WrongState,
)
from kms.model.access_request import AccessRequest
from kms.model.audit_event import AuditEvent
from kms.model.lifecycle import VersionState
from kms.model.names import BlindfoldKeyName, SecretPolicyName
from kms.model.policy_records import DigestRecord, RevisionRecord, SecretPolicyRecord
from kms.model.receipt import Receipt
from kms.model.records import BlindfoldKeyRecord
from kms.services.blindfold_keys import key_row
from kms.services.call import Call
from kms.services.deny_lists import DenyLists
from kms.services.guard import ALLOW, ATTEMPTS, FAIL, Guard, refusal_event
from kms.services.keyring import Keyring
from kms.services.policy_changes import revision_row
from kms.services.policy_documents import PolicyDocuments, StoredPolicy
from kms.services.repository import Loaded, Repository
from kms.services.secret_policies import digest_row
from kms.services.use_budget import Counter, UseBudget
from kms.services.worker_round import HUNG_UP, Round
from kms.storage.interface import Require, WriteConflict

ACTION = "EvaluateBlinded"
MAX_ELEMENTS = 256
MAX_EVALUATIONS = 1 << 32


@dataclass(frozen=True, slots=True)
class RevisionBinding:
    """What a secret is bound to: one revision, by the SHA-256 of its document."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class PolicyBinding:
    """What a secret is bound to: a policy, by name and uid."""

    name: SecretPolicyName
    uid: bytes


Result = bytes | KmsError


class _NoLongerPermitted(Exception):
    """What allowed the request changed while it waited for a worker."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One result for each element. The policy lets a sidecar keep what they open for `cache_seconds`."""

    results: Sequence[Result]
    cache_seconds: int


@dataclass(frozen=True, slots=True)
class _Permit:
    """An allowed request: under which policy and by which rule, and the rows that this was read from.

    `still` are what else must hold when its events are written: deny list, authorities, the tenant's state.
    """

    policy: StoredPolicy
    rule: str
    head: Loaded[SecretPolicyRecord]
    revision: Loaded[RevisionRecord]
    still: tuple[Require, ...]


@dataclass(frozen=True, slots=True)
class _Key:
    """The key version that serves a request, and the exponent. `begun`: see `Keyring.begin`."""

    row: Loaded[BlindfoldKeyRecord]
    exponent: int
    begun: int


@dataclass(slots=True)
class _Work:
    """One call: what is asked, and a result for each element that has one.

    `named` is the revision that was asked last, as events name it.
    """

    call: Call
    key: BlindfoldKeyName
    binding: RevisionBinding | PolicyBinding
    elements: Sequence[bytes]
    results: list[Result | None]
    named: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def refusals(self, error: Exception) -> list[AuditEvent]:
        """One event for each element; one for the call if there are too few or too many of them."""
        event = refusal_event(self.call, ACTION, str(self.key), error)
        known = self.named
        if isinstance(error, LimitExceeded):
            return [event._replace(details={**event.details, "elements": str(len(self.elements))})]
        return [
            event._replace(details={**event.details, **known, "element_sha256": _digest(element)})
            for element in self.elements
        ]

    def ended(self) -> list[Result]:
        """Raises `_NoLongerPermitted` where an element has no result."""
        results = [result for result in self.results if result is not None]
        if len(results) < len(self.results):
            raise _NoLongerPermitted
        return results

    def events(self, rule: str, results: Sequence[Result]) -> list[AuditEvent]:
        made = []
        for element, result in zip(self.elements, results, strict=True):
            details = {**self.named, "element_sha256": _digest(element)}
            decision, reason = (FAIL, result.reason) if isinstance(result, KmsError) else (ALLOW, rule)
            made.append(self.call.event(ACTION, str(self.key), decision, reason, details))
        return made


class Evaluation:
    """Answers with roots. `workers` runs the private operations."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        deny_lists: DenyLists,
        documents: PolicyDocuments,
        keyring: Keyring,
        budget: UseBudget,
        workers: Executor,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._deny_lists = deny_lists
        self._documents = documents
        self._keyring = keyring
        self._budget = budget
        self._workers = workers

    async def evaluate(
        self,
        call: Call,
        key: BlindfoldKeyName,
        binding: RevisionBinding | PolicyBinding,
        elements: Sequence[bytes],
    ) -> Evaluated:
        """Each result is audited before this returns.

        Raises `LimitExceeded`, `Denied` (one text for all reasons), `Unauthenticated` for a certificate that
        was revoked meanwhile, `WrongState`, `BudgetExhausted`, `EvaluationFailed` where the version does not
        serve, `Unavailable`. An element out of range, or a failed check of the operation, is the result of
        that element alone.
        """
        work = _Work(call, key, binding, elements, [None] * len(elements))
        try:
            return await self._answer(work)
        except Exception as error:
            await self._guard.commit([], work.refusals(error))
            raise

    async def _answer(self, work: _Work) -> Evaluated:
        """Decide, evaluate, and commit the events if all that the decision was read from is still so.

        Otherwise decide again. Elements that have a result keep it: it depends on key and binding alone.
        """
        if not 1 <= len(work.elements) <= MAX_ELEMENTS:
            raise LimitExceeded("elements", f"1 to {MAX_ELEMENTS} elements in a request")
        for attempt in range(ATTEMPTS):
            permit = await self._permit(work)
            key = self._key(work.key, permit)
            if attempt == 0:
                counter = _counter(work.key, permit.policy)
                await self._budget.spend(counter, len(work.elements), work.call.time)
            evaluator = await self._evaluator(work.key, key)
            try:
                await self._round(work, permit, key, evaluator)
            except (_NoLongerPermitted, WriteConflict):
                continue
            if any(isinstance(result, EvaluationFailed) for result in work.results):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._workers, _self_test, evaluator)
            return Evaluated(work.ended(), permit.policy.content.decrypt_cache_timeout_seconds)
        raise Unavailable("what decides about this call was changed again and again; repeat it")

    async def _permit(self, work: _Work) -> _Permit:
        """Load one record and ask its rules. Raises `Denied`, `Unauthenticated`."""
        call, key = work.call, work.key
        admitted = self._guard.check(call, "", key)
        denied = self._deny_lists.check(call.caller)
        head, revision = self._load(key.tenant, work.binding)
        work.named = _named(revision.name)
        if revision.record.revoke_time is not None:
            raise Denied("REVISION_REVOKED")
        if call.caller.spiffe_id in revision.record.denied:
            raise Denied("DENY_OVERLAY")
        policy = self._documents.at_hand(revision.record)
        if policy is None:
            policy = await asyncio.to_thread(self._documents.read, revision.record)
        _check_document(policy, key.tenant, work.binding)
        request = AccessRequest(caller=call.caller, time=call.time, resource_labels=policy.content.labels)
        if policy.compiled.may_take_long(call.caller):
            decision = await asyncio.to_thread(decide, policy.compiled, request)
        else:
            decision = decide(policy.compiled, request)
        if not decision.is_allowed or decision.rule_index is None:
            raise Denied(decision.reason)
        still = denied if admitted is None else (*denied, admitted)
        return _Permit(policy, policy.content.rules[decision.rule_index].name, head, revision, still)

    def _key(self, name: BlindfoldKeyName, permit: _Permit) -> _Key:
        """The key version, asked for by who is allowed. Raises `Denied`, `WrongState`."""
        begun = self._keyring.begin()
        row = self._repository.load(BlindfoldKeyRecord, key_row(name))
        if row is None:
            raise Denied("UNKNOWN_KEY")
        if row.record.state != VersionState.ENABLED:
            raise WrongState(f"{name} is {row.record.state}; ask a key admin", state=row.record.state)
        return _Key(row, _exponent(name, row.record, permit.policy), begun)

    def _load(
        self, tenant: str, binding: RevisionBinding | PolicyBinding
    ) -> tuple[Loaded[SecretPolicyRecord], Loaded[RevisionRecord]]:
        """The one record that a binding names. Raises `Denied` for every binding that names none."""
        if isinstance(binding, RevisionBinding):
            found = self._repository.load(DigestRecord, digest_row(tenant, binding.digest))
            if found is None:
                raise Denied("UNKNOWN_REVISION")
            row = found.record.revision_row
            name, expected = SecretPolicyName.parse(row.rpartition("/revisions/")[0]), Binding.REVISION
        else:
            name, expected, row = binding.name, Binding.POLICY, ""
        head = self._repository.load(SecretPolicyRecord, str(name))
        if name.tenant != tenant or head is None or head.record.delete_time is not None:
            raise Denied("UNKNOWN_POLICY")
        if head.record.binding != expected.name:
            raise Denied("OTHER_BINDING")
        if isinstance(binding, PolicyBinding):
            if head.record.uid != binding.uid:
                raise Denied("OTHER_UID")
            row = revision_row(name, head.record.revision)
        revision = self._repository.require(RevisionRecord, row)
        if isinstance(binding, RevisionBinding) and revision.record.digest != binding.digest:
            raise Denied("UNKNOWN_REVISION")
        return head, revision

    async def _evaluator(self, name: BlindfoldKeyName, key: _Key) -> Evaluator:
        evaluator = self._keyring.evaluator_at_hand(name)
        if evaluator is not None:
            return evaluator
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._workers, self._keyring.evaluator, name, key.row.record, key.begun
        )

    async def _round(self, work: _Work, permit: _Permit, key: _Key, evaluator: Evaluator) -> None:
        """Evaluate what has no result yet, and commit. What is no longer permitted stays without."""
        rows: tuple[Loaded[Any], ...] = (permit.revision, permit.head, key.row)

        def evaluate(index: int) -> None:
            if all(map(self._repository.is_current, rows)) and self._deny_lists.admits(work.call.caller):
                work.results[index] = _evaluate(evaluator, work.elements[index], key.exponent, index)

        def commit(is_awaited: bool) -> "Future[Receipt]":
            if not is_awaited:
                # No answer leaves, so nothing needs to hold still.
                known = [HUNG_UP if result is None else result for result in work.results]
                return self._guard.submit([], work.events(permit.rule, known))
            required = [*(row.require() for row in rows), *permit.still]
            return self._guard.submit(required, work.events(permit.rule, work.ended()))

        missing = [index for index, result in enumerate(work.results) if result is None]
        receipt = await Round(commit).run([(self._workers, partial(evaluate, index)) for index in missing])
        self._guard.acknowledge(work.call.request_id, receipt)


def _check_document(policy: StoredPolicy, tenant: str, binding: RevisionBinding | PolicyBinding) -> None:
    """The exponent follows from the document, so it must be the one asked for. Raises `StoreTampered`."""
    document = policy.document
    if isinstance(binding, RevisionBinding):
        is_asked_for = (document.binding, policy.digest) == (Binding.REVISION, binding.digest)
    else:
        asked = (Binding.POLICY, str(binding.name), binding.uid)
        is_asked_for = (document.binding, document.resource_name, document.uid) == asked
    if document.tenant != tenant or not is_asked_for:
        raise StoreTampered("a policy document is not the one that its row says")


def _exponent(key: BlindfoldKeyName, record: BlindfoldKeyRecord, policy: StoredPolicy) -> int:
    info = binding_info(key.tenant, key.version, policy.document.binding, policy.binding_value)
    return _derived(record.modulus, info)


@lru_cache(MAX_EXPONENTS)
def _derived(modulus: bytes, info: bytes) -> int:
    return derive_exponent(int.from_bytes(modulus, "big"), info)


def _counter(key: BlindfoldKeyName, policy: StoredPolicy) -> Counter:
    """Of the exponent: key version and binding value (docs/spec/blindfold.md, "Limits")."""
    row = f"{key_row(key)}/{hashlib.sha256(policy.binding_value).hexdigest()}"
    return Counter(row, key.tenant, str(key), MAX_EVALUATIONS)


def _evaluate(evaluator: Evaluator, element: bytes, exponent: int, index: int) -> Result:
    try:
        return evaluator.evaluate(element, exponent)
    except ElementOutOfRange as error:
        text = str(error)
    except EvaluationFault:
        return EvaluationFailed("the private operation failed its own check; no answer was made")
    return InvalidField(f"elements[{index}]", text)


def _self_test(evaluator: Evaluator) -> None:
    """Whether the version may serve again. Runs in a worker."""
    try:
        evaluator.self_test()
    except EvaluationFault:
        # The version stays stopped, and says so to every caller; each of them brings the next test.
        return


def _named(revision_row: str) -> Mapping[str, str]:
    policy, _, number = revision_row.rpartition("/revisions/")
    return MappingProxyType({"policy": policy, "revision": str(int(number))})


def _digest(element: bytes) -> str:
    return hashlib.sha256(element).hexdigest()
