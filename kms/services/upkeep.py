"""Keys that change by themselves: rotated on schedule or near their budget's end, destroyed when due.

Called by the scheduler. Whatever was due while no server ran is found at the next look; of two servers, or
of a caller and the scheduler, the slower one conflicts and leaves it.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from kms.errors import KmsError, NotFound
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.names import KeyName
from kms.model.records import DueRecord, KeyRecord
from kms.services.agenda import DESTROY, ROTATE, Agenda
from kms.services.fresh_versions import FreshVersions
from kms.services.guard import ALLOW, Guard
from kms.services.key_versions import KeyVersions, name_of
from kms.services.keys import Keys
from kms.services.repository import Loaded, Repository
from kms.storage.interface import Change, WriteConflict

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The parts it works with. `wanted` are versions that near the end of their budget; see `want`."""

    guard: Guard
    repository: Repository
    agenda: Agenda
    keys: Keys
    versions: KeyVersions
    fresh: FreshVersions
    wanted: set[tuple[KeyName, int]] = field(default_factory=set)

    def want(self, name: KeyName, version: int = 0) -> None:
        """Have a key rotated soon, if that version is still its primary then; 0 for whichever is."""
        self.wanted.add((name, version))

    async def rotate_wanted(self, now: datetime) -> int:
        """Rotate the keys whose primary nears its budget's end; how many were.

        One that fails is logged and stays wanted; it does not keep the others waiting.
        """
        rotated, failed = 0, set()
        while self.wanted:
            name, version = wanted = self.wanted.pop()
            loaded = self.repository.load(KeyRecord, str(name))
            if loaded is None or version not in (0, loaded.record.primary):
                continue
            try:
                rotated += await self.rotate(name, now, "budget")
            except KmsError as error:
                _log.error("the rotation of %s failed: %s", name, error)
                failed.add(wanted)
        self.wanted.update(failed)
        return rotated

    async def rotate_due(self, now: datetime) -> int:
        """Rotate every key whose time has come; how many were."""
        return await self._each_due(ROTATE, now, self._rotate_entry)

    async def _rotate_entry(self, entry: Loaded[DueRecord], now: datetime) -> bool:
        name = KeyName.parse(entry.record.target)
        loaded = self.repository.load(KeyRecord, str(name))
        if loaded is None or loaded.record.next_rotation_time is None:
            await self._commit("Kms.ForgetRotation", name, [entry.delete()], now)
            return False
        return await self.rotate(name, now, "schedule")

    async def rotate(self, name: KeyName, now: datetime, why: str) -> bool:
        """One rotation; False if somebody else was faster."""
        loaded = self.repository.load(KeyRecord, str(name))
        if loaded is None:
            raise NotFound(str(name))
        async with self.keys.drawn(name, loaded.record, now) as version:
            key, changes = self.keys.rotation(name, version, now)
            details = {"why": why, "version": str(key.record.primary)}
            return await self._commit("Kms.RotateKey", name, changes, now, details)

    async def destroy_due(self, now: datetime) -> int:
        """Overwrite the bytes of every version whose time has come; how many were."""
        return await self._each_due(DESTROY, now, self._destroy_entry)

    async def _destroy_entry(self, entry: Loaded[DueRecord], now: datetime) -> bool:
        version = name_of(entry.record.target)
        handle = self.versions.due_handle(entry)
        if handle is not None:
            await self.fresh.destroy(handle)
        changes = self.versions.destruction(entry, now)
        details = {"version": str(version.version)}
        return await self._commit("Kms.DestroyKeyVersion", version.key_name, changes, now, details)

    async def _each_due(
        self, what: str, now: datetime, act: Callable[[Loaded[DueRecord], datetime], Awaitable[bool]]
    ) -> int:
        """One that fails is logged and stays due; it does not keep the others waiting."""
        done = 0
        for entry in self.agenda.due(now):
            if entry.record.what != what:
                continue
            try:
                done += await act(entry, now)
            except KmsError as error:
                _log.error("%s of %s failed: %s", what, entry.record.target, error)
        return done

    async def _commit(
        self,
        action: str,
        name: KeyName,
        changes: list[Change],
        now: datetime,
        details: dict[str, str] | None = None,
    ) -> bool:
        event = AuditEvent(
            time=timestamp(now),
            action=action,
            caller="",
            tenant=name.tenant,
            resource=str(name),
            decision=ALLOW,
            details=details or {},
        )
        try:
            await self.guard.commit(changes, [event])
        except WriteConflict:
            return False
        return True
