"""The oldest events of the audit chain, dropped when they have been kept for long enough.

They go up to a checkpoint, which stays, as all checkpoints do: what follows is verified from it on, by the
audit public key alone. The row that says so goes first, in one unit with an event; the events follow some
thousand at a time, and whatever a crash has interrupted goes on at the next look.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from kms.model.audit_event import AuditEvent
from kms.model.chain import SignedCheckpoint, timestamp
from kms.model.records import RetentionRecord
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Repository, create
from kms.storage.interface import Store

ACTION = "Kms.DropAuditEvents"
PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditRetention:
    """Called by the scheduler. `keep` is None for ever."""

    guard: Guard
    repository: Repository
    store: Store
    keep: timedelta | None

    async def drop_due(self, now: datetime) -> int:
        """How many events were dropped. Raises `KmsError`; the next call goes on."""
        if self.keep is not None:
            last = await asyncio.to_thread(self._last_due, timestamp(now - self.keep))
            if last is not None:
                await self._move(last, now)
        dropped = 0
        while count := await asyncio.wrap_future(self.store.drop_events()):
            dropped += count
        return dropped

    def _last_due(self, before: str) -> SignedCheckpoint | None:
        """The newest checkpoint of an earlier time, but not the newest of all, which is the one outside."""
        last_but_one = last = None
        after = self.store.dropped_through()
        while page := self.store.checkpoints(after, PAGE):
            for signed in page:
                if signed.checkpoint.time >= before:
                    return last
                last_but_one, last = last, signed
            after = page[-1].checkpoint.sequence
        return last_but_one

    async def _move(self, last: SignedCheckpoint, now: datetime) -> None:
        checkpoint = last.checkpoint
        record = RetentionRecord(checkpoint.sequence, checkpoint.chain_hash)
        loaded = self.repository.load(RetentionRecord, RetentionRecord.NAME)
        change = create(RetentionRecord.NAME, record) if loaded is None else loaded.put(record)
        event = AuditEvent(
            time=timestamp(now),
            action=ACTION,
            caller="",
            tenant="",
            resource="",
            decision=ALLOW,
            details={"through": str(checkpoint.sequence), "chain_hash": checkpoint.chain_hash.hex()},
        )
        await self.guard.commit([change], [event])
