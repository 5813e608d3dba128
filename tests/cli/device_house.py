"""A house with a device for HIGH keys, whose root of trust is a keyfile."""

import os
from pathlib import Path

import pytest
from device.softhsm import SoftHsm, softhsm
from house import House

__all__ = ["device_house", "device_options", "softhsm"]


def device_options(softhsm: SoftHsm, **pin: str) -> list[object]:
    """For `kms init`, with a new token."""
    settings = softhsm.new_token(**pin)
    return [
        *("--device-module", settings.module, "--device-token", settings.token),
        *("--device-pin-file", settings.pin_file),
    ]


@pytest.fixture
def device_house(tmp_path: Path, softhsm: SoftHsm) -> House:
    """Not served yet."""
    house = House(tmp_path, more={"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"]})
    house.init(*device_options(softhsm))
    return house
