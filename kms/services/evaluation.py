"""EvaluateBlinded: authenticate -> rate limit -> load -> decide -> state -> evaluate -> audit -> answer.

The request names a revision or a policy of the caller's own tenant, and nothing else selects the exponent:
rules and exponent come from the one record that is loaded (docs/spec/blindfold.md, "The request").
"""

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from blindfold import Binding
from blindfold.errors import ElementOutOfRange, EvaluationFault
from blindfold.evaluation import Evaluator
from blindfold.exponent import binding_info, derive_exponent
from kms.authz.decide import decide
from kms.errors import Denied, EvaluationFailed, InvalidField, KmsError, LimitExceeded, WrongState
from kms.model.access_request import AccessRequest
from kms.model.audit_event import AuditEvent
from kms.model.lifecycle import VersionState
from kms.model.names import BlindfoldKeyName, SecretPolicyName
from kms.model.records import BlindfoldKeyRecord, DigestRecord, RevisionRecord, SecretPolicyRecord
from kms.services.blindfold_keys import key_row
from kms.services.call import Call
from kms.services.guard import ALLOW, Guard, check_tenant, refusal_event
from kms.services.keyring import Keyring
from kms.services.policy_changes import revision_row
from kms.services.policy_documents import PolicyDocuments, StoredPolicy
from kms.services.repository import Repository
from kms.services.secret_policies import digest_row
from kms.services.use_budget import Counter, UseBudget

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


@dataclass(frozen=True, slots=True)
class _Permit:
    """An allowed request: under which policy, by which rule, with which key and exponent."""

    policy: StoredPolicy
    rule: str
    record: BlindfoldKeyRecord
    exponent: int


class Evaluation:
    """Answers with roots. `workers` runs the private operations."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        documents: PolicyDocuments,
        keyring: Keyring,
        budget: UseBudget,
        workers: Executor,
    ) -> None:
        self._guard = guard
        self._repository = repository
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
    ) -> list[bytes | KmsError]:
        """One result for each element, in order, each audited before this returns.

        Raises `LimitExceeded`, `Denied` (one text for all reasons), `WrongState`, `BudgetExhausted`. An
        element out of range, or a failed check of the operation, is the result of that element alone.
        """
        if not 1 <= len(elements) <= MAX_ELEMENTS:
            raise LimitExceeded("elements", f"1 to {MAX_ELEMENTS} elements in a request")
        try:
            permit = self._permit(call, key, binding)
            await self._budget.spend(_counter(key, permit.policy), len(elements), call.time)
        except Exception as error:
            refused = refusal_event(call, ACTION, str(key), error)
            await self._guard.commit([], [_about(refused, element) for element in elements])
            raise
        results = await self._run(key, permit, elements)
        events = [
            self._event(call, key, permit, element, result)
            for element, result in zip(elements, results, strict=True)
        ]
        await self._guard.commit([], events)
        return results

    def _permit(self, call: Call, key: BlindfoldKeyName, binding: RevisionBinding | PolicyBinding) -> _Permit:
        """Load one record, ask its rules, derive the exponent from it. Raises `Denied`, `WrongState`."""
        check_tenant(call, key)
        row = self._load(key.tenant, binding)
        policy = self._documents.read(row)
        if policy.document.tenant != key.tenant or row.revoke_time is not None:
            raise Denied("REVISION_REVOKED")
        if call.caller.spiffe_id in row.denied:
            raise Denied("DENY_OVERLAY")
        request = AccessRequest(caller=call.caller, time=call.time, resource_labels=policy.content.labels)
        decision = decide(policy.compiled, request)
        if not decision.is_allowed or decision.rule_index is None:
            raise Denied(decision.reason)
        rule = policy.content.rules[decision.rule_index].name
        loaded = self._repository.load(BlindfoldKeyRecord, key_row(key))
        if loaded is None:
            raise Denied("UNKNOWN_KEY")
        if loaded.record.state != VersionState.ENABLED:
            raise WrongState(f"{key} is {loaded.record.state}; ask a key admin", state=loaded.record.state)
        return _Permit(policy, rule, loaded.record, _exponent(key, loaded.record, policy))

    def _load(self, tenant: str, binding: RevisionBinding | PolicyBinding) -> RevisionRecord:
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
        record = self._repository.require(RevisionRecord, row).record
        if isinstance(binding, RevisionBinding) and record.digest != binding.digest:
            raise Denied("UNKNOWN_REVISION")
        return record

    async def _run(
        self, key: BlindfoldKeyName, permit: _Permit, elements: Sequence[bytes]
    ) -> list[bytes | KmsError]:
        loop = asyncio.get_running_loop()
        evaluator = self._keyring.evaluator_at_hand(key)
        if evaluator is None:
            evaluator = await loop.run_in_executor(self._workers, self._keyring.evaluator, key, permit.record)
        jobs = [
            loop.run_in_executor(self._workers, _evaluate, evaluator, element, permit.exponent, index)
            for index, element in enumerate(elements)
        ]
        results = await asyncio.gather(*jobs)
        if any(isinstance(result, EvaluationFailed) for result in results):
            await loop.run_in_executor(self._workers, _self_test, evaluator)
        return list(results)

    def _event(
        self, call: Call, key: BlindfoldKeyName, permit: _Permit, element: bytes, result: bytes | KmsError
    ) -> AuditEvent:
        document = permit.policy.document
        details = {
            "policy": document.resource_name,
            "revision": str(document.revision),
            "element_sha256": hashlib.sha256(element).hexdigest(),
        }
        if isinstance(result, KmsError):
            return call.event(ACTION, str(key), refusal_event(call, ACTION, str(key), result).decision,
                              result.reason, details)  # fmt: skip
        return call.event(ACTION, str(key), ALLOW, permit.rule, details)


def _exponent(key: BlindfoldKeyName, record: BlindfoldKeyRecord, policy: StoredPolicy) -> int:
    info = binding_info(key.tenant, key.version, policy.document.binding, policy.binding_value)
    return derive_exponent(int.from_bytes(record.modulus, "big"), info)


def _counter(key: BlindfoldKeyName, policy: StoredPolicy) -> Counter:
    """Of the exponent: key version and binding value (docs/spec/blindfold.md, "Limits")."""
    row = f"{key_row(key)}/{hashlib.sha256(policy.binding_value).hexdigest()}"
    return Counter(row, key.tenant, str(key), MAX_EVALUATIONS)


def _evaluate(evaluator: Evaluator, element: bytes, exponent: int, index: int) -> bytes | KmsError:
    """Runs in a worker."""
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


def _about(event: AuditEvent, element: bytes) -> AuditEvent:
    digest = hashlib.sha256(element).hexdigest()
    return AuditEvent(
        time=event.time,
        action=event.action,
        caller=event.caller,
        tenant=event.tenant,
        resource=event.resource,
        decision=event.decision,
        reason=event.reason,
        request_id=event.request_id,
        details={**event.details, "element_sha256": digest},
    )
