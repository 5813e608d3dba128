"""The path of every cryptographic operation: load -> role -> policies -> state -> budget -> act -> audit.

One call has one key and one or many items. What holds for the call (tenant, role, the key's purpose) fails
the call; what holds for an item (its policy decision, its version, its own input) is that item's result.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from kms.authz.roles import operation_permission
from kms.crypto.device.keys import Pending, ask_all
from kms.errors import BudgetExhausted, Denied, KmsError, LimitExceeded, WrongState
from kms.model.algorithms import Purpose
from kms.model.audit_event import AuditEvent
from kms.model.lifecycle import VersionState
from kms.model.names import KeyName, KeyVersionName
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.services.call import Call
from kms.services.guard import ALLOW, DENY, FAIL, Guard, refusal_event
from kms.services.key_access import KeyAccess, KeyAccesses, Served
from kms.services.key_handles import KeyHandles, KeyUse
from kms.services.key_policies import KeyPolicies, KeyRules
from kms.services.key_versions import MAX_INVOCATIONS, ROTATE_AT
from kms.services.keys import version_row
from kms.services.repository import Loaded, Repository
from kms.services.use_budget import Counter, UseBudget
from kms.services.worker_round import HUNG_UP, Job, Round

T = TypeVar("T")

MAX_ITEMS = 1000
# A worker takes so many at once: handing over costs less than an item, and nobody waits long for a worker.
ITEMS_OF_A_JOB = 16
# A device is asked about so many at once: a message costs as much as some items.
ITEMS_OF_A_DEVICE = 50
# A counter that limits nothing: only the day of the last use is kept.
UNLIMITED = 1 << 52


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An operation as policies name it. `is_new` makes something under the primary version by default.

    `is_named`: events say its name, because another operation is the same method's. `draws_nonce`: each item
    takes one from the version's budget; `in_worker`: it takes long enough to leave the event loop;
    `many_in_worker`: several of them do. `unless` ends what is said of a key for another purpose.
    """

    name: str
    action: str
    purposes: frozenset[Purpose]
    is_new: bool
    draws_nonce: bool = False
    is_named: bool = False
    in_worker: bool = False
    many_in_worker: bool = False
    unless: str = ""

    @property
    def permission(self) -> str:
        return operation_permission(self.name)


class Item(Protocol):
    """One piece of work. `version` 0 is the primary; `aad` is what policies read of the item."""

    @property
    def aad(self) -> bytes: ...

    @property
    def version(self) -> int: ...

    @property
    def allow_compromised(self) -> bool: ...


W = TypeVar("W", bound=Item)

# What a key version does with each of so many items. What a device is to be asked is put off as `Pending`.
Act: TypeAlias = Callable[[KeyUse, int], Callable[[W], T | Pending[T]]]


@dataclass(slots=True)
class _Plan:
    """What is known of the call's items, by their numbers: which ones a version serves, and the errors of the
    others.

    `states` are those of the versions asked for that are not ENABLED.
    """

    rules: list[str] = field(default_factory=list)
    states: set[str] = field(default_factory=set)
    served: list[tuple[Served, Sequence[int]]] = field(default_factory=list)
    errors: dict[int, KmsError] = field(default_factory=dict)


