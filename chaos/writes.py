"""Writes fail, the disk is full, the store is read-only: nothing is acknowledged that is not there.

A limit of the size of files, set from outside, lets writes fail and work again: SQLite's own too, which go
past libfiu. The full and the read-only disk are a small tmpfs, which takes root.
"""

import random
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from chaos.house import House, Refused, build
from chaos.kills import check_store
from chaos.ledger import Ledger
from chaos.load import Load, prepare_load
from chaos.outcome import Outcome

FAULTS = 4
SMALL = 6 << 20
NO_ROOT = "no tmpfs can be mounted here"


class NotMounted(Exception):
    """Not root, or a container that forbids it."""


def run(directory: Path, times: int, draw: random.Random) -> Outcome:
    house, ledger = build(directory), Ledger()
    with house.served():
        load = prepare_load(house, ledger)
    for _ in range(min(times, FAULTS)):
        with house.killed() as process, load.running():
            time.sleep(draw.uniform(0.3, 1.0))
            limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (draw.randrange(1 << 16), limits[1]))
            time.sleep(1.0)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
            time.sleep(0.5)
        if not ledger.refused:
            ledger.wrong.append("no write has failed")
        ledger.refused = 0
        _check(house, ledger)
    return Outcome("writes fail", min(times, FAULTS), ledger)


def run_full(directory: Path, times: int, draw: random.Random) -> Outcome:
    """Until the disk is full, for a while more, and then with room again."""
    ledger, name = Ledger(), "the disk is full"
    try:
        with _tmpfs(directory / "small"):
            house = _moved(build(directory / "made"), directory / "small")
            with house.killed():
                _fill(prepare_load(house, ledger), directory / "small")
                with house.calling() as api:
                    ledger.check(api)
            _check(house, ledger)
    except NotMounted:
        return Outcome(name, 0, ledger, NO_ROOT)
    return Outcome(name, 1, ledger)


def run_read_only(directory: Path, times: int, draw: random.Random) -> Outcome:
    """A server is refused, or refuses; the store is none the worse."""
    ledger, name = Ledger(), "the store is read-only"
    try:
        with _tmpfs(directory / "small"):
            house = _moved(build(directory / "made"), directory / "small")
            with house.served(), prepare_load(house, ledger).running():
                time.sleep(1.0)
            _mount("remount,ro", directory / "small")
            try:
                with house.served():
                    ledger.wrong.append("a server serves a store that it cannot write")
            except Refused as refused:
                if "Traceback" in str(refused) or "internal error" in str(refused):
                    ledger.wrong.append(f"the server does not say why it ends: {refused}")
            _mount("remount,rw", directory / "small")
            _check(house, ledger)
    except NotMounted:
        return Outcome(name, 0, ledger, NO_ROOT)
    return Outcome(name, 1, ledger)


def _fill(load: Load, disk: Path) -> None:
    ballast = disk / "ballast"
    with load.running():
        time.sleep(0.5)
        free = shutil.disk_usage(disk).free
        ballast.write_bytes(bytes(max(free - (256 << 10), 0)))
        time.sleep(2.0)
        ballast.unlink()
        if not load.ledger.refused:
            load.ledger.wrong.append("the disk was not full")
        time.sleep(1.0)


def _check(house: House, ledger: Ledger) -> None:
    check_store(house, ledger)
    with house.served(), house.calling() as api:
        ledger.check(api, everything=True)


def _moved(house: House, disk: Path) -> House:
    """The same, its store and its checkpoint on that disk."""
    configuration = house.prepared.configuration
    data = disk / "kms"
    shutil.copytree(configuration.directory, data)
    shutil.copytree(configuration.checkpoint_file.parent, disk / "checkpoint")
    moved = replace(
        configuration,
        directory=data,
        checkpoint_file=disk / "checkpoint" / configuration.checkpoint_file.name,
    )
    (data / "kms.toml").write_text(moved.to_toml())
    house.prepared = replace(house.prepared, configuration=moved)
    return house


@contextmanager
def _tmpfs(directory: Path) -> Iterator[None]:
    directory.mkdir()
    _mount(f"size={SMALL}", directory)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def _mount(options: str, directory: Path) -> None:
    """Raises `NotMounted`."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "chaos", str(directory)], capture_output=True, check=False
    )
    if done.returncode:
        raise NotMounted
