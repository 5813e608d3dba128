"""fsync fails while the server serves: it stops to acknowledge, and a restart finds all that it had.

libfiu makes `fsync` and `fdatasync` fail, of SQLite and of Python alike, and is told to from outside.
"""

import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

from chaos.house import build
from chaos.kills import check_store
from chaos.ledger import Ledger
from chaos.load import prepare_load
from chaos.outcome import Outcome

NAME = "fsync fails"
FAULTS = 4
CALLS = ("posix/io/sync/fsync", "posix/io/sync/fdatasync")


def run(directory: Path, times: int, draw: random.Random) -> Outcome:
    house, ledger = build(directory), Ledger()
    if shutil.which("fiu-run") is None:
        return Outcome(NAME, 0, ledger, "fiu-run is not there; Debian's package fiu-utils brings it")
    with house.served():
        load = prepare_load(house, ledger)
    control = directory / "fiu"
    house.prefix = ("fiu-run", "-x", "-f", str(control))
    for _ in range(min(times, FAULTS)):
        with house.killed() as process, load.running():
            time.sleep(draw.uniform(0.5, 1.5))
            _tell(control, process.pid, *(f"enable name={call},failinfo=5" for call in CALLS))
            time.sleep(0.5)
            failing = Counter(ledger.operations)
            time.sleep(1.0)
            if ledger.operations != failing:
                ledger.wrong.append(f"acknowledged while fsync fails: {ledger.operations - failing}")
            _tell(control, process.pid, *(f"disable name={call}" for call in CALLS))
            time.sleep(0.5)
        check_store(house, ledger)
        with house.served(), house.calling() as api:
            ledger.check(api, everything=True)
    return Outcome(NAME, min(times, FAULTS), ledger)


def _tell(control: Path, process: int, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["fiu-ctrl", "-f", str(control), *words, str(process)], check=True)
