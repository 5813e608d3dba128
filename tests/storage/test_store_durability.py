"""What was acknowledged survives a crash; what could not be written is refused, and the store goes on."""

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from store_workshop import KEYS, SIGNER, STORE_ID, Workshop, an_event

from kms.errors import ConfigError, StoreTampered, Unavailable
from kms.storage import checkpoint_file, writer
from kms.storage.interface import MISSING, Change, Delete, Put, Row
from kms.storage.sqlite import LockedStore, SqliteStore

HERE = str(Path(__file__).parent)


def child(workshop: Workshop, script: str) -> "subprocess.Popen[str]":
    """A process that has the store open as `store` and prints what it was acknowledged."""
    setup = f"""
        import resource, sys
        from pathlib import Path
        sys.path.insert(0, {HERE!r})
        from store_workshop import *
        from kms.errors import *
        from kms.storage.interface import *
        workshop = Workshop.__new__(Workshop)
        workshop.path, workshop.outside = Path({str(workshop.path)!r}), Path({str(workshop.outside)!r})
        workshop.clock, workshop.limits, workshop.opened = Clock(), Limits(), []
        store = workshop.open()
    """
    source = textwrap.dedent(setup) + textwrap.dedent(script)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)


WRITE_FOREVER = """
    from threading import Thread
    def work(number):
        counter = MISSING
        while True:
            change = Put("child", f"n{number}", b"%d" % (counter + 1), counter)
            receipt = store.commit([change] if number % 2 else [], [an_event(str(number))]).result()
            counter += 1
            print(f"{number} {counter} {receipt.sequence}\\n", end="", flush=True)
    for number in range(8):
        Thread(target=work, args=(number,)).start()
"""


@pytest.mark.parametrize("acknowledged", [20, 150, 400])
def test_sigkill_loses_nothing_acknowledged(workshop: Workshop, acknowledged: int) -> None:
    workshop.create().close()
    process = child(workshop, WRITE_FOREVER)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(acknowledged)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    lines += rest[: rest.rfind("\n") + 1].splitlines()
    process.stdout.close()
    assert process.wait(timeout=20) == -signal.SIGKILL

    store = workshop.open()
    receipts = [tuple(map(int, line.split())) for line in lines if line.strip()]
    assert len(receipts) >= acknowledged
    actions = {event.sequence: event.body for event in store.events(limit=100_000)}
    for number, counter, sequence in receipts:
        assert b'"action":"%d"' % number in actions[sequence]
        if number % 2:
            row = store.get("child", f"n{number}")
            assert row is not None
            assert row.counter >= counter


def test_a_second_process_is_refused_until_the_first_ends(workshop: Workshop) -> None:
    workshop.create().close()
    process = child(workshop, 'print("open", flush=True); sys.stdin.read()')
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    with pytest.raises(ConfigError, match="in use by another server"):
        workshop.open()
    process.kill()
    process.stdout.close()
    process.wait(timeout=20)
    workshop.open()


def test_a_second_opener_in_the_same_process_is_refused(workshop: Workshop) -> None:
    store = workshop.create()
    with pytest.raises(ConfigError, match="in use"):
        LockedStore.open(workshop.path)
    store.close()
    LockedStore.open(workshop.path).close()


def test_a_failed_unlock_leaves_the_store_locked_and_usable(workshop: Workshop) -> None:
    workshop.create().close()
    line = workshop.outside.read_bytes()
    workshop.outside.write_bytes(b"")
    locked = LockedStore.open(workshop.path)
    with pytest.raises(StoreTampered):
        locked.unlock(workshop.settings(), store_id=STORE_ID, keys=KEYS, signer=SIGNER)
    workshop.outside.write_bytes(line)
    store = locked.unlock(workshop.settings(), store_id=STORE_ID, keys=KEYS, signer=SIGNER)
    assert store.get("thing", "a") is not None
    store.close()


