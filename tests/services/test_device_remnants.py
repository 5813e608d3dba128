"""Keys in the device that end with their version, their tenant, or the call that came to nothing."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from device.softhsm import SoftHsm
from services.conftest import KEY_ADMIN, Kms
from services.device_workshop import HIGH, destroy, device, in_device, kms, remnants, row, softhsm, sweep
from services.test_cryptography import NAME, POLICY, add_key, change, one
from services.test_tenant_destruction import schedule

from kms.crypto.device.device import Device
from kms.errors import (
    AlreadyExists,
    DeviceUnavailable,
    KmsError,
    WrongState,
)
from kms.main.parts import device_label
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.device_handle import DeviceHandle
from kms.model.lifecycle import Verb, VersionState
from kms.services.cryptography import Plain, Sealed
from kms.services.fresh_versions import REMNANT_REST, remnant_row
from kms.services.keys import KeySettings

__all__ = ["device", "kms", "softhsm"]


def test_destruction_ends_the_key_in_the_device(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    sealed = one(kms, "encrypt", Plain(b"x"))
    assert destroy(kms) == 1
    record = row(kms)
    assert (record.state, record.handle) == (VersionState.DESTROYED, "")
    assert in_device(kms, device) == frozenset()
    with pytest.raises(WrongState):
        one(kms, "decrypt", Sealed(sealed.data))


def test_destruction_waits_for_its_device(kms: Kms, softhsm: SoftHsm, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    files, away = softhsm.files_of("kms"), softhsm.directory / "away"
    files.rename(away)
    assert destroy(kms) == 0
    assert row(kms).state == VersionState.DESTROY_SCHEDULED
    away.rename(files)
    device._monotonic = lambda: 1e9
    assert kms.run(kms.parts.upkeep.destroy_due(kms.now)) == 1
    assert (row(kms).state, in_device(kms, device)) == (VersionState.DESTROYED, frozenset())


def test_destruction_that_a_crash_cut_short_is_ended_and_not_taken_back(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    change(kms, Verb.SCHEDULE_DESTROY)
    kms.pass_time(timedelta(days=31))
    device.destroy(DeviceHandle.parse(row(kms).handle))
    with pytest.raises(WrongState, match="has begun"):
        change(kms, Verb.CANCEL_DESTROY)
    assert kms.run(kms.parts.upkeep.destroy_due(kms.now)) == 1
    assert row(kms).state == VersionState.DESTROYED


def test_destruction_can_be_cancelled_until_it_is_due(kms: Kms) -> None:
    add_key(kms, sensitivity=HIGH)
    sealed = one(kms, "encrypt", Plain(b"x"))
    change(kms, Verb.SCHEDULE_DESTROY)
    change(kms, Verb.CANCEL_DESTROY)
    change(kms, Verb.ENABLE)
    assert one(kms, "decrypt", Sealed(sealed.data)).data == b"x"


def test_what_a_refused_call_left_in_the_device_is_swept(kms: Kms, device: Device) -> None:
    policy = replace(POLICY, policy="nobody")
    with pytest.raises(KmsError, match="does not exist"):
        add_key(kms, sensitivity=HIGH, policy=policy)
    assert len(in_device(kms, device)) == 1
    assert sweep(kms, REMNANT_REST - timedelta(seconds=1)) == 0
    assert sweep(kms) == 1
    assert (in_device(kms, device), remnants(kms), sweep(kms)) == (frozenset(), [], 0)


def test_a_repeated_creation_makes_no_second_key(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    with pytest.raises(AlreadyExists):
        add_key(kms, sensitivity=HIGH)
    assert (len(in_device(kms, device)), remnants(kms)) == (1, [])


def test_a_device_that_was_exchanged_meanwhile_keeps_no_key(
    kms: Kms, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    serials = iter(["another"])
    monkeypatch.setattr(device, "connect", lambda: next(serials))
    with pytest.raises(DeviceUnavailable, match="exchanged meanwhile"):
        add_key(kms, sensitivity=HIGH)
    assert in_device(kms, device) == frozenset()


def test_nothing_is_swept_that_is_about_to_be_stored(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)

    async def slowly() -> int:
        record = kms.parts.keys._key(NAME).record
        async with kms.parts.keys.drawn(NAME, record, kms.now) as fresh:
            swept = await kms.parts.fresh.sweep(kms.now + REMNANT_REST)
            _, changes = kms.parts.keys.rotation(NAME, fresh, kms.now)
            await kms.parts.guard.commit(changes, [kms.call(KEY_ADMIN).event("Test", str(NAME), "ALLOW")])
        return swept

    assert kms.run(slowly()) == 0
    assert (sweep(kms), len(in_device(kms, device))) == (0, 2)


def test_a_caller_who_hangs_up_leaves_nothing_for_good(kms: Kms, device: Device) -> None:
    async def hang_up() -> None:
        settings = KeySettings(sensitivity=HIGH)
        creating = kms.parts.keys.create(
            kms.call(KEY_ADMIN), NAME, Purpose.ASYMMETRIC_SIGN, "RSA_PSS_4096_SHA256", settings, ""
        )
        task = asyncio.create_task(creating)
        while not kms.parts.fresh._making and not task.done():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await kms.parts.fresh.sweep(kms.now + REMNANT_REST) == 0

    kms.run(hang_up())
    [job] = kms.parts.fresh._making.values()
    assert job.result(60)
    assert sweep(kms) == 1
    assert in_device(kms, device) == frozenset()


def test_a_newer_key_of_another_copy_of_the_store_is_told_and_left_alone(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    label = device_label(kms.vault)
    stray = device.generate(ALGORITHMS["AES_256_GCM"], bytes(range(16)), label).handle
    known = frozenset({DeviceHandle.parse(row(kms).handle)})
    assert kms.run(kms.parts.fresh.strays(known)) == {stray}
    assert sweep(kms) == 0
    assert stray in in_device(kms, device)


def test_a_destroyed_tenant_s_keys_end_in_the_device(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    [handle] = in_device(kms, device)
    schedule(kms)
    kms.pass_time(timedelta(days=31))
    assert kms.run(kms.parts.tenant_destruction.destroy_due(kms.now)) == 1
    assert remnants(kms) == [remnant_row(handle)]
    assert sweep(kms) == 1
    assert in_device(kms, device) == frozenset()
