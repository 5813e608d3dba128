"""The tables, as forward-only migrations. A released step is never edited; a new one is added below it.

`_sqlite_migrations`, which sqlite-utils keeps, says which were applied.
"""

import sqlite3
from collections.abc import Callable, Mapping

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from kms.errors import ConfigError

Step = Callable[[Database], None]


def _rows_events_checkpoints(database: Database) -> None:
    database.execute(
        "CREATE TABLE rows (kind TEXT NOT NULL, name TEXT NOT NULL, counter INTEGER NOT NULL, "
        "body BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (kind, name)) STRICT"
    )
    database.execute(
        "CREATE TABLE events (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL, "
        "chain_hash BLOB NOT NULL, mac BLOB NOT NULL) STRICT"
    )
    database.execute("CREATE TABLE checkpoints (sequence INTEGER PRIMARY KEY, line BLOB NOT NULL) STRICT")


def _when_rows_were_written(database: Database) -> None:
    """By number of the event; 0 for rows from before this was kept. A deletion of the row "" is none: so far
    back are deletions known."""
    database.execute("ALTER TABLE rows ADD COLUMN written INTEGER NOT NULL DEFAULT 0")
    database.execute(
        "CREATE TABLE deletions (kind TEXT NOT NULL, name TEXT NOT NULL, sequence INTEGER NOT NULL, "
        "PRIMARY KEY (kind, name)) WITHOUT ROWID, STRICT"
    )


STEPS: Mapping[str, Step] = {
    "0001_rows_events_checkpoints": _rows_events_checkpoints,
    "0002_when_rows_were_written": _when_rows_were_written,
}


def migrate(connection: sqlite3.Connection, steps: Mapping[str, Step] = STEPS) -> None:
    """Bring the schema up to date. Raises `ConfigError` for a store that a newer version has migrated."""
    migrations = Migrations("kms")
    for name, step in steps.items():
        migrations(name=name)(step)
    database = Database(connection, execute_plugins=False)
    unknown = sorted({applied.name for applied in migrations.applied(database)} - steps.keys())
    if unknown:
        raise ConfigError(f"a newer version has migrated this store ({unknown[0]}); upgrade the KMS")
    migrations.apply(database)
