"""The root of trust is moved into a device while the server serves, and is there at the next start."""

import pytest
from device.softhsm import SoftHsm
from device_house import device_house, softhsm
from house import House
from shared_house import consent

from cli.exit_codes import ExitCode

__all__ = ["device_house", "softhsm"]


@pytest.mark.slow
def test_a_served_store_moves_into_its_device(device_house: House, softhsm: SoftHsm) -> None:
    house = device_house
    operator = house.made["operator_credentials"]
    with house.served():
        consent(house)
        house.must("kms", "operator", "rekey", "--root-of-trust", "pkcs11", who=operator)
        house.must("kms", "operator", "rekey", who=operator)
    files, away = softhsm.files_of("kms"), house.path / "away"
    files.rename(away)
    ended = house.process("kms", "serve", "--json", "--data", house.data)
    assert (ended.code, ended.error["reason"]) == (ExitCode.UNAVAILABLE, "DEVICE_UNAVAILABLE")
    away.rename(files)
    with house.served():
        assert house.must("kms", "status", who=operator)["root_of_trust"]["kind"] == "pkcs11"
        consent(house)
        house.must("kms", "operator", "rekey", "--root-of-trust", "keyfile", who=operator)
    files.rename(away)
    with house.served():
        assert house.must("kms", "namespace", "list")
