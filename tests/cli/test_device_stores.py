"""Stores with HIGH keys: verified whole, backed up by their places, and restored to the same device."""

import json

import pytest
from device.softhsm import SoftHsm
from device_house import device_house, softhsm
from house import House
from killed_house import open_house

from cli.exit_codes import ExitCode

__all__ = ["device_house", "softhsm"]

WORKER = "prod-worker"


@pytest.mark.slow
def test_a_store_with_high_keys_verifies_and_its_backup_works_with_the_device(device_house: House) -> None:
    house = device_house
    operator = house.made["operator_credentials"]
    with house.served():
        open_house(house)
        for name, more in (("seals", ()), ("signs", ("--purpose", "ASYMMETRIC_SIGN"))):
            options = ("--policy", "prod/everybody", "--sensitivity", "HIGH", *more)
            house.must("kms", "key", "create", f"prod/{name}", *options, who=WORKER)
        sealed, backup = house.path / "sealed", house.path / "backup"
        message = house.file("message", b"a message")
        house.must("kms", "encrypt", "prod/seals", message, "--out", sealed, who=WORKER)
        house.must("kms", "tenant", "backup", "acme", "--out", backup, who=operator)
        checked = house.must("kms", "tenant", "restore", backup, "--verify-only", who=operator)
        [versions] = checked["device_versions"].values()
        assert (checked["key_versions"], versions, checked["rotating_keys"]) == (2, 2, 1)
    found = house.must("kms", "verify-store", "--data", house.data)
    assert (found["faults"], found["device_versions"]) == (0, 2)
    with house.served():
        opened = house.kms("decrypt", "prod/seals", sealed, who=WORKER)
        assert opened.out == b"a message"


@pytest.mark.slow
def test_a_high_key_that_the_device_has_lost_is_named(device_house: House, softhsm: SoftHsm) -> None:
    house = device_house
    with house.served():
        open_house(house)
        options = ("--policy", "prod/everybody", "--sensitivity", "HIGH")
        house.must("kms", "key", "create", "prod/lost", *options, who=WORKER)
        files = softhsm.files_of("kms")
        before = {path.name for path in files.glob("*.object")}
        house.must("kms", "key", "create", "prod/kept", *options, who=WORKER)
        assert house.must("kms", "verify-store", "--data", house.data)["live"] is True
    [kept] = [path for path in files.glob("*.object") if path.name not in before]
    for path in files.glob("*.object"):
        if path.name not in ("token.object", kept.name):
            path.unlink()
    ended = house.kms("verify-store", "--data", house.data, "--json")
    assert ended.code == ExitCode.DAMAGED
    [finding] = json.loads(ended.out)["findings"]
    assert finding["invariant"] == "REFERENCE"
    assert finding["subject"].startswith("keyVersions tenants/acme/namespaces/prod/keys/lost/")
    files.rename(house.path / "away")
    ended = house.kms("verify-store", "--data", house.data, "--json")
    assert (ended.code, json.loads(ended.out)["device_versions_not_looked_for"]) == (0, 2)
    assert "were not looked for" in ended.words
