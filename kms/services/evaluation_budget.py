"""At most 2^32 evaluations per key version and binding value (docs/spec/blindfold.md, "Limits").

Evaluations are set aside in blocks, durably and before the first of a block is made: a crash loses what was
left of a block, and never gives more.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime

from kms.errors import BudgetExhausted
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.names import BlindfoldKeyName
from kms.model.records import EvaluationCountRecord
from kms.services.blindfold_keys import key_row
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Repository, create

MAX_EVALUATIONS = 1 << 32
BLOCK = 1 << 14


@dataclass(slots=True)
class _Remaining:
    """What is left of the block set aside, and the day for which it was."""

    count: int
    day: datetime


class EvaluationBudget:
    """Counts for one server. Calls come from one event loop."""

    def __init__(self, guard: Guard, repository: Repository) -> None:
        self._guard = guard
        self._repository = repository
        self._remaining: dict[str, _Remaining] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def spend(self, key: BlindfoldKeyName, binding_value: bytes, count: int, now: datetime) -> None:
        """Take `count` (at most a block) from the budget. Raises `BudgetExhausted`."""
        row = f"{key_row(key)}/{hashlib.sha256(binding_value).hexdigest()}"
        async with self._locks.setdefault(row, asyncio.Lock()):
            remaining = self._remaining.get(row)
            day = now.replace(hour=0, minute=0, second=0, microsecond=0)
            if remaining is None or remaining.count < count or remaining.day < day:
                remaining = await self._set_aside(key, row, count, now, day)
                self._remaining[row] = remaining
            remaining.count -= count

    async def _set_aside(
        self, key: BlindfoldKeyName, row: str, count: int, now: datetime, day: datetime
    ) -> _Remaining:
        loaded = self._repository.load(EvaluationCountRecord, row)
        reserved = 0 if loaded is None else loaded.record.reserved
        block = min(BLOCK, MAX_EVALUATIONS - reserved)
        if block < count:
            raise BudgetExhausted("2^32 evaluations were made under this key version and policy")
        record = EvaluationCountRecord(reserved + block, day)
        change = create(row, record) if loaded is None else loaded.put(record)
        event = AuditEvent(
            time=timestamp(now),
            action="Kms.SetAsideEvaluations",
            caller="",
            tenant=key.tenant,
            resource=str(key),
            decision=ALLOW,
            details={"reserved": str(record.reserved)},
        )
        await self._guard.commit([change], [event])
        return _Remaining(block, day)
