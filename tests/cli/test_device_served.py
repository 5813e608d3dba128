"""A KMS whose root of trust is a device: made, served, and what is said when the device is not there."""

import os
from pathlib import Path

import pytest
from device.softhsm import PIN, SoftHsm
from device_house import device_options, softhsm
from house import House
from killed_house import open_house

from cli.exit_codes import ExitCode

__all__ = ["softhsm"]


@pytest.fixture
def house(tmp_path: Path, softhsm: SoftHsm) -> House:
    return House(tmp_path, more={"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"]})


@pytest.mark.slow
def test_a_device_as_root_of_trust_is_made_and_served(house: House, softhsm: SoftHsm) -> None:
    house.init("--root-of-trust", "pkcs11", *device_options(softhsm))
    assert house.made["warning"] == ""
    with house.served():
        assert house.must("kms", "namespace", "list")
        operator = house.made["operator_credentials"]
        status = house.must("kms", "status", who=operator)
        assert (status["root_of_trust"]["kind"], status["root_of_trust"]["grade"]) == (
            "pkcs11",
            "PRODUCTION",
        )
    recovered = house.kms(
        *("recover", "--data", house.data, "--identity", "operators/root", "--out", house.path / "again")
    )
    assert recovered.code == 0
    softhsm.files_of("kms").rename(house.path / "away")
    ended = house.process("kms", "serve", "--json", "--data", house.data)
    assert (ended.code, ended.error["reason"]) == (ExitCode.UNAVAILABLE, "DEVICE_UNAVAILABLE")
    assert "the device 'kms' cannot be reached: 0 tokens are called 'kms'" in ended.error["message"]


def test_init_leaves_nothing_where_the_device_does_not_answer(house: House, softhsm: SoftHsm) -> None:
    options = device_options(softhsm, pin="wrong")
    ended = house.kms("init", "--data", house.data, "--root-of-trust", "pkcs11", *options)
    assert ended.code == ExitCode.UNAVAILABLE
    assert "the PIN was refused" in ended.words
    assert not any(house.data.iterdir())
    assert PIN not in ended.words


def test_init_names_the_options_that_go_together(house: House) -> None:
    ended = house.kms("init", "--data", house.data, "--root-of-trust", "pkcs11")
    assert ended.code == ExitCode.FAILED
    assert "needs device_module, device_token and device_pin_file" in ended.words


@pytest.mark.slow
def test_a_server_starts_without_its_device_and_warns(house: House, softhsm: SoftHsm) -> None:
    house.init(*device_options(softhsm))
    softhsm.files_of("kms").rename(house.path / "away")
    with house.served() as process:
        open_house(house)
        policy = ("--policy", "prod/everybody")
        house.must("kms", "key", "create", "prod/medium", *policy, who="prod-worker")
        high = ("kms", "key", "create", "prod/high", *policy, "--sensitivity", "HIGH", "--json")
        ended = house.process(*high, who="prod-worker")
        assert (ended.code, ended.error["reason"]) == (ExitCode.UNAVAILABLE, "DEVICE_UNAVAILABLE")
        assert ended.error["message"].startswith("the device 'kms' cannot be reached (request id ")
        process.terminate()
        words = process.communicate(timeout=60)[1].decode()
    assert "cannot be reached: 0 tokens are called 'kms'; there are: none. HIGH keys do not work" in words
