"""What happens without being asked: keys are generated, due destructions done, refusals summed up."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime

from blindfold import keygen
from blindfold.errors import GenerationFailed
from blindfold.private_key import PrivateKey
from kms.errors import KmsError
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.names import BlindfoldKeyName
from kms.services.audit_retention import AuditRetention
from kms.services.blindfold_keys import BlindfoldKeys
from kms.services.guard import ALLOW, FAIL, Guard
from kms.services.refusals import Refusals
from kms.services.spent_tokens import SpentTokens
from kms.services.tenant_destruction import TenantDestruction
from kms.services.upkeep import Upkeep

LOOK_EVERY = 10.0
DESTROY_EVERY = 60.0
SUM_UP_EVERY = 60.0
FORGET_EVERY = 3600.0
DROP_EVERY = 3600.0
RETRY_AFTER = 60.0

_log = logging.getLogger(__name__)

Generate = Callable[[int, keygen.Progress], PrivateKey]


def generate(modulus_bits: int, progress: keygen.Progress) -> PrivateKey:
    """By worker processes, which leave the server a core where there are two or more."""
    workers = max(1, (os.cpu_count() or 1) - 1)
    return keygen.generate(modulus_bits, workers=workers, progress=progress)


class Stopped(Exception):
    """Raised out of a key generation to end it."""


class Scheduler:
    """Runs until its task is cancelled. `generate_key` and the clock are given, for tests."""

    def __init__(
        self,
        guard: Guard,
        keys: BlindfoldKeys,
        refusals: Refusals,
        upkeep: Upkeep,
        tokens: SpentTokens,
        tenants: TenantDestruction,
        retention: AuditRetention,
        now: Callable[[], datetime],
        generate_key: Generate = generate,
    ) -> None:
        self._guard = guard
        self._keys = keys
        self._refusals = refusals
        self._upkeep = upkeep
        self._tokens = tokens
        self._tenants = tenants
        self._retention = retention
        self._now = now
        self._generate_key = generate_key
        self._tested: dict[BlindfoldKeyName, int] = {}
        self._stopping = False

    def progress(self, name: BlindfoldKeyName) -> int:
        """Candidates tested so far for a pending version; 0 when nothing is known."""
        return self._tested.get(name, 0)

    async def run(self) -> None:
        """All tasks, until cancelled. A key generation in progress is abandoned; it begins anew next time."""
        with ThreadPoolExecutor(1, "kms-keygen") as worker:
            try:
                await asyncio.gather(
                    self._generate_when_wanted(worker),
                    self._repeat(LOOK_EVERY, self.look_after_keys),
                    self._repeat(DESTROY_EVERY, self.destroy_due),
                    self._repeat(SUM_UP_EVERY, self.sum_up),
                    self._repeat(FORGET_EVERY, self.forget_tokens),
                    self._repeat(DROP_EVERY, self.drop_events),
                )
            finally:
                self._stopping = True

    async def _generate_when_wanted(self, worker: Executor) -> None:
        """What is pending from before, and then whatever is begun."""
        while True:
            self._keys.wanted.clear()
            try:
                await self.generate_pending(worker)
            except KmsError as error:
                _log.error("a key generation failed: %s", error.reason)
                await asyncio.sleep(RETRY_AFTER)
                self._keys.wanted.set()
            await self._keys.wanted.wait()

    async def _repeat(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await act()
            except KmsError as error:
                # The work is still there to be found the next time.
                _log.error("scheduled work failed: %s", error.reason)
            await asyncio.sleep(seconds)

    async def generate_pending(self, worker: Executor) -> None:
        """Generate every version that waits for it, one after the other."""
        for name, bits in list(self._keys.pending()):
            loop = asyncio.get_running_loop()
            try:
                key = await loop.run_in_executor(worker, self._generate, name, bits)
            except GenerationFailed:
                await self._record("Kms.GenerateBlindfoldKey", name, FAIL, GenerationFailed.__name__)
                raise KmsError(f"the generation of {name} failed") from None
            changes = await loop.run_in_executor(worker, self._keys.complete, name, key, self._now())
            event = self._event("Kms.GenerateBlindfoldKey", name, ALLOW)
            await self._guard.commit(changes, [event])
            self._tested.pop(name, None)

    def _generate(self, name: BlindfoldKeyName, bits: int) -> PrivateKey:
        def report(tested: int, found: int) -> None:
            self._tested[name] = tested
            if self._stopping:
                raise Stopped

        return self._generate_key(bits, report)

    async def destroy_due(self) -> None:
        """Overwrite the bytes of every version whose time has come, and destroy tenants and remnants."""
        await self._tenants.destroy_due(self._now())
        await self._upkeep.fresh.sweep(self._now())
        for name, put in list(self._keys.due(self._now())):
            await self._guard.commit([put], [self._event("Kms.DestroyBlindfoldKey", name, ALLOW)])

    async def look_after_keys(self) -> None:
        """Rotations and destructions whose time has come, and rotations that a budget asks for."""
        now = self._now()
        await self._upkeep.rotate_wanted(now)
        await self._upkeep.rotate_due(now)
        await self._upkeep.destroy_due(now)

    async def sum_up(self) -> None:
        """Write the refused calls of the last minute."""
        await self._refusals.flush(timestamp(self._now()))

    async def forget_tokens(self) -> None:
        """Delete what is kept of tokens that have expired."""
        while await self._tokens.forget(self._now()):
            pass

    async def drop_events(self) -> None:
        """Drop what of the audit chain was kept for long enough."""
        await self._retention.drop_due(self._now())

    async def _record(self, action: str, name: BlindfoldKeyName, decision: str, reason: str) -> None:
        await self._guard.commit([], [self._event(action, name, decision, reason)])

    def _event(self, action: str, name: BlindfoldKeyName, decision: str, reason: str = "") -> AuditEvent:
        return AuditEvent(
            time=timestamp(self._now()),
            action=action,
            caller="",
            tenant=name.tenant,
            resource=str(name),
            decision=decision,
            reason=reason,
        )
