"""Reading the audit chain: pages of a tenant's events, the chain for export, checkpoints.

The chain runs through all tenants. Each reads its own events; of the others an export shows the digests
that link the chain, so that it can be verified whole (docs/spec/audit.md, "Export").
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kms.audit.export import is_visible, links
from kms.model.chain import SignedCheckpoint
from kms.model.names import TenantName
from kms.services.call import Call, Outcome
from kms.services.guard import Action, Guard
from kms.storage.interface import Store, StoredEvent

LIST = Action("ListAuditEvents", "audit.list")
EXPORT = Action("ExportAuditEvents", "audit.export")
CHECKPOINT = Action("GetCheckpoint", "audit.getCheckpoint")

BATCH = 1000
# A page that finds little still ends: the caller gets what there is, and goes on from there.
MAX_LOOKED_AT = 20_000


@dataclass(frozen=True, slots=True)
class Filter:
    """What an event must be; unset fields let all pass. `end` is exclusive."""

    start: datetime | None = None
    end: datetime | None = None
    caller: str = ""
    action: str = ""
    resource: str = ""
    decision: str = ""

    def passes(self, body: dict[str, Any]) -> bool:
        time = datetime.fromisoformat(body["time"])
        exact = (("caller", self.caller), ("action", self.action), ("decision", self.decision))
        return (
            (self.start is None or time >= self.start)
            and (self.end is None or time < self.end)
            and all(not wanted or body[name] == wanted for name, wanted in exact)
            and (not self.resource or body["resource"].startswith(self.resource))
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events as their canonical objects, and the sequence number to go on after, 0 at the chain's end."""

    events: tuple[dict[str, Any], ...]
    next_after: int


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """An event of the chain; `visible` if the reader may see its body."""

    event: StoredEvent
    visible: bool


class AuditLog:
    """Reads from one store."""

    def __init__(self, guard: Guard, store: Store, public_key: bytes) -> None:
        self._guard = guard
        self._store = store
        self.public_key = public_key

    async def list(
        self, call: Call, parent: TenantName | None, wanted: Filter, after: int, limit: int
    ) -> EventPage:
        """The events of a tenant, or of the platform (None), oldest first."""
        await self._guard.perform(call, LIST, parent, lambda: Outcome(None))
        return await asyncio.to_thread(self._page, _owner(parent), wanted, after, limit)

    def _page(self, tenant: str, wanted: Filter, after: int, limit: int) -> EventPage:
        found: list[dict[str, Any]] = []
        looked_at = 0
        while looked_at < MAX_LOOKED_AT:
            batch = self._store.events(after, BATCH)
            for event in batch:
                after = event.sequence
                body = json.loads(event.body)
                if body["tenant"] == tenant and wanted.passes(body):
                    found.append(body)
                    if len(found) == limit:
                        return EventPage(tuple(found), after)
            looked_at += len(batch)
            if len(batch) < BATCH:
                return EventPage(tuple(found), 0)
        return EventPage(tuple(found), after)

    async def export(
        self, call: Call, parent: TenantName | None, after: int
    ) -> Iterator[ExportedEvent | SignedCheckpoint]:
        """The chain above `after` as `kms.audit.export.links` gives it; a fresh checkpoint ends it, and what
        comes after that is not in it, however slowly it is read.

        Visible are the events of the tenant, or of the platform (None).

        Raises `InvalidField` unless `after` is 0 or the sequence number of a checkpoint.
        """
        await self._guard.perform(call, EXPORT, parent, lambda: Outcome(None))
        last = await asyncio.wrap_future(self._store.checkpoint())
        return self._links(_owner(parent), after, last.checkpoint.sequence)

    def _links(self, tenant: str, after: int, through: int) -> Iterator[ExportedEvent | SignedCheckpoint]:
        for link in links(self._store, after, through):
            yield link if isinstance(link, SignedCheckpoint) else exported(link, tenant)

    async def checkpoint(self, call: Call) -> SignedCheckpoint:
        """A checkpoint made now. It names no tenant, so operators and auditors of any tenant may have it."""
        scope = None if call.caller.tenant is None else TenantName(call.caller.tenant)
        await self._guard.perform(call, CHECKPOINT, scope, lambda: Outcome(None))
        return await asyncio.wrap_future(self._store.checkpoint())


def exported(event: StoredEvent, owner: str) -> ExportedEvent:
    """For a reader who may see the events of that tenant, or of the platform ("")."""
    return ExportedEvent(event, is_visible(event, owner))


def _owner(parent: TenantName | None) -> str:
    """Whose events: what an event's `tenant` is."""
    return "" if parent is None else parent.tenant
