"""The one path that calls take: tenant -> role -> act -> audit, in one transaction.

Whatever the outcome, an event is durable before the caller hears of it: no event, no answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from kms.authz.roles import require_permission
from kms.errors import Denied, KmsError
from kms.model.audit_event import AuditEvent
from kms.model.names import ResourceName
from kms.model.receipt import Receipt
from kms.services.call import Call, Outcome
from kms.storage.interface import (
    Changes,
    Creations,
    Delete,
    Put,
    Require,
    Store,
    WriteConflict,
)

T = TypeVar("T")
Forget = Callable[[Put | Delete], None]
Admit = Callable[[str, str], Require | None]
Observe = Callable[[Sequence[AuditEvent]], None]
Acknowledge = Callable[[str, Receipt], None]

ATTEMPTS = 5
ALLOW, DENY, FAIL = "ALLOW", "DENY", "FAIL"


@dataclass(frozen=True, slots=True)
class Action:
    """An RPC as authorisation and audit know it: its name, and the permission that a role must grant.

    An empty permission asks for no role: any identity of the tenant may call.
    """

    name: str
    permission: str


def refusal_event(call: Call, action: str, resource: str, error: Exception) -> AuditEvent:
    """The event of a call that ends in an error. An unexpected error is named INTERNAL and no more."""
    if not isinstance(error, KmsError):
        return call.event(action, resource, FAIL, KmsError.reason)
    if isinstance(error, Denied):
        return call.event(action, resource, DENY, error.because or error.reason)
    state = error.metadata.get("state")
    return call.event(action, resource, FAIL, error.reason, {"state": state} if state else None)


def check_tenant(call: Call, resource: ResourceName | None) -> None:
    """The tenant check. A resource of a tenant is for that tenant's callers alone, whatever their roles.

    Resources without a tenant (None, operators) are the platform's. Raises `Denied`.
    """
    if getattr(resource, "tenant", None) != call.caller.tenant:
        raise Denied("OTHER_TENANT")


class Guard:
    """Authorises, runs and records calls against one store."""

    def __init__(
        self,
        store: Store,
        forget: Forget = lambda write: None,
        observe: Observe = lambda events: None,
        admit: Admit = lambda tenant, permission: None,
        acknowledge: Acknowledge = lambda request_id, receipt: None,
    ) -> None:
        """`acknowledge` is told, in the task that committed them, where durable events stand: the request id
        of the last one, and its receipt. Who submits tells it what comes of that.

        `observe` hears of events that are durable, in any thread; it must not wait, nor raise.

        `admit` says whether a tenant is served, by its id and the permission asked for, and what must hold
        of it until a call's changes are written. It raises `WrongState`.

        `forget` drops what is kept in memory of the row that a write is of.

        It is called before the write, and again when its outcome is known: whatever that is, and also where
        the call was cancelled meanwhile.
        """
        self._store = store
        self._forget = forget
        self._observe = observe
        self._admit = admit
        self.acknowledge = acknowledge

    def check(self, call: Call, permission: str, resource: ResourceName | None) -> Require | None:
        """The one check that every call passes: tenant, role, and that the tenant is served.

        Returns what must hold of the tenant until the call's changes are written. An empty permission asks
        for no role. Raises `Denied`, and then `WrongState`.
        """
        check_tenant(call, resource)
        if permission:
            require_permission(call.caller, permission, getattr(resource, "namespace", None))
        tenant = call.caller.tenant
        return None if tenant is None else self._admit(tenant, permission)

    async def authorise(
        self,
        call: Call,
        action: Action,
        resource: ResourceName | None,
        read: Callable[[], T] = lambda: None,  # type: ignore[assignment,return-value]
    ) -> T:
        """What `read` gives, before work that comes ahead of `perform`; refusals are recorded.

        Raises `Denied`, and what read raises.
        """
        try:
            self.check(call, action.permission, resource)
            return read()
        except Exception as error:
            await self.commit([], [refusal_event(call, action.name, _text(resource), error)])
            raise

    async def perform(
        self,
        call: Call,
        action: Action,
        resource: ResourceName | None,
        act: Callable[[], Outcome[T]],
        *,
        in_thread: bool = False,
    ) -> T:
        """Run act if the caller may, commit its changes with the event, return its value.

        `act` reads and decides, and may run again when another writer was faster; in a thread if it may
        take more than a few milliseconds. Raises what act raises, its outcome's failure, `Denied`,
        `WriteConflict`, `Unavailable`.
        """
        for attempt in range(ATTEMPTS):
            outcome, admitted = await self._decide(call, action, resource, act, in_thread=in_thread)
            event = _event(call, action, resource, outcome)
            changes = outcome.changes
            if changes and admitted is not None and not isinstance(changes, Creations):
                changes = [*changes, admitted]
            try:
                await self.commit(changes, [event])
            except WriteConflict as conflict:
                if attempt + 1 == ATTEMPTS:
                    await self.commit([], [refusal_event(call, action.name, _text(resource), conflict)])
                    raise
            else:
                break
        if outcome.failure is not None:
            raise outcome.failure
        return outcome.value

    async def _decide(
        self,
        call: Call,
        action: Action,
        resource: ResourceName | None,
        act: Callable[[], Outcome[T]],
        *,
        in_thread: bool,
    ) -> tuple[Outcome[T], Require | None]:
        try:
            admitted = self.check(call, action.permission, resource)
            return (await asyncio.to_thread(act) if in_thread else act()), admitted
        except Exception as error:
            await self.commit([], [refusal_event(call, action.name, _text(resource), error)])
            raise

    async def commit(self, changes: Changes, events: Sequence[AuditEvent]) -> Receipt:
        """Wait until changes and events are durable. Raises `WriteConflict`, `Unavailable`."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Receipt] = loop.create_future()
        self._submit(changes, events, partial(hand_over, waiter, loop))
        receipt = await waiter
        self.acknowledge(events[-1].request_id, receipt)
        return receipt

    def submit(self, changes: Changes, events: Sequence[AuditEvent]) -> "Future[Receipt]":
        """As `commit`, from any thread. What it raises is the future's outcome."""
        return self._submit(changes, events, lambda done: None)

    def _submit(
        self, changes: Changes, events: Sequence[AuditEvent], hear: Callable[["Future[Receipt]"], None]
    ) -> "Future[Receipt]":
        """`hear` is told the outcome. By one callback, since each takes some microseconds of every call."""

        def end(done: "Future[Receipt]") -> None:
            try:
                self._forget_what(changes)
                if done.exception() is None:
                    self._observe(events)
            finally:
                hear(done)

        self._forget_what(changes)
        done = self._store.commit(changes, events)
        done.add_done_callback(end)
        return done

    def _forget_what(self, changes: Changes) -> None:
        if isinstance(changes, Creations):
            # What is new is nowhere in memory yet.
            return
        for change in changes:
            if not isinstance(change, Require):
                self._forget(change)


def hand_over(
    waiter: "asyncio.Future[Receipt]", loop: asyncio.AbstractEventLoop, done: "Future[Receipt]"
) -> None:
    """Give an outcome to who waits in the loop: at once where this is the loop's thread.

    `asyncio.wrap_future` wakes the loop for each; a store that delivers whole groups has done that already.
    """
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        _settle(waiter, done)
    elif not loop.is_closed():
        loop.call_soon_threadsafe(_settle, waiter, done)


def _settle(waiter: "asyncio.Future[Receipt]", done: "Future[Receipt]") -> None:
    if waiter.done():
        return
    error = done.exception()
    if error is None:
        waiter.set_result(done.result())
    else:
        waiter.set_exception(error)


def _event(call: Call, action: Action, resource: ResourceName | None, outcome: Outcome[T]) -> AuditEvent:
    if outcome.failure is not None:
        return refusal_event(call, action.name, _text(resource), outcome.failure)
    return call.event(action.name, _text(resource), ALLOW, details=outcome.details)


def _text(resource: ResourceName | None) -> str:
    return "" if resource is None else str(resource)
