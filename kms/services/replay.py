"""What was destroyed after a backup is destroyed again, before anybody is served from what was restored."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from kms.crypto.key_hierarchy import TENANT_KEY
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.device_handle import DeviceHandle
from kms.model.lifecycle import VersionState
from kms.model.names import KeyName, TenantName
from kms.model.records import BlindfoldKeyRecord, KeyRecord, KeyVersionRecord, PrimaryRecord, RemnantRecord
from kms.services import blindfold_keys, key_versions
from kms.services.agenda import DESTROY, Agenda
from kms.services.fresh_versions import remnant_row
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Repository, create
from kms.services.tenant_destruction import TenantDestruction
from kms.services.tombstones import Place
from kms.storage.interface import Change

# Why the events of this module say that something was destroyed.
WHY = "trail"


@dataclass(frozen=True, slots=True)
class Replay:
    """Works on a store that nobody is served from. `headless` are keys whose primary version is gone."""

    guard: Guard
    repository: Repository
    agenda: Agenda
    tenants: TenantDestruction
    headless: set[KeyName] = field(default_factory=set)

    async def destroy(self, places: Iterable[Place], now: datetime) -> int:
        """How many of these were there. Each has an event, as when it was destroyed first."""
        acts: Mapping[str, Callable[[str, datetime], Awaitable[bool]]] = MappingProxyType(
            {
                TENANT_KEY: self._destroy_tenant,
                KeyVersionRecord.KIND: self._destroy_version,
                BlindfoldKeyRecord.KIND: self._destroy_blindfold_key,
            }
        )
        done = 0
        for kind, name in places:
            done += await acts[kind](name, now)
        return done

    async def _destroy_tenant(self, name: str, now: datetime) -> bool:
        return await self.tenants.destroy(TenantName.parse(name), now)

    async def _destroy_version(self, row: str, now: datetime) -> bool:
        loaded = self.repository.load(KeyVersionRecord, row)
        if loaded is None or loaded.record.state == VersionState.DESTROYED:
            return False
        name = key_versions.name_of(row)
        changes: list[Change] = [key_versions.destroyed(loaded, now)]
        changes += self.agenda.move(DESTROY, row, loaded.record.destroy_time, None)
        if loaded.record.handle:
            remnant = remnant_row(DeviceHandle.parse(loaded.record.handle))
            changes.append(create(remnant, RemnantRecord(now)))
        details = {"version": str(name.version)}
        await self._commit("Kms.DestroyKeyVersion", name.tenant, str(name.key_name), changes, details, now)
        key = self.repository.load(KeyRecord, str(name.key_name))
        if key is not None and key.record.primary == name.version:
            self.headless.add(name.key_name)
        return True

    async def _destroy_blindfold_key(self, row: str, now: datetime) -> bool:
        """Without it, no version is the primary one if this was."""
        loaded = self.repository.load(BlindfoldKeyRecord, row)
        if loaded is None or loaded.record.state == VersionState.DESTROYED:
            return False
        name = blindfold_keys.name_of(row)
        primary = self.repository.require(PrimaryRecord, f"tenants/{name.tenant}")
        changes: list[Change] = [blindfold_keys.destroyed(loaded, now)]
        if primary.record.version == name.version:
            changes.append(primary.put(replace(primary.record, version=0)))
        await self._commit("Kms.DestroyBlindfoldKey", name.tenant, str(name), changes, {}, now)
        return True

    async def _commit(
        self,
        action: str,
        tenant: str,
        resource: str,
        changes: list[Change],
        details: Mapping[str, str],
        now: datetime,
    ) -> None:
        event = AuditEvent(
            time=timestamp(now),
            action=action,
            caller="",
            tenant=tenant,
            resource=resource,
            decision=ALLOW,
            details={**details, "why": WHY},
        )
        await self.guard.commit(changes, [event])
