"""SQLite connections with the settings that durability and erasure depend on, and SQLite's errors as ours."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kms.errors import ConfigError, KmsError, StoreTampered, Unavailable

_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    # A schema that somebody edited may not run functions when we read it.
    "PRAGMA trusted_schema = OFF",
)
_NOT_OURS = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR"})


def create_file(path: Path) -> None:
    """An empty file of mode 0600. Raises `ConfigError` if the path is taken or cannot be written."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(f"cannot create the store {path}: {error.strerror}") from error


def check_exists(path: Path) -> None:
    """Raises `ConfigError` where there is no file."""
    if not path.is_file():
        raise ConfigError(f"there is no store at {path}; make one with `kms init`")


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to an existing file, for one thread at a time. Raises `StoreTampered`, `Unavailable`."""
    with translated():
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
        )
        for setting in _SETTINGS:
            connection.execute(setting).fetchall()
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into `StoreTampered` (not a database of ours) or `Unavailable` (all else)."""
    failure: KmsError
    try:
        yield
    except sqlite3.Error as error:
        failure = as_kms_error(error)
    except UnicodeDecodeError:
        # What SQLite says of a damaged schema may quote it.
        failure = StoreTampered("the store's file is damaged (SQLITE_CORRUPT)")
    else:
        return
    raise failure


def as_kms_error(error: sqlite3.Error) -> StoreTampered | Unavailable:
    if isinstance(error, sqlite3.ProgrammingError):
        return Unavailable("the store is closed")
    name = error_name(error)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_CONSTRAINT")) or name in _NOT_OURS:
        return StoreTampered(f"the store's file is damaged ({name})")
    return Unavailable(f"the store cannot be read or written now ({name})")


def error_name(error: sqlite3.Error) -> str:
    """The extended result code, such as SQLITE_IOERR_FSYNC; "SQLITE_ERROR" where Python gives none."""
    return str(getattr(error, "sqlite_errorname", "SQLITE_ERROR"))
