"""Stores with HIGH keys: verified whole, backed up by their places, and restored to the same device."""

import pytest
from device_house import device_house, softhsm
from house import House
from killed_house import open_house

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
    assert house.must("kms", "verify-store", "--data", house.data)["faults"] == 0
    with house.served():
        opened = house.kms("decrypt", "prod/seals", sealed, who=WORKER)
        assert opened.out == b"a message"
