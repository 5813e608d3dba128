"""Single bytes of a store are changed: what then is otherwise is found, and never served."""

import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from benchmarks.server import opened
from chaos.house import House, build
from chaos.ledger import Ledger
from chaos.load import prepare_load
from chaos.outcome import Outcome
from kms.errors import KmsError, StoreTampered
from kms.services.backup_kinds import KINDS, LEFT_OUT
from kms.storage.sqlite import SqliteStore

FLIPS = 150
WARM_UP = 1.5
MANY = 100_000
# What the store speaks of. When a row was written is for backups, whose restore finds what is wrong with it.
KEPT = (
    "SELECT kind, name, counter, body, mac FROM rows",
    "SELECT * FROM events",
    "SELECT * FROM checkpoints",
)


def run(directory: Path, times: int, draw: random.Random) -> Outcome:
    """One byte at a time, of a copy. A copy that reads the same as before is none the worse."""
    house, ledger = build(directory), Ledger()
    with house.served(), prepare_load(house, ledger).running():
        time.sleep(WARM_UP)
    sound = contents(house)
    authentic = {row[:-1] for table in sound[:2] for row in table}
    store = house.prepared.configuration.store_path
    kept = store.with_suffix(".kept")
    shutil.copyfile(store, kept)
    changed = 0
    for _ in range(FLIPS):
        shutil.copyfile(kept, store)
        _flip(store, draw)
        if contents(house) != sound:
            changed += 1
            _check_found(house, ledger, authentic)
    if not changed:
        ledger.wrong.append("no byte was changed of what is kept")
    return Outcome(f"single bytes of the store changed, {changed} in what is kept", FLIPS, ledger)


def contents(house: House) -> Any:
    """All that is kept as SQLite gives it, or None where it gives up."""
    path = house.prepared.configuration.store_path
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return [connection.execute(query).fetchall() for query in KEPT]
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def _flip(store: Path, draw: random.Random) -> None:
    with store.open("r+b") as file:
        at = draw.randrange(store.stat().st_size)
        file.seek(at)
        before = file.read(1)[0]
        file.seek(at)
        file.write(bytes([before ^ 1 << draw.randrange(8)]))


def _check_found(house: House, ledger: Ledger, sound: Any) -> None:
    """`verify-store` names it, and a server that starts all the same serves nothing of it."""
    try:
        if not house.verified().faults:
            ledger.wrong.append("a changed store is found sound")
        with opened(house.prepared.configuration) as parts:
            if not set(_served(parts.vault.store)) <= sound:
                ledger.wrong.append("a changed row or event is served")
    except KmsError:
        # It does not open.
        return


def _served(store: SqliteStore) -> Iterator[tuple[object, ...]]:
    """What there is to be read, until something is refused."""
    for kind in (*KINDS, *LEFT_OUT):
        with suppress(StoreTampered):
            for row in store.scan(kind, limit=MANY):
                yield row.kind, row.name, row.counter, row.body
    for after in range(store.last_event()):
        with suppress(StoreTampered):
            for event in store.events(after, 1):
                yield event.sequence, event.body, event.chain_hash