class Operations:
    """Runs items. `workers` run what takes long; `wants_rotation` hears of versions nearly used up."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        handles: KeyHandles,
        policies: KeyPolicies,
        accesses: KeyAccesses,
        budget: UseBudget,
        workers: Executor,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._handles = handles
        self._policies = policies
        self._accesses = accesses
        self._budget = budget
        self._workers = workers
        self.wants_rotation: Callable[[KeyName, int], None] = lambda key, version: None

    async def run(
        self, call: Call, key: KeyName, operation: Operation, items: Sequence[W], act: Act[W, T]
    ) -> list[T | KmsError]:
        """A result for each item, in order, once one event for the call is durable.

        Raises `LimitExceeded`, `Denied`, `WrongState`, `Unavailable` for the call as a whole.
        """
        if not 1 <= len(items) <= MAX_ITEMS:
            raise LimitExceeded("items", f"1 to {MAX_ITEMS} items in a request")
        try:
            plan = await self._planned(call, key, operation, items)
            await self._spend(call, key, operation, plan)
            results, jobs = self._begun(operation, items, act, plan)

            def event() -> AuditEvent:
                known = [results.get(number, HUNG_UP) for number in range(len(items))]
                return _event(call, key, operation, plan, known)

            await self._record(jobs, call, event)
        except Exception as error:
            await self._guard.commit([], [refusal_event(call, operation.action, str(key), error)])
            raise
        return _in_order(results)

    def _authorised(self, call: Call, key: KeyName, operation: Operation) -> KeyRecord:
        """The key, for a caller whose role permits the operation."""
        self._guard.check(call, operation.permission, key)
        return self._key(key)

    def _key(self, key: KeyName) -> KeyRecord:
        loaded = self._repository.load(KeyRecord, str(key))
        if loaded is None:
            raise Denied("UNKNOWN_KEY")
        return loaded.record

    async def _planned(self, call: Call, key: KeyName, operation: Operation, items: Sequence[Item]) -> _Plan:
        """The plan, made in a thread if the policies may take long to read or to ask."""
        known = self._accesses.get(call.caller, key, operation)
        if known is not None:
            return self._plan(call, key, known, operation, items)
        begun, revision = self._accesses.begin(), self._repository.revision()
        record = self._authorised(call, key, operation)

        def plan_by(rules: KeyRules) -> _Plan:
            access = KeyAccess(revision, call.caller, rules)
            plan = self._plan(call, key, access, operation, items)
            self._accesses.keep(access, key, operation, begun)
            return plan

        rules = self._policies.at_hand(key, record, call.caller, [item.aad for item in items])
        if rules is not None:
            return plan_by(rules)
        return await asyncio.to_thread(lambda: plan_by(self._policies.resolve(key, record)))

    def _plan(
        self, call: Call, key: KeyName, access: KeyAccess, operation: Operation, items: Sequence[Item]
    ) -> _Plan:
        plan = _Plan()
        decided: str | KmsError = ""
        asked: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
        for number, item in enumerate(items):
            if not decided or (access.rules is not None and access.rules.depends_on_aad):
                decided = _decide(access, call, operation, item.aad)
                if isinstance(decided, str):
                    plan.rules.append(decided)
            if isinstance(decided, KmsError):
                plan.errors[number] = decided
            else:
                asked[item.version, item.allow_compromised].append(number)
        for wanted, numbers in asked.items():
            try:
                served = access.served.get(wanted) or self._serving(key, access, operation, wanted)
            except KmsError as error:
                plan.errors |= dict.fromkeys(numbers, error)
                state = error.metadata.get("state", "")
            else:
                plan.served.append((served, numbers))
                state = served.state
            if state:
                plan.states.add(state)
        return plan

    def _serving(
        self, key: KeyName, access: KeyAccess, operation: Operation, wanted: tuple[int, bool]
    ) -> Served:
        """The version that serves such items, noted in the access. Raises `WrongState`, `Denied`."""
        (version, allow_compromised), record = wanted, self._key(key)
        if record.purpose not in operation.purposes:
            raise WrongState(
                f"{key} is for {record.purpose}, which does not {operation.action}{operation.unless}"
            )
        number = version or record.primary
        begun = self._handles.begin()
        minimum = record.minimum_encrypt_version if operation.is_new else record.minimum_decrypt_version
        row = None if number == 0 else self._repository.load(KeyVersionRecord, version_row(key, number))
        if row is None:
            raise WrongState(f"{key} has no version {number or 'yet'}")
        if number < minimum:
            raise WrongState(f"{key} allows version {minimum} and later here, not {number}")
        _check_state(row, operation, allow_compromised=allow_compromised)
        name = KeyVersionName(key.tenant, key.namespace, key.key, number)
        state = "" if row.record.state == VersionState.ENABLED else row.record.state
        limit = MAX_INVOCATIONS if operation.draws_nonce else UNLIMITED
        counter = Counter(version_row(key, number), key.tenant, str(name), limit)
        use = self._handles.get(name, record.uid, row.record, begun)
        served = Served(use, state, counter)
        access.note(wanted, served)
        return served

    async def _spend(self, call: Call, key: KeyName, operation: Operation, plan: _Plan) -> None:
        """Take a nonce for each item that draws one, and note the day for all."""
        draws = operation.draws_nonce
        for served, numbers in plan.served:
            version = served.use.name.version
            try:
                used = await self._budget.spend(served.counter, len(numbers) if draws else 0, call.time)
            except BudgetExhausted:
                self.wants_rotation(key, version)
                raise
            if draws and used >= ROTATE_AT:
                self.wants_rotation(key, version)

    def _begun(
        self, operation: Operation, items: Sequence[W], act: Act[W, T], plan: _Plan
    ) -> tuple[dict[int, T | KmsError], list[Job]]:
        """The results that there are at once, by the items' numbers, and the jobs that add the others."""
        results: dict[int, T | KmsError] = dict(plan.errors)
        jobs: list[Job] = []
        are_many = sum(len(numbers) for _, numbers in plan.served) > ITEMS_OF_A_JOB
        for served, numbers in plan.served:
            use = served.use
            if (operation.in_worker and not use.is_in_device) or (operation.many_in_worker and are_many):
                for part in _parts(numbers, ITEMS_OF_A_JOB):
                    jobs.append((self._workers, partial(_attempt_all, act, use, items, part, results)))
                continue
            for asked in _parts(_attempt_all(act, use, items, numbers, results), ITEMS_OF_A_DEVICE):
                jobs.append((asked[0][1].place.device.workers, partial(_ask_all, asked, results)))
        return results, jobs

    async def _record(self, jobs: Sequence[Job], call: Call, event: Callable[[], AuditEvent]) -> None:
        """Have the jobs done, and the event durable."""
        if jobs:
            receipt = await Round(lambda _: self._guard.submit([], [event()])).run(jobs)
            self._guard.acknowledge(call.request_id, receipt)
        else:
            await self._guard.commit([], [event()])


