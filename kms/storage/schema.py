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


STEPS: Mapping[str, Step] = {"0001_rows_events_checkpoints": _rows_events_checkpoints}


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
