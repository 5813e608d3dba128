"""Migrations go forward only, whole or not at all."""

import sqlite3
from collections.abc import Iterator

import pytest
from sqlite_utils import Database
from store_workshop import Workshop

from kms.errors import ConfigError
from kms.storage.schema import STEPS, migrate


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    yield opened
    opened.close()


def add_table(database: Database) -> None:
    database.execute("CREATE TABLE added (x INTEGER) STRICT")


def add_table_and_fail(database: Database) -> None:
    add_table(database)
    database.execute("INSERT INTO rows (kind) VALUES (NULL)")


def test_an_empty_file_gets_every_table(connection: sqlite3.Connection) -> None:
    migrate(connection)
    assert tables(connection) >= {"rows", "events", "checkpoints"}


def test_migrating_again_changes_nothing(connection: sqlite3.Connection) -> None:
    migrate(connection)
    before = list(connection.iterdump())
    migrate(connection)
    assert list(connection.iterdump()) == before


def test_a_store_of_an_older_version_is_brought_up_to_date(connection: sqlite3.Connection) -> None:
    migrate(connection)
    migrate(connection, {**STEPS, "0002_added": add_table})
    assert "added" in tables(connection)


def test_a_step_that_fails_leaves_the_store_as_it_was(connection: sqlite3.Connection) -> None:
    migrate(connection)
    before = tables(connection)
    with pytest.raises(sqlite3.IntegrityError):
        migrate(connection, {**STEPS, "0002_added": add_table_and_fail})
    assert tables(connection) == before
    migrate(connection, {**STEPS, "0002_added": add_table})
    assert "added" in tables(connection)


def test_a_store_of_a_newer_version_is_refused(workshop: Workshop) -> None:
    workshop.create().close()
    newer = sqlite3.connect(workshop.path, isolation_level=None)
    migrate(newer, {**STEPS, "9999_from_the_future": add_table})
    newer.close()
    with pytest.raises(ConfigError, match="9999_from_the_future"):
        workshop.open()