def _event(
    call: Call, key: KeyName, operation: Operation, plan: _Plan, results: Sequence[T | KmsError]
) -> AuditEvent:
    errors = [result for result in results if isinstance(result, KmsError)]
    versions = sorted({served.use.name.version for served, _ in plan.served})
    details = {"versions": " ".join(map(str, versions))}
    if operation.is_named:
        details["operation"] = operation.name
    if plan.states:
        details["state"] = " ".join(sorted(plan.states))
    denied = sum(isinstance(error, Denied) for error in errors)
    if len(results) > 1:
        details |= {"items": str(len(results)), "failed": str(len(errors)), "denied": str(denied)}
    if len(errors) < len(results):
        return call.event(operation.action, str(key), ALLOW, " | ".join(dict.fromkeys(plan.rules)), details)
    reason = refusal_event(call, operation.action, str(key), errors[0]).reason
    return call.event(operation.action, str(key), DENY if denied == len(errors) else FAIL, reason, details)


def _decide(access: KeyAccess, call: Call, operation: Operation, aad: bytes) -> str | KmsError:
    """The rules that allow it, noted in the access if they do for any item and at any time; or why not."""
    rules = access.rules
    if rules is None:
        return access.allowed_by
    try:
        allowed_by = rules.require(call.caller, operation.name, aad, call.time)
    except Denied as error:
        return error
    if not rules.depends_on_aad and not rules.depends_on_time:
        access.settle(allowed_by)
    return allowed_by


def _check_state(row: Loaded[KeyVersionRecord], operation: Operation, *, allow_compromised: bool) -> None:
    state = row.record.state
    if state == VersionState.ENABLED:
        return
    if state == VersionState.COMPROMISED and not operation.is_new:
        if allow_compromised:
            return
        raise WrongState(
            "the key version is COMPROMISED; say that you know with allow_compromised", state=state
        )
    raise WrongState(f"the key version is {state}; ask a key admin", state=state)


def _attempt_all(
    act: Act[W, T],
    use: KeyUse,
    items: Sequence[W],
    numbers: Sequence[int],
    results: dict[int, T | KmsError],
) -> list[tuple[int, Pending[T]]]:
    """Adds the results of the numbered items, and returns what a device is to be asked for the others."""
    pending: list[tuple[int, Pending[T]]] = []
    try:
        act_on = act(use, len(numbers))
    except KmsError as error:
        results |= dict.fromkeys(numbers, error)
        return pending
    for number in numbers:
        try:
            result = act_on(items[number])
        except KmsError as error:
            results[number] = error
        else:
            if isinstance(result, Pending):
                pending.append((number, result))
            else:
                results[number] = result
    return pending


def _ask_all(pending: Sequence[tuple[int, Pending[T]]], results: dict[int, T | KmsError]) -> None:
    answers = ask_all([question for _, question in pending])
    results.update(zip((number for number, _ in pending), answers, strict=True))


def _in_order(results: Mapping[int, T]) -> list[T]:
    return [results[number] for number in range(len(results))]


def _parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))
