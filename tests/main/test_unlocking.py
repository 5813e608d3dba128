"""The lock of a server: opened by shares, also where who gave the last one does not wait."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import create_store
from kms.crypto.root_of_trust.shamir import Shamir
from kms.errors import Locked, StoreTampered, WrongState
from kms.main.unlocking import Lock, NotLocked, Unlocked
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import LockedStore, Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESS = "192.0.2.1"


class Place:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "store.sqlite"
        self.settings = Settings(CheckpointFile(directory / "checkpoint"))
        provider, self.shares = Shamir.create(2, 3)
        create_store(self.path, self.settings, provider).close()

    def share(self, number: int) -> SecretBytes:
        return SecretBytes(self.shares[number].reveal())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def locked(place: Place) -> Iterator[LockedStore]:
    store = LockedStore.open(place.path)
    yield store
    store.close()


def test_last_share_opens_the_store_and_its_event_is_there(place: Place, locked: LockedStore) -> None:
    async def unlock() -> Unlocked:
        lock = Lock(locked, place.settings, accept_rollback=False)
        assert (await lock.unlock(place.share(0), ADDRESS, NOW)).given == 1
        assert await lock.settled() is None
        assert (await lock.unlock(place.share(2), ADDRESS, NOW)).locked is False
        with pytest.raises(Locked):
            await lock.unlock(place.share(1), ADDRESS, NOW)
        return lock.opened.result()

    unlocked = asyncio.run(unlock())
    assert [event.action for event in unlocked.events] == ["Kms.Unlock"]
    assert b"Kms.Unlock" in unlocked.vault.store.events()[-1].body
    unlocked.vault.close()


def test_who_hangs_up_after_the_last_share_unlocks_nevertheless(
    place: Place, locked: LockedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    opening = Unlocked.by

    def slowly(*arguments: object, **how: object) -> Unlocked:
        begun.set()
        assert go_on.wait(20)
        return opening(*arguments, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Unlocked, "by", slowly)

    async def unlock() -> Unlocked | None:
        lock = Lock(locked, place.settings, accept_rollback=False)
        await lock.unlock(place.share(0), ADDRESS, NOW)
        last = asyncio.create_task(lock.unlock(place.share(1), ADDRESS, NOW))
        assert await asyncio.to_thread(begun.wait, 20)
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        with pytest.raises(Locked):
            await lock.unlock(place.share(2), ADDRESS, NOW)
        go_on.set()
        return await lock.settled()

    unlocked = asyncio.run(unlock())
    assert unlocked is not None
    unlocked.vault.close()


def test_store_that_does_not_open_stays_locked_and_the_shares_are_forgotten(
    place: Place, locked: LockedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **how: object) -> Unlocked:
        raise StoreTampered("a row was changed")

    monkeypatch.setattr(Unlocked, "by", fail)

    async def unlock() -> None:
        lock = Lock(locked, place.settings, accept_rollback=False)
        await lock.unlock(place.share(0), ADDRESS, NOW)
        with pytest.raises(StoreTampered):
            await lock.unlock(place.share(1), ADDRESS, NOW)
        assert (lock.status(NOW).locked, lock.status(NOW).given) == (True, 0)
        assert (await lock.unlock(place.share(1), ADDRESS, NOW)).given == 1

    asyncio.run(unlock())


def test_unlocked_server_takes_no_share(place: Place, locked: LockedStore) -> None:
    share = place.share(0)

    class Vault:
        provider = "shamir"

    free = NotLocked(Vault())  # type: ignore[arg-type]
    assert free.status(NOW).locked is False
    with pytest.raises(WrongState):
        asyncio.run(free.unlock(share, ADDRESS, NOW))
    assert share.reveal() == bytes(len(share))
