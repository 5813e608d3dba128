"""docs/pkcs11.md: its examples run, and its numbers are those of the code."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from device_house import device_house, softhsm
from house import House
from killed_house import open_house

from kms.crypto.device import lane
from kms.crypto.device.device import LANES, MAX_DELAY
from kms.services.fresh_versions import REMNANT_REST

__all__ = ["device_house", "softhsm"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/pkcs11.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
[SETUP] = re.findall(r"^```console-device\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ kms (.*)$", PAGE, re.MULTILINE)
NUMBERS = {4: "four", 180: "three minutes"}


@pytest.mark.parametrize(
    "stated",
    [
        f"there are at most {NUMBERS[LANES]}",
        f"waits {lane.USE_SECONDS:g} s for the device, the making of a key {NUMBERS[lane.GENERATE_SECONDS]}",
        f"destroyed {REMNANT_REST.seconds // 60} minutes later",
    ],
)
def test_number_is_that_of_the_code(stated: str) -> None:
    assert stated in TEXT


def test_a_minute_is_the_longest_delay() -> None:
    assert "after up to a minute" in TEXT
    assert MAX_DELAY == 60


@pytest.mark.slow
def test_a_device_is_set_up_as_the_page_says(softhsm: object, tmp_path: Path) -> None:
    path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    script = f"trap 'kill %1; wait' EXIT\n{SETUP}"
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "pkcs11" in done.stdout


@pytest.mark.slow
def test_commands_over_high_keys_are_as_the_page_says(device_house: House) -> None:
    house = device_house
    with house.served():
        open_house(house)
        for command in COMMANDS:
            house.must("kms", *command.split(), who="prod-worker")
        versions = house.must("kms", "key", "versions", "prod/orders", who="prod-worker")
        assert [version["sensitivity"] for version in versions] == ["MEDIUM", "HIGH", "HIGH"]
