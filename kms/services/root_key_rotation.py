"""The root key drawn anew while the server serves, in steps that a crash does not undo."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from kms.audit.authenticated_store import AuthenticatedStore
from kms.errors import ConfigError, KmsError, NotFound, WrongState
from kms.model.audit_event import AuditEvent
from kms.model.receipt import Receipt
from kms.services.call import Call, Outcome
from kms.services.guard import ALLOW, Action, Guard, refusal_event

ROTATE = Action("RotateRootKey", "server.rotateRootKey")
GET = Action("GetRootKeyRotation", "server.rotateRootKey")
TELL_EVERY = 0.5
RETRY_AFTER = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RotationProgress:
    """So many rows and events of all are under the new root key; `done` once the one before is gone.

    `problem` is the reason of the last step's failure; it is tried again.
    """

    count: int
    total: int
    done: bool
    create_time: datetime | None = None
    problem: str = ""


@dataclass(slots=True)
class RootKeyRotation:
    """Begins rotations and, in `run`, brings them to their end: those too that a crash interrupted."""

    guard: Guard
    vault: AuthenticatedStore
    _failure: KmsError | None = None
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _stepped: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until cancelled. What fails is tried again after a minute."""
        while True:
            self._wanted.clear()
            try:
                await self.finish()
            except KmsError as error:
                _log.error("the rotation of the root key does not go on: %s", error.message)
                await asyncio.sleep(RETRY_AFTER)
            else:
                await self._wanted.wait()

    async def finish(self) -> None:
        """Take the steps that are left, one transaction each. Raises `KmsError`."""
        try:
            while self.vault.store.rekeying() is not None:
                await asyncio.to_thread(self.vault.step_rotation)
                self._failure = None
        except KmsError as error:
            self._failure = error
            raise
        finally:
            self._stepped.set()

    async def rotate(self, call: Call) -> AsyncGenerator[RotationProgress]:
        """Tells how far it is. It goes on to its end also where nobody listens.

        Raises `Denied`, `RotationUnderWay`, and any `KmsError` that keeps a step from being taken now.
        """
        await self.guard.authorise(call, ROTATE, None)
        told = await asyncio.shield(self._begin(call))
        total = 0
        while told is not None:
            total = told.total
            yield told
            if self._failure is not None:
                raise self._failure
            await self._step()
            told = self._progress()
        await self._ended()
        yield RotationProgress(total, total, done=True)

    async def progress(self, call: Call) -> RotationProgress:
        """Of the rotation that is under way. Raises `Denied`, `NotFound`."""

        def act() -> Outcome[RotationProgress]:
            told = self._progress()
            if told is None:
                raise NotFound("a rotation of the root key that is under way")
            return Outcome(told)

        return await self.guard.perform(call, GET, None, act)

    async def _begin(self, call: Call) -> RotationProgress | None:
        """How far it is at its beginning."""
        describe = partial(_event, call)
        work = asyncio.to_thread(self.vault.begin_rotation, None, describe)
        try:
            self.guard.acknowledge(call.request_id, await recorded(self.guard, call, ROTATE, work))
            self._failure = None
            self._stepped.clear()
            return self._progress()
        finally:
            # It may have begun all the same, and not be vouched for outside.
            self._wanted.set()

    async def _ended(self) -> None:
        """Wait until the root key before is gone from the files too. Raises what keeps it there."""
        while not self._stepped.is_set():
            await self._step()
        if self._failure is not None:
            raise self._failure

    async def _step(self) -> None:
        """Wait until something may have happened."""
        try:
            await asyncio.wait_for(self._stepped.wait(), TELL_EVERY)
        except TimeoutError:
            return

    def _progress(self) -> RotationProgress | None:
        moved, rotation = self.vault.store.rekeying(), self.vault.rotation()
        if moved is None or rotation is None:
            return None
        first = self.vault.store.dropped_through()
        total = moved.all_rows + max(0, rotation.last_event - first)
        count = moved.rows + rotation.last_event - max(moved.event, first)
        problem = "" if self._failure is None else self._failure.reason
        return RotationProgress(min(count, total), total, False, rotation.create_time, problem)


async def recorded(guard: Guard, call: Call, action: Action, work: Awaitable[Receipt]) -> Receipt:
    """What the work gives; its failure is recorded, and raised. Not to be cancelled with the call."""
    try:
        return await work
    except ConfigError as error:
        failure: KmsError = WrongState(error.message)
    except KmsError as error:
        failure = error
    await guard.commit([], [refusal_event(call, action.name, "", failure)])
    raise failure


def _event(call: Call, details: Mapping[str, str]) -> AuditEvent:
    return call.event(ROTATE.name, "", ALLOW, details=details)
