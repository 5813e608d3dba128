"""Whether the device holds what the store says that it holds: looked for, or said not to be."""

from collections.abc import Iterator
from secrets import token_bytes

import pytest
from device.softhsm import SoftHsm, softhsm

from kms.crypto.device.device import Device
from kms.main.device_presence import DevicePresence, Presence
from kms.model.algorithms import ALGORITHMS
from kms.model.device_handle import DeviceHandle
from kms.model.finding import Invariant

__all__ = ["softhsm"]


@pytest.fixture
def device(softhsm: SoftHsm) -> Iterator[Device]:
    device = Device(softhsm.new_token())
    yield device
    device.close()


def made(device: Device, number: int, algorithm: str = "AES_256_GCM") -> tuple[str, DeviceHandle]:
    """A row, and where its key is."""
    key = device.generate(ALGORITHMS[algorithm], token_bytes(16), f"label {number}")
    return f"tenants/acme/namespaces/prod/keys/k{number}/0000000001", key.handle


def test_keys_are_found_whatever_they_are_labelled_and_one_that_is_gone_is_named(device: Device) -> None:
    placed = dict([made(device, 1), made(device, 2), made(device, 3, "RSA_PSS_2048_SHA256")])
    presence = DevicePresence(device)
    presence.look()
    assert list(presence.missing(placed)) == []
    assert presence.of(placed) == Presence(looked_for=3)
    lost = sorted(placed)[1]
    device.destroy(placed[lost])
    presence = DevicePresence(device)
    presence.look()
    [finding] = presence.missing(placed)
    assert (finding.invariant, finding.subject) == (Invariant.REFERENCE, f"keyVersions {lost}")
    assert str(placed[lost]) in finding.problem


def test_what_a_server_made_or_destroyed_meanwhile_is_not_missing(device: Device) -> None:
    """The store is read between two looks."""
    row, destroyed = made(device, 1)
    presence = DevicePresence(device)
    presence.look()
    device.destroy(destroyed)
    other, fresh = made(device, 2)
    presence.look()
    assert list(presence.missing({row: destroyed, other: fresh})) == []


def test_a_device_that_cannot_be_reached_is_not_looked_into_and_that_is_said(
    device: Device, softhsm: SoftHsm
) -> None:
    placed = dict([made(device, 1)])
    device.close()
    softhsm.files_of("kms").rename(softhsm.directory / "away")
    for absent in (Device(device._settings), None):
        presence = DevicePresence(absent)
        presence.look()
        found = presence.of(placed)
        assert (found.looked_for, found.not_looked_for, bool(found.trouble)) == (0, 1, True)
        assert list(presence.missing(placed)) == []
        if absent is not None:
            assert "cannot be reached" in found.trouble
            absent.close()


def test_keys_of_another_device_are_not_looked_for(device: Device) -> None:
    placed = dict([made(device, 1)])
    elsewhere = DeviceHandle("ABC123", token_bytes(16))
    presence = DevicePresence(device)
    presence.look()
    found = presence.of(placed | {"other": elsewhere})
    assert (found.looked_for, found.not_looked_for) == (1, 1)
    assert "serial number" in found.trouble
    assert list(presence.missing({"other": elsewhere})) == []


def test_without_high_keys_there_is_nothing_to_say() -> None:
    presence = DevicePresence(None)
    presence.look()
    assert presence.of({}) == Presence()
