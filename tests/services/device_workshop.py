"""A KMS with a device, and what tests ask of both."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from device.softhsm import SoftHsm, softhsm
from services.conftest import AUTHOR, Kms, make_kms
from services.test_cryptography import NAME, POLICY, RULES, change

from kms.crypto.device.device import Device
from kms.main.parts import device_label
from kms.model.device_handle import DeviceHandle
from kms.model.lifecycle import Verb
from kms.model.names import KeyName
from kms.model.records import KeyVersionRecord, RemnantRecord
from kms.model.sensitivity import Sensitivity
from kms.services.fresh_versions import REMNANT_REST
from kms.services.keys import version_row

__all__ = ["softhsm"]

HIGH = Sensitivity.HIGH
MEDIUM = KeyName("acme", "prod", "medium")


@pytest.fixture
def device(softhsm: SoftHsm) -> Iterator[Device]:
    device = Device(softhsm.new_token())
    yield device
    device.close()


@pytest.fixture
def kms(tmp_path: Path, device: Device) -> Iterator[Kms]:
    """With the device, and a KMS policy that allows app=orders."""
    with make_kms(tmp_path, device) as made:
        made.run(made.parts.kms_policies.create(made.call(AUTHOR), POLICY, RULES, ""))
        yield made


def row(kms: Kms, number: int = 1, name: KeyName = NAME) -> KeyVersionRecord:
    return kms.parts.repository.require(KeyVersionRecord, version_row(name, number)).record


def in_device(kms: Kms, device: Device) -> frozenset[DeviceHandle]:
    return device.find(device_label(kms.vault))


def destroy(kms: Kms) -> int:
    """Version 1 of the key, after its delay; how many versions were destroyed."""
    change(kms, Verb.SCHEDULE_DESTROY)
    kms.pass_time(timedelta(days=31))
    return kms.run(kms.parts.upkeep.destroy_due(kms.now))


def remnants(kms: Kms) -> list[str]:
    return [loaded.name for loaded in kms.parts.repository.all(RemnantRecord)]


def sweep(kms: Kms, after: timedelta = REMNANT_REST) -> int:
    return kms.run(kms.parts.fresh.sweep(kms.now + after))
