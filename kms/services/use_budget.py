"""How often a key may be used: 2^32 evaluations under one exponent, 2^32 random nonces under one AES key.

Uses are set aside in blocks, durably and before the first of a block is made: a crash loses what was left of
a block, and never gives more. The row also tells the day of the last use.
"""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakValueDictionary

from kms.errors import BudgetExhausted
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.records import UseRecord
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Repository, create
from kms.services.sized_cache import SizedCache
from kms.storage.interface import Change, WriteConflict

BLOCK = 1 << 14
# Of rows for which something is set aside. Of those that were used longest ago, the rest of a block is lost.
MAX_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Counter:
    """Whose uses are counted: the row, the tenant and resource for the audit trail, and the limit."""

    row: str
    tenant: str
    resource: str
    limit: int


@dataclass(slots=True)
class _Remaining:
    """What is left of the block set aside, the day for which it was, and how many were set aside in all."""

    count: int
    day: datetime
    reserved: int


class UseBudget:
    """Counts for one server. Calls come from one event loop."""

    def __init__(
        self, guard: Guard, repository: Repository, block: int = BLOCK, rows: int = MAX_ROWS
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._block = block
        self._remaining: SizedCache[str, _Remaining] = SizedCache(rows)
        self._locks: MutableMapping[str, asyncio.Lock] = WeakValueDictionary()

    async def spend(self, counter: Counter, count: int, now: datetime) -> int:
        """Take `count` from the budget; 0 notes the day alone. Returns how many are set aside in all.

        Raises `BudgetExhausted`.
        """
        day = day_of(now)
        remaining = self._take(counter.row, count, day)
        while remaining is None:
            # Shielded: what is set aside for a caller who hangs up is kept for the next.
            await asyncio.shield(self._refill(counter, count, now, day))
            remaining = self._take(counter.row, count, day)
        return remaining.reserved

    def charge(self, counter: Counter, count: int, now: datetime) -> Change:
        """The write that takes `count` from the budget, for the caller's unit. Raises `BudgetExhausted`."""
        return self._reserve(counter, count, count, now)[1]

    def used(self, row: str) -> UseRecord | None:
        """What is written; up to a block more than was used."""
        loaded = self._repository.load(UseRecord, row)
        return None if loaded is None else loaded.record

    def _enough(self, row: str, count: int, day: datetime) -> _Remaining | None:
        remaining = self._remaining.get(row)
        if remaining is None or remaining.count < count or remaining.day < day:
            return None
        return remaining

    def _take(self, row: str, count: int, day: datetime) -> _Remaining | None:
        remaining = self._enough(row, count, day)
        if remaining is not None:
            remaining.count -= count
        return remaining

    async def _refill(self, counter: Counter, count: int, now: datetime, day: datetime) -> None:
        """Have enough for `count`, by one caller at a time. Raises `BudgetExhausted`."""
        async with self._locks.setdefault(counter.row, asyncio.Lock()):
            if self._enough(counter.row, count, day) is None:
                await self._set_aside(counter, count, now, day)

    async def _set_aside(self, counter: Counter, count: int, now: datetime, day: datetime) -> None:
        before = self._remaining.get(counter.row)
        missing = max(count - (0 if before is None else before.count), 0)
        block = max(self._block, missing) if missing else 0
        record, change, taken = self._reserve(counter, missing, block, now)
        event = AuditEvent(
            time=timestamp(now),
            action="Kms.SetAsideUses",
            caller="",
            tenant=counter.tenant,
            resource=counter.resource,
            decision=ALLOW,
            details={"reserved": str(record.reserved)},
        )
        try:
            await self._guard.commit([change], [event])
        except WriteConflict:
            # A charge came in between; `spend` looks again.
            return
        # Others may have taken of what was left meanwhile.
        left = 0 if before is None else before.count
        self._remaining.keep(counter.row, _Remaining(left + taken, day, record.reserved), 1)

    def _reserve(
        self, counter: Counter, count: int, block: int, now: datetime
    ) -> tuple[UseRecord, Change, int]:
        """The row with `block` more uses set aside, or with fewer, but at least `count`, and how many."""
        loaded = self._repository.load(UseRecord, counter.row)
        reserved = 0 if loaded is None else loaded.record.reserved
        taken = min(block, counter.limit - reserved)
        if taken < count:
            raise BudgetExhausted(f"{counter.limit} uses were made of {counter.resource}")
        record = UseRecord(reserved + taken, day_of(now))
        return record, create(counter.row, record) if loaded is None else loaded.put(record), taken


def day_of(now: datetime) -> datetime:
    """As `UseRecord.last_used` has it."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