def test_files_are_for_their_owner_only(workshop: Workshop) -> None:
    store = workshop.create()
    store.commit([], [an_event()]).result(timeout=20)
    files = [*workshop.path.parent.iterdir(), workshop.outside]
    assert {path.name for path in files} == {
        "kms.db",
        "kms.db-wal",
        "kms.db-shm",
        "kms.db.lock",
        "checkpoint",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_neither_a_store_nor_a_checkpoint_file_is_overwritten_by_a_new_one(workshop: Workshop) -> None:
    workshop.create().close()
    with pytest.raises(ConfigError, match="cannot create"):
        LockedStore.create(workshop.path)
    workshop.path.unlink()
    with pytest.raises(ConfigError, match="vouches for another store"):
        workshop.create()


def test_a_store_that_is_not_there_is_not_made_by_opening_it(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="kms init"):
        workshop.open()
    assert list(workshop.path.parent.iterdir()) == []


FILL_THE_DISK = """
    import signal
    before = len(store.events(limit=100000))
    size = workshop.path.with_name("kms.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, resource.RLIM_INFINITY))
    futures = [store.commit([Put("big", f"n{n}", b"x" * 90_000, MISSING)], [an_event()]) for n in range(8)]
    futures += [store.commit([Put("big", f"m{n}", b"x" * 90_000, MISSING)], [an_event()]) for n in range(8)]
    failed = [future for future in futures if isinstance(future.exception(), Unavailable)]
    done = [future for future in futures if future.exception() is None]
    assert failed and len(failed) + len(done) == 16, futures
    assert len(store.events(limit=100000)) == before + len(done)
    assert len(store.scan("big")) == len(done)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    receipt = store.commit([Put("big", "after", b"x" * 90_000, MISSING)], [an_event()]).result()
    print(len(done), receipt.sequence, flush=True)
    store.close()
"""


def test_a_full_disk_fails_the_group_and_the_store_goes_on_when_there_is_room(workshop: Workshop) -> None:
    workshop.create().close()
    process = child(workshop, FILL_THE_DISK)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    done, sequence = map(int, output.split())
    store = workshop.open()
    assert len(store.scan("big")) == done + 1
    assert len(store.events()) == sequence == done + 2


class Stumbling:
    """A connection whose statements fail as SQLite's do, once told to."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.failures: dict[str, str] = {}

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        for statement, name in list(self.failures.items()):
            if sql.startswith(statement):
                del self.failures[statement]
                error = sqlite3.OperationalError(name)
                error.sqlite_errorname = name
                raise error
        return self.connection.execute(sql, *parameters)

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)


def stumbling(store: SqliteStore) -> Stumbling:
    held = Stumbling(store._writer._connection)
    store._writer._connection = held  # type: ignore[assignment]
    return held


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("BEGIN", "SQLITE_BUSY"),
        ("BEGIN", "SQLITE_IOERR_READ"),
        ("INSERT OR REPLACE INTO rows", "SQLITE_FULL"),
        ("INSERT OR REPLACE INTO checkpoints", "SQLITE_IOERR_WRITE"),
        ("COMMIT", "SQLITE_FULL"),
        ("COMMIT", "SQLITE_IOERR_WRITE"),
    ],
)
def test_after_a_failure_that_surely_wrote_nothing_the_next_unit_succeeds(
    workshop: Workshop, statement: str, error: str
) -> None:
    store = workshop.create()
    stumbling(store).failures[statement] = error
    with pytest.raises(Unavailable, match=error):
        store.commit([Put("thing", "a", b"x", 1)], [an_event()]).result(timeout=20)
    assert store.get("thing", "a") == Row("thing", "a", 1, b"first a")
    assert store.commit([Put("thing", "a", b"y", 1)], [an_event()]).result(timeout=20).sequence == 2
    store.close()
    assert workshop.open().get("thing", "a") == Row("thing", "a", 2, b"y")


# Events alone are a transaction of one statement; with a change of a row there is a COMMIT.
COMMITS: list[tuple[str, list[Change]]] = [
    ("INSERT INTO events", []),
    ("COMMIT", [Put("thing", "a", b"x", 1)]),
]


@pytest.mark.parametrize("error", ["SQLITE_FULL", "SQLITE_IOERR_WRITE"])
def test_events_alone_that_surely_were_not_written_do_not_stop_the_next_ones(
    workshop: Workshop, error: str
) -> None:
    store = workshop.create()
    stumbling(store).failures["INSERT INTO events"] = error
    with pytest.raises(Unavailable, match=error):
        store.commit([], [an_event()]).result(timeout=20)
    assert store.commit([], [an_event()]).result(timeout=20).sequence == 2


@pytest.mark.parametrize(("statement", "changes"), COMMITS)
@pytest.mark.parametrize("error", ["SQLITE_IOERR_FSYNC", "SQLITE_IOERR", "SQLITE_IOERR_DIR_FSYNC"])
def test_after_a_commit_of_unknown_outcome_everything_is_refused_until_the_store_is_reopened(
    workshop: Workshop, error: str, statement: str, changes: list[Change]
) -> None:
    store = workshop.create()
    stumbling(store).failures[statement] = error
    for _ in range(3):
        with pytest.raises(Unavailable):
            store.commit(changes, [an_event()]).result(timeout=20)
    assert store.get("thing", "a") is not None
    store.close()
    assert workshop.open().commit([], [an_event()]).result(timeout=20).sequence == 2


@pytest.mark.parametrize(("statement", "changes"), COMMITS)
def test_when_even_the_head_cannot_be_read_again_everything_is_refused(
    workshop: Workshop, statement: str, changes: list[Change]
) -> None:
    store = workshop.create()
    held = stumbling(store)
    held.failures = {statement: "SQLITE_FULL", "SELECT sequence": "SQLITE_IOERR_READ"}
    for _ in range(2):
        with pytest.raises(Unavailable):
            store.commit(changes, [an_event()]).result(timeout=20)


def test_a_fault_of_the_writer_itself_fails_the_unit_and_stops_the_store(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = workshop.create()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret might stand here")

    monkeypatch.setattr(writer.unit, "apply", broken)
    for _ in range(2):
        with pytest.raises(Unavailable, match="ZeroDivisionError") as caught:
            store.commit([], [an_event()]).result(timeout=20)
        assert "secret" not in str(caught.value)
    monkeypatch.undo()
    store.close()
    assert len(workshop.open().events()) == 1


def test_a_checkpoint_that_cannot_be_written_outside_fails_the_change_and_stops_commits_until_it_can(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = workshop.create()

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint_file.os, "fsync", refuse)
    with pytest.raises(Unavailable, match="No space left"):
        store.commit([Put("thing", "a", b"x", 1)], [an_event()]).result(timeout=20)
    assert store.get("thing", "a") == Row("thing", "a", 2, b"x")
    with pytest.raises(Unavailable):
        store.commit([], [an_event()]).result(timeout=20)
    assert len(store.events()) == 2
    monkeypatch.undo()
    store.commit([], [an_event()]).result(timeout=20)
    store.close()
    assert len(workshop.open().events()) == 3


@pytest.mark.parametrize("crash", ["before the temporary file", "half a temporary file", "before the rename"])
def test_a_crash_between_commit_and_checkpoint_file_is_no_rollback(workshop: Workshop, crash: str) -> None:
    store = workshop.create()
    workshop.save("old")
    store.commit([Put("thing", "a", b"x", 1)], [an_event()]).result(timeout=20)
    store.close()
    new = workshop.outside.read_bytes()
    workshop.restore("old", what="outside")
    left_over = {
        "before the temporary file": None,
        "half a temporary file": new[:50],
        "before the rename": new,
    }
    if (content := left_over[crash]) is not None:
        workshop.outside.with_name("checkpoint.new").write_bytes(content)
    store = workshop.open()
    assert store.get("thing", "a") == Row("thing", "a", 2, b"x")
    assert workshop.outside.read_bytes() == new
    assert [path.name for path in workshop.outside.parent.iterdir()] == ["checkpoint"]


MARK = b"the bytes that must be gone " * 20


@pytest.mark.parametrize(
    "change",
    [Delete("thing", "secret", 1), Put("thing", "secret", b"", 1, destroys=True)],
    ids=["delete", "destroying put"],
)
def test_destroyed_bytes_are_in_no_file_of_the_store(workshop: Workshop, change: Put | Delete) -> None:
    def files_with_mark() -> list[str]:
        return [path.name for path in workshop.path.parent.iterdir() if MARK in path.read_bytes()]

    store = workshop.create()
    store.commit([Put("thing", "secret", MARK, MISSING)], [an_event()]).result(timeout=20)
    assert files_with_mark() != []
    store.commit([change], [an_event()]).result(timeout=20)
    assert files_with_mark() == []


def test_destruction_is_not_acknowledged_while_another_process_pins_the_old_bytes(workshop: Workshop) -> None:
    store = workshop.create()
    store._writer._connection.execute("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(workshop.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM rows").fetchone()
    with pytest.raises(Unavailable, match="deleted bytes"):
        store.commit([Delete("thing", "a", 1)], [an_event()]).result(timeout=20)
    store.commit([], [an_event()]).result(timeout=20)
    reader.close()
    store.commit([Delete("thing", "b", 1)], [an_event()]).result(timeout=20)
    assert b"first a" not in workshop.path.read_bytes()


DIE_BEFORE_ERASING = """
    import os, signal
    from kms.storage.writer import Writer
    Writer._erase = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    store.commit([Put("thing", "doomed", b"", 1, destroys=True)], [an_event()]).result()
"""


def test_bytes_whose_erasure_a_crash_prevented_are_gone_after_the_next_start(workshop: Workshop) -> None:
    doomed = os.urandom(40_000)
    store = workshop.create()
    store.commit([Put("thing", "doomed", doomed, MISSING)], [an_event()]).result(timeout=20)
    store.close()
    process = child(workshop, DIE_BEFORE_ERASING)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=20) == -signal.SIGKILL
    store = workshop.open()
    assert store.get("thing", "doomed") == Row("thing", "doomed", 2, b"")
    files = [path.read_bytes() for path in workshop.path.parent.iterdir()]
    parts = [doomed[at : at + 32] for at in range(0, len(doomed) - 32, 16)]
    assert not any(part in data for part in parts for data in files)
