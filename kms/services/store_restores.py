"""What is done to a store that was restored, before it is served: uses are counted, and keys rotated."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from kms.errors import KmsError
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.names import KeyName, TenantName
from kms.model.records import KeyRecord, UseRecord
from kms.model.sensitivity import Sensitivity
from kms.services.backup_check import Facts
from kms.services.guard import ALLOW, Guard
from kms.services.spent_uses import SpentUses
from kms.services.upkeep import Upkeep
from kms.storage.interface import MISSING, Put, Store

COUNTED = "Kms.CountUnknownUses"
# Writes of one unit, and keys that are rotated at once.
BATCH = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreRestores:
    """Works on a store that nobody is served from."""

    guard: Guard
    store: Store
    upkeep: Upkeep

    async def spend(self, tenant: TenantName, facts: Facts, now: datetime) -> None:
        """Count for used what may have been used after the backup."""
        writes = self._spent(tenant, SpentUses(facts, now))
        while batch := list(islice(writes, BATCH)):
            event = AuditEvent(
                time=timestamp(now),
                action=COUNTED,
                caller="",
                tenant=tenant.tenant,
                resource=str(tenant),
                decision=ALLOW,
                details={"rows": str(len(batch))},
            )
            await self.guard.commit(batch, [event])

    def _spent(self, tenant: TenantName, spent: SpentUses) -> Iterator[Put]:
        counted, after = set(), ""
        while rows := self.store.scan(UseRecord.KIND, f"{tenant}/", after, BATCH):
            for row in rows:
                counted.add(row.name)
                body = spent.raised(row.name, row.body)
                if body != row.body:
                    yield Put(row.kind, row.name, body, row.counter)
            after = rows[-1].name
        for name, body in spent.uncounted(counted):
            yield Put(UseRecord.KIND, name, body, MISSING)

    async def rotate(self, keys: Iterable[KeyName], now: datetime) -> int:
        """How many were. HIGH keys are rotated by the server that has their device, when they are used."""
        waiting, rotated = iter(keys), 0
        while batch := list(islice(waiting, BATCH)):
            rotated += sum(await asyncio.gather(*(self._rotate(name, now) for name in batch)))
        return rotated

    async def _rotate(self, name: KeyName, now: datetime) -> bool:
        key = self.upkeep.repository.load(KeyRecord, str(name))
        if key is None or key.record.sensitivity == Sensitivity.HIGH.name:
            return False
        try:
            return await self.upkeep.rotate(name, now, "restore")
        except KmsError as error:
            _log.warning("%s was not rotated: %s", name, error)
        return False
