"""A SIGKILL during the restore of a store leaves nothing that a server would serve, or the whole of it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from desk import ROOT
from house import House
from killed_house import furnish_with_keys, stored

from kms.main.configuration import Configuration

OPERATOR = "kms/credentials/operator"
KEYS = 20
# Where the process kills itself: before the call of that number of a method.
KILLED = """
import os, signal
from {module} import {name}
method, calls = {name}.{method}, []
def killed(self, *arguments, **named):
    calls.append(1)
    if len(calls) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return method(self, *arguments, **named)
{name}.{method} = killed
from cli.kms import main
main()
"""
SPOTS = {
    "opened": ("kms.services.backup_chain", "OpenBackup", "fill", 1),
    "half filled": ("kms.storage.rebuilding", "Rebuilding", "put", 40),
    "events": ("kms.storage.rebuilding", "Rebuilding", "event", 30),
    "second file": ("kms.services.backup_chain", "OpenBackup", "fill", 2),
    "filled": ("kms.storage.sqlite", "LockedStore", "complete", 1),
    "first verified": ("kms.services.store_restores", "StoreRestores", "spend", 1),
    "rotating": ("kms.services.upkeep", "Upkeep", "rotate", 10),
    "verifying": ("kms.services.store_check", "StoreCheck", "run", 2),
    "checkpoint": ("pathlib", "Path", "rename", 1),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """One that nobody serves, with two backups and a file that a key of it encrypted; the store is lost."""
    house = House(tmp_path_factory.mktemp("house"))
    house.init()
    with house.served():
        furnish_with_keys(house, KEYS)
        house.must("kms", "operator", "backup", "--out", house.path / "full", who=OPERATOR)
        house.must("kms", "policy", "list", "prod")
        since = ("--since", house.path / "full")
        house.must("kms", "operator", "backup", *since, "--out", house.path / "next", who=OPERATOR)
    return house


def lose(house: House) -> None:
    for path in house.data.glob("store.sqlite*"):
        path.unlink()
    Configuration.load(house.data).checkpoint_file.unlink(missing_ok=True)
    shutil.rmtree(house.data / "restoring", ignore_errors=True)


def restore(house: House) -> tuple[str | Path, ...]:
    return ("restore-store", "--data", house.data, house.path / "full", house.path / "next")


@pytest.mark.slow
@pytest.mark.parametrize("spot", SPOTS.values(), ids=SPOTS)
def test_store_is_not_there_until_it_is_whole(house: House, spot: tuple[str, str, str, int]) -> None:
    lose(house)
    script = KILLED.format(**dict(zip(("module", "name", "method", "number"), spot, strict=True)))
    killed = subprocess.run(
        [sys.executable, "-c", script, *map(str, restore(house))],
        cwd=ROOT, env=house.environment, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr.decode()
    assert not (house.data / "store.sqlite").exists()
    refused = house.process("kms", "serve", "--data", house.data)
    assert "there is no store" in refused.words
    restored = house.must("kms", *restore(house))
    assert (restored["keys"], restored["rotated_keys"]) == (KEYS, KEYS)
    with stored(house) as store:
        assert len(store.scan("keys", limit=100)) == KEYS
    with house.served():
        opened = house.kms("decrypt", "prod/k0", house.path / "sealed", who="prod-worker")
        assert opened.out == b"kept", opened.words
