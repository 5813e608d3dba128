"""The end of a tenant: its key is destroyed, so that nothing of it opens, and then all its rows are.

The key goes in one unit, with the tenant's state. From then on nobody of the tenant is authenticated, and
whoever still writes something of it conflicts. The rows go in units of some hundred, each found by looking
what is left, so that whatever a crash has interrupted goes on at the next look. What stays is the tenant's
own row, which keeps its name from being used again, and the audit events.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice

from kms.crypto.key_hierarchy import TENANT_KEY
from kms.errors import KmsError
from kms.identity.join_tokens import JoinTokenRecord
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.device_handle import DeviceHandle
from kms.model.names import OperatorName, TenantName
from kms.model.records import DueRecord, KeyVersionRecord, RemnantRecord, TenantRecord
from kms.model.tenant_lifecycle import TenantState
from kms.services.backup_kinds import KINDS, LEFT_OUT, is_within
from kms.services.fresh_versions import remnant_row
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import MISSING, Change, Delete, Require, RequireNone, Row, Store, WriteConflict

BATCH = 200
KEY_DESTROYED = "Kms.DestroyTenantKey"
ROWS_ERASED = "Kms.EraseTenantRows"
DESTROYED = "Kms.DestroyTenant"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TenantDestruction:
    """Called by the scheduler."""

    guard: Guard
    repository: Repository
    store: Store

    async def destroy_due(self, now: datetime) -> int:
        """Destroy every tenant whose time has come, and end what was begun before; how many are gone now.

        One that fails is logged and stays due; it does not keep the others waiting.
        """
        gone = 0
        for loaded in list(self.repository.all(TenantRecord)):
            name = TenantName.parse(loaded.name)
            try:
                if _is_due(loaded.record, now):
                    await self._destroy_key(name, loaded, now)
                    loaded = self.repository.require(TenantRecord, loaded.name)
                if loaded.record.state == TenantState.DESTROYED and loaded.record.erase_time is None:
                    await self._erase(name, loaded, now)
                    gone += 1
            except KmsError as error:
                _log.error("the destruction of %s failed: %s", name, error)
        return gone

    async def destroy(self, name: TenantName, now: datetime) -> bool:
        """Destroy at once, whatever the state, a tenant that was destroyed before it was restored.

        False if nothing of it is there.
        """
        loaded = self.repository.load(TenantRecord, str(name))
        if loaded is None or loaded.record.erase_time is not None:
            return False
        if self.store.get(TENANT_KEY, str(name)) is not None:
            await self._destroy_key(name, loaded, now)
        await self._erase(name, self.repository.require(TenantRecord, str(name)), now)
        return True

    async def _destroy_key(self, name: TenantName, tenant: Loaded[TenantRecord], now: datetime) -> None:
        record = replace(
            tenant.record,
            state=TenantState.DESTROYED.value,
            destroy_time=None,
            destroy_event_time=now,
            labels={},
            description="",
        )
        key = self.store.get(TENANT_KEY, str(name))
        gone = [] if key is None else [Delete(key.kind, key.name, key.counter)]
        await self.guard.commit([tenant.put(record), *gone], [_event(KEY_DESTROYED, name, now)])

    async def _erase(self, name: TenantName, tenant: Loaded[TenantRecord], now: datetime) -> None:
        """Delete what is left until nothing is, which the last unit requires."""
        while True:
            while rows := await asyncio.to_thread(lambda: list(islice(self._rows(name), BATCH))):
                changes: list[Change] = [Delete(row.kind, row.name, row.counter) for row in rows]
                changes += _remnants(rows, now)
                event = _event(ROWS_ERASED, name, now, rows=str(len(rows)))
                await self.guard.commit(changes, [event])
            anchor = await asyncio.wrap_future(self.store.checkpoint())
            record = replace(tenant.record, erase_time=now, anchor=anchor.checkpoint.sequence)
            try:
                await self.guard.commit(
                    [tenant.put(record), *_nothing_of(name)], [_event(DESTROYED, name, now)]
                )
            except WriteConflict:
                continue
            return

    def _rows(self, name: TenantName) -> Iterator[Row]:
        """What there is of a tenant but its own row."""
        for kind in chain(LEFT_OUT, KINDS):
            row = None if kind == TenantRecord.KIND else self.store.get(kind, str(name))
            if row is not None:
                yield row
            yield from self._below(kind, f"{name}/")
        for token in self.repository.all(JoinTokenRecord):
            identity = token.record.grant.identity
            if not isinstance(identity, OperatorName) and identity.tenant == name.tenant:
                yield Row(JoinTokenRecord.KIND, token.name, token.counter, b"")
        for entry in self.repository.all(DueRecord):
            if is_within(entry.record.target, name):
                yield Row(DueRecord.KIND, entry.name, entry.counter, b"")

    def _below(self, kind: str, prefix: str) -> Iterator[Row]:
        after = ""
        while rows := self.store.scan(kind, prefix, after, BATCH):
            yield from rows
            after = rows[-1].name


def _is_due(record: TenantRecord, now: datetime) -> bool:
    return (
        record.state == TenantState.DESTROY_SCHEDULED
        and record.destroy_time is not None
        and record.destroy_time <= now
    )


def _remnants(rows: Iterable[Row], now: datetime) -> Iterator[Change]:
    """What is left of the versions in rows: their keys in a device."""
    for row in rows:
        if row.kind == KeyVersionRecord.KIND and (handle := KeyVersionRecord.from_bytes(row.body).handle):
            yield create(remnant_row(DeviceHandle.parse(handle)), RemnantRecord(now))


def _nothing_of(name: TenantName) -> list[Require]:
    """No row by the tenant's name or below it, but its own."""
    kinds = [kind for kind in chain(LEFT_OUT, KINDS) if kind != TenantRecord.KIND]
    there = [Require(kind, str(name), MISSING) for kind in kinds]
    return [*there, *(RequireNone(kind, f"{name}/") for kind in chain(LEFT_OUT, KINDS))]


def _event(action: str, name: TenantName, now: datetime, **details: str) -> AuditEvent:
    """Of the platform, whose operators ordered it: of the tenant nobody is left to read it."""
    return AuditEvent(
        time=timestamp(now),
        action=action,
        caller="",
        tenant="",
        resource=str(name),
        decision=ALLOW,
        details=details,
    )
