"""A device takes the place of another root of trust while the store is open, and gives it back."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from device.softhsm import SoftHsm, softhsm
from rotating import rotate

from kms.audit.authenticated_store import create_store, open_store, store_keys
from kms.crypto.device.device import Device
from kms.crypto.root_of_trust.interface import WrongRootMaterial
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.crypto.root_of_trust.pkcs11 import LABEL, Pkcs11
from kms.errors import ConfigError
from kms.model.audit_event import AuditEvent
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

__all__ = ["softhsm"]


def told(details: Mapping[str, str]) -> AuditEvent:
    return AuditEvent("2026-01-02T03:04:05.000000Z", "Test.Act", "", "", "", "ALLOW", details=details)


@pytest.fixture
def device(softhsm: SoftHsm) -> Iterator[Device]:
    device = Device(softhsm.new_token())
    yield device
    device.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(CheckpointFile(tmp_path / "checkpoint.json"))


def test_a_device_takes_the_place_of_a_keyfile_and_back(
    tmp_path: Path, settings: Settings, device: Device
) -> None:
    path, keyfile, token = tmp_path / "store", Keyfile.create(tmp_path / "key"), Pkcs11(device)
    made = create_store(path, settings, keyfile)
    before = store_keys(made.root.keys)
    made.exchange_provider(keyfile, token, told)
    made.close()
    with pytest.raises(ConfigError, match="'pkcs11'"):
        open_store(path, settings, keyfile)
    opened = open_store(path, settings, token)
    assert store_keys(opened.root.keys) == before
    rotate(opened, told)
    assert store_keys(opened.root.keys) != before
    assert len(device.find(LABEL)) == 2
    opened.exchange_provider(token, keyfile, told)
    opened.close()
    open_store(path, settings, keyfile).close()


def test_another_device_opens_nothing_and_says_which_it_wants(
    tmp_path: Path, settings: Settings, device: Device, softhsm: SoftHsm
) -> None:
    create_store(tmp_path / "store", settings, Pkcs11(device)).close()
    other = Device(softhsm.new_token("other"))
    with pytest.raises(WrongRootMaterial, match=f"is protected by pkcs11:serial={device.connect()}"):
        open_store(tmp_path / "store", settings, Pkcs11(other))
    other.close()
