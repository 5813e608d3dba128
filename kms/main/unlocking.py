"""The lock of a server whose root of trust is shares."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import AuthenticatedStore, read_record, unlock_store
from kms.crypto.root_of_trust.interface import RootOfTrust
from kms.crypto.root_of_trust.shamir import Shamir, ShareSet
from kms.errors import Locked, WrongState
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.lock_status import LockStatus
from kms.services.share_gathering import Given, ShareGathering
from kms.storage.sqlite import LockedStore, Settings


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An unlocked store, and the events of its unlocking, which it has already."""

    vault: AuthenticatedStore
    events: Sequence[AuditEvent] = ()

    @classmethod
    def by(
        cls, provider: RootOfTrust, locked: LockedStore, settings: Settings, *, accept_rollback: bool
    ) -> Self:
        """Raises as `unlock_store`."""
        return cls(unlock_store(locked, settings, provider, accept_rollback=accept_rollback))


class NotLocked:
    """What a server that is unlocked does about its lock: `kms.server.servicers.unlock.Unlocking`."""

    def __init__(self, vault: AuthenticatedStore) -> None:
        self._vault = vault

    def status(self, now: datetime) -> LockStatus:
        return LockStatus(locked=False, root_of_trust=self._vault.provider)

    async def unlock(self, share: SecretBytes, address: str, now: datetime) -> LockStatus:
        """Raises `WrongState`."""
        share.wipe()
        raise WrongState("the server is not locked")


class Lock:
    """Gathers shares, and opens the store when they are enough: see `kms.server.servicers.unlock`."""

    def __init__(self, locked: LockedStore, settings: Settings, *, accept_rollback: bool) -> None:
        """Raises `StoreTampered`, `ConfigError`."""
        self._locked = locked
        self._settings = settings
        self._accept_rollback = accept_rollback
        self._record = read_record(locked)
        self._gathering = ShareGathering(ShareSet.of(self._record))
        self._since = datetime.now(UTC)
        self._opening: asyncio.Future[Unlocked] | None = None
        self.opened: asyncio.Future[Unlocked] = asyncio.get_running_loop().create_future()

    def status(self, now: datetime) -> LockStatus:
        given, expire_time = self._gathering.progress(now)
        is_locked = not self.opened.done()
        return LockStatus(is_locked, Shamir.provider, self._gathering.threshold, given, expire_time)

    async def unlock(self, share: SecretBytes, address: str, now: datetime) -> LockStatus:
        """Raises as `ShareGathering.give`; with the last share, as `unlock_store`: then all are forgotten."""
        if self._opening is not None or self.opened.done():
            raise Locked
        if self._gathering.give(share, address, now):
            work = asyncio.to_thread(self._open, self._gathering.take(), now)
            self._opening = asyncio.ensure_future(work)
            self._opening.add_done_callback(self._settle)
            # Whoever gave the last share may hang up; the store is opened all the same.
            await asyncio.shield(self._opening)
        return self.status(now)

    async def settled(self) -> Unlocked | None:
        """What became of it, once nothing is under way any more."""
        if self._opening is not None:
            await asyncio.wait({self._opening})
        return self.opened.result() if self.opened.done() else None

    def _settle(self, opening: "asyncio.Future[Unlocked]") -> None:
        self._opening = None
        if opening.exception() is None:
            self.opened.set_result(opening.result())

    def _open(self, given: Sequence[Given], now: datetime) -> Unlocked:
        try:
            provider = Shamir.combine(self._record, [item.share for item in given])
        finally:
            for item in given:
                item.share.wipe()
        unlocked = Unlocked.by(provider, self._locked, self._settings, accept_rollback=self._accept_rollback)
        event = self._event(given, now)
        unlocked.vault.store.commit([], [event]).result()
        return replace(unlocked, events=[event])

    def _event(self, given: Sequence[Given], now: datetime) -> AuditEvent:
        givers = {f"share_{item.number}": item.giver for item in given}
        counts = {"locked_since": timestamp(self._since), "refused_shares": str(self._gathering.refused)}
        return AuditEvent(timestamp(now), "Kms.Unlock", "", "", "", "ALLOW", details=givers | counts)
