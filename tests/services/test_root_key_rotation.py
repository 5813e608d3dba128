"""The service that rotates the root key: told, taken up, tried again, and for operators alone."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from services.conftest import ADMIN, OPERATOR, Kms

from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.interface import RootKeyRecord, RootOfTrust
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.errors import Denied, NotFound, RotationUnderWay, Unavailable
from kms.main.status import StatusReport
from kms.services import root_key_rotation
from kms.services.root_key_rotation import RootKeyRotation, RotationProgress


async def with_steps(rotation: RootKeyRotation, act: Coroutine[None, None, None]) -> None:
    """Act while the steps are taken, as in a server."""
    running = asyncio.create_task(rotation.run())
    try:
        await act
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def ended(kms: Kms) -> None:
    """Wait for it."""
    async with asyncio.timeout(20):
        while kms.vault.store.rekeying() is not None:
            await asyncio.sleep(0.01)


def run(kms: Kms, act: Callable[[RootKeyRotation], Coroutine[None, None, None]]) -> None:
    async def go() -> None:
        rotation = RootKeyRotation(kms.parts.guard, kms.vault)
        await with_steps(rotation, act(rotation))

    kms.run(go())


def test_progress_is_told_and_key_versions_stay_as_they_are(kms: Kms) -> None:
    kms.add_key()
    versions = kms.vault.store.scan("blindfoldKeys")
    tenant_keys = kms.vault.store.scan("tenantKey")
    told: list[RotationProgress] = []

    async def act(rotation: RootKeyRotation) -> None:
        told.extend([item async for item in rotation.rotate(kms.call(OPERATOR))])
        with pytest.raises(NotFound):
            await rotation.progress(kms.call(OPERATOR))

    run(kms, act)
    assert (told[0].count, told[0].total) == (0, told[-1].total)
    assert told[-1].done
    assert not any(item.done for item in told[:-1])
    assert all(item.count <= item.total for item in told)
    assert kms.vault.store.scan("blindfoldKeys") == versions
    assert kms.vault.store.scan("tenantKey") != tenant_keys
    [begun] = [event for event in kms.events() if event["action"] == "RotateRootKey"]
    assert (begun["caller"], begun["decision"]) == (OPERATOR.spiffe_id, "ALLOW")
    steps = [event["details"]["left"] for event in kms.events() if event["action"] == "Kms.RotateRootKey"]
    assert (steps[0], steps[-1]) == ("events", "nothing")


def test_what_a_crash_interrupted_is_taken_up_by_itself(kms: Kms) -> None:
    event = kms.call(OPERATOR).event("Test.Rotate", "", "ALLOW")
    kms.vault.begin_rotation(kms.vault.root_of_trust, lambda details: event)

    async def act(rotation: RootKeyRotation) -> None:
        await ended(kms)

    run(kms, act)
    assert kms.vault.root.all_keys.previous is None


def test_the_status_says_whether_one_is_under_way(kms: Kms) -> None:
    report = StatusReport(kms.parts.guard, kms.vault, kms.parts.repository, kms.now)
    event = kms.call(OPERATOR).event("Test.Rotate", "", "ALLOW")
    told = []
    for act in (lambda: None, lambda: kms.vault.begin_rotation(None, lambda details: event)):
        act()
        told.append(kms.run(report(kms.call(OPERATOR))).root_key_rotating)
    while kms.vault.store.rekeying() is not None:
        kms.vault.step_rotation()
    told.append(kms.run(report(kms.call(OPERATOR))).root_key_rotating)
    assert told == [False, True, False]


def test_a_rotation_that_is_under_way_is_shown_and_a_second_one_refused_and_recorded(kms: Kms) -> None:
    event = kms.call(OPERATOR).event("Test.Rotate", "", "ALLOW")
    kms.vault.begin_rotation(kms.vault.root_of_trust, lambda details: event)
    rotation = RootKeyRotation(kms.parts.guard, kms.vault)
    shown = kms.run(rotation.progress(kms.call(OPERATOR)))
    assert (shown.count, shown.done, shown.problem) == (0, False, "")
    assert shown.total > 10
    assert shown.create_time is not None

    async def rotate() -> None:
        async for _ in rotation.rotate(kms.call(OPERATOR)):
            pass

    with pytest.raises(RotationUnderWay):
        kms.run(rotate())
    assert (kms.last_event()["decision"], kms.last_event()["reason"]) == ("FAIL", "ROTATION_UNDER_WAY")


def test_a_step_that_fails_is_told_and_tried_again(
    kms: Kms, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(root_key_rotation, "RETRY_AFTER", 0.2)
    step, failures = kms.vault.step_rotation, iter([True])

    def failing() -> None:
        if next(failures, False):
            raise Unavailable("the disk is full")
        step()

    monkeypatch.setattr(kms.vault, "step_rotation", failing)

    async def act(rotation: RootKeyRotation) -> None:
        with pytest.raises(Unavailable, match="the disk is full"):
            async for _ in rotation.rotate(kms.call(OPERATOR)):
                pass
        assert (await rotation.progress(kms.call(OPERATOR))).problem == "UNAVAILABLE"
        await ended(kms)

    with caplog.at_level(logging.ERROR):
        run(kms, act)
    assert "the disk is full" in caplog.text


def test_it_is_not_done_while_a_reader_keeps_the_old_root_key_in_the_files(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_key_rotation, "TELL_EVERY", 0.01)
    told: list[RotationProgress] = []

    async def rotate(rotation: RootKeyRotation) -> None:
        told.extend([item async for item in rotation.rotate(kms.call(OPERATOR))])

    async def act(rotation: RootKeyRotation) -> None:
        with kms.vault.store.moment():
            rotating = asyncio.create_task(rotate(rotation))
            await asyncio.sleep(0.05)
            await ended(kms)
            waited, _ = await asyncio.wait({rotating}, timeout=0.2)
            assert not waited
        await rotating

    run(kms, act)
    assert told[-1].done


def test_who_waits_is_told_that_the_old_root_key_is_still_in_the_files(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = kms.vault.step_rotation

    def unerased() -> None:
        step()
        if kms.vault.store.rekeying() is None:
            raise Unavailable("another process reads the store")

    monkeypatch.setattr(kms.vault, "step_rotation", unerased)

    async def act(rotation: RootKeyRotation) -> None:
        with pytest.raises(Unavailable, match="another process"):
            async for _ in rotation.rotate(kms.call(OPERATOR)):
                pass

    run(kms, act)


class Waiting:
    """A root of trust that protects a root key once it may."""

    def __init__(self, inner: RootOfTrust) -> None:
        self._inner = inner
        self.provider, self.warning = inner.provider, inner.warning
        self.asked, self.may = threading.Event(), threading.Event()
        self.unlock = inner.unlock

    def protect(self, root_key: SecretBytes, store_id: bytes) -> RootKeyRecord:
        self.asked.set()
        assert self.may.wait(20)
        return self._inner.protect(root_key, store_id)


def test_a_change_of_the_root_of_trust_just_before_is_not_undone(
    kms: Kms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new = Waiting(Keyfile.create(tmp_path / "another"))
    event = kms.call(OPERATOR).event("Test.Change", "", "ALLOW")
    begin, begun = kms.vault.begin_rotation, threading.Event()

    def beginning(*arguments: Any) -> object:
        begun.set()
        return begin(*arguments)

    monkeypatch.setattr(kms.vault, "begin_rotation", beginning)

    async def rotate(rotation: RootKeyRotation) -> None:
        assert [item async for item in rotation.rotate(kms.call(OPERATOR))][-1].done

    async def act(rotation: RootKeyRotation) -> None:
        old = kms.vault.root_of_trust
        changing = asyncio.to_thread(kms.vault.exchange_provider, old, new, lambda details: event)
        both = asyncio.gather(changing, rotate(rotation))
        await asyncio.to_thread(new.asked.wait, 20)
        await asyncio.to_thread(begun.wait, 20)
        new.may.set()
        await both

    run(kms, act)
    assert kms.vault.root_of_trust is new
    new.unlock(kms.vault.recorded_keys()[1]).wipe()


def test_a_beginning_that_is_committed_and_not_vouched_for_goes_on(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint file cannot be written: the caller hears of it, and the rotation is under way."""
    begin = kms.vault.begin_rotation

    def unvouched(*arguments: Any) -> None:
        begin(*arguments)
        raise Unavailable("the checkpoint file cannot be written")

    monkeypatch.setattr(kms.vault, "begin_rotation", unvouched)

    async def act(rotation: RootKeyRotation) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="checkpoint file"):
            await anext(rotation.rotate(kms.call(OPERATOR)))
        await ended(kms)

    run(kms, act)


def test_who_hangs_up_leaves_a_rotation_that_comes_to_its_end(kms: Kms) -> None:
    async def act(rotation: RootKeyRotation) -> None:
        telling = rotation.rotate(kms.call(OPERATOR))
        first = asyncio.create_task(anext(telling))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        async with asyncio.timeout(20):
            while "nothing" not in [event["details"].get("left") for event in kms.events()]:
                await asyncio.sleep(0.01)

    run(kms, act)
    assert kms.vault.store.rekeying() is None


def test_tenants_have_nothing_to_do_with_it(kms: Kms) -> None:
    rotation = RootKeyRotation(kms.parts.guard, kms.vault)
    with pytest.raises(Denied):
        kms.run(rotation.progress(kms.call(ADMIN)))
    with pytest.raises(Denied):
        kms.run(anext(rotation.rotate(kms.call(ADMIN))))
    assert kms.vault.store.rekeying() is None
