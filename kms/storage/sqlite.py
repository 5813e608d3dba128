"""The embedded store: one SQLite file, one writer thread, one process.

`LockedStore` holds the file while the keys are not known; `unlock` and `initialise` make a `SqliteStore`.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from kms.errors import ConfigError, KmsError
from kms.model.audit_event import AuditEvent
from kms.model.chain import SignedCheckpoint, genesis, timestamp
from kms.model.receipt import Receipt
from kms.storage import rekey
from kms.storage.authentication import StoreKeys
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.checkpointer import Checkpointer
from kms.storage.connection import check_exists, connect, create_file, translated
from kms.storage.environment import Environment, Limits
from kms.storage.events import Floor
from kms.storage.excerpt import Excerpts
from kms.storage.index import Head, Index, Published
from kms.storage.interface import Change, Changes, Creations, Excerpt, Moment, Row, StoredEvent
from kms.storage.lock import StoreLock
from kms.storage.opening import CheckpointSigner, examine, load_rows, unverified_body
from kms.storage.reader import Moved, Reader
from kms.storage.rebuilding import Rebuilding
from kms.storage.rekey import Besides
from kms.storage.schema import migrate
from kms.storage.unit import Bulk, Unit
from kms.storage.writer import Deliver, Drop, Snapshot, Writer


def _deliver_here(resolve: Callable[[], None]) -> None:
    resolve()


@dataclass(frozen=True, slots=True)
class Settings:
    """How a store works. `outside` is its checkpoint file.

    `deliver` is given, by the writer's thread, a function that resolves a whole group's futures, and
    decides where it runs; an asyncio server passes `loop.call_soon_threadsafe`, so that a group costs one
    callback. Nobody may then block that loop waiting for a future.
    """

    outside: CheckpointFile
    environment: Environment = field(default_factory=Environment)
    limits: Limits = field(default_factory=Limits)
    deliver: Deliver = _deliver_here


class LockedStore:
    """A store's file, held exclusively; nothing in it is verified yet."""

    def __init__(self, path: Path, lock: StoreLock, connection: sqlite3.Connection) -> None:
        self.path = path
        self._lock = lock
        self._connection = connection

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new file. Raises `ConfigError` if there is one already."""
        lock = StoreLock.acquire(path)
        try:
            create_file(path)
        except ConfigError:
            lock.release()
            raise
        return cls._open(path, lock)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises `ConfigError` without a file, for a newer schema, or while another server has it."""
        check_exists(path)
        return cls._open(path, StoreLock.acquire(path))

    @classmethod
    def _open(cls, path: Path, lock: StoreLock) -> Self:
        try:
            connection = connect(path)
            with translated():
                migrate(connection)
        except BaseException:
            lock.release()
            raise
        return cls(path, lock, connection)

    def unverified_body(self, kind: str, name: str) -> bytes | None:
        """See `opening.unverified_body`; `unlock` verifies the row like all others."""
        return unverified_body(self._connection, kind, name)

    def initialise(
        self,
        settings: Settings,
        *,
        store_id: bytes,
        keys: StoreKeys,
        signer: CheckpointSigner,
        changes: Sequence[Change],
        events: Sequence[AuditEvent],
    ) -> "SqliteStore":
        """Commit the first unit of a new store, and write its first checkpoint.

        Raises `ConfigError` if there is a checkpoint file already, and what the commit raises.
        """
        if settings.outside.exists():
            raise ConfigError(f"{settings.outside.path} exists: it vouches for another store; move it away")
        published = Published(keys, Index(), Head(0, genesis(store_id)))
        return self._start(settings, store_id, published, signer, [Unit(changes, events)])

    def unlock(
        self,
        settings: Settings,
        *,
        store_id: bytes,
        keys: StoreKeys,
        signer: CheckpointSigner,
        accept_rollback: bool = False,
    ) -> "SqliteStore":
        """Verify the store (`opening.examine`, which says what it raises) and begin to serve from it.

        On failure this object still holds the file. An accepted rollback is in the chain, and a new
        checkpoint outside, before this returns.
        """
        with translated():
            opened = examine(
                self._connection,
                store_id=store_id,
                keys=keys,
                signer=signer,
                outside=settings.outside,
                accept_rollback=accept_rollback,
            )
        now = timestamp(settings.environment.now())
        accepted = [Unit([], [_accepted(now, opened.rollback)])] if opened.rollback else []
        return self._start(settings, store_id, opened.published, signer, [*accepted, Snapshot()])

    def rebuild(self, store_id: bytes, keys: StoreKeys) -> Rebuilding:
        """Fill a new file with what backups have; `complete` makes a store of it."""
        return Rebuilding(self._connection, store_id, keys)

    def complete(
        self,
        settings: Settings,
        *,
        store_id: bytes,
        keys: StoreKeys,
        signer: CheckpointSigner,
        end: Floor,
        event: AuditEvent,
    ) -> "SqliteStore":
        """Go on behind that end of the chain, with that event, and sign that the rows are what they are."""
        with translated():
            index, counted = load_rows(self._connection, keys)
        head = counted._replace(sequence=end.sequence, chain_hash=end.chain_hash)
        published = Published(keys, index, head)
        return self._start(settings, store_id, published, signer, [Unit([], [event]), Snapshot()])

    def _start(
        self,
        settings: Settings,
        store_id: bytes,
        published: Published,
        signer: CheckpointSigner,
        first: Sequence[Unit | Snapshot],
    ) -> "SqliteStore":
        """Serve, once the first items are done. From then on the file is the returned store's."""
        reader = Reader(connect(self.path, read_only=True), published, store_id, signer)
        excerpts = Excerpts(self.path, published, store_id, signer)
        writer = Writer(
            self._connection,
            published,
            store_id,
            Checkpointer(store_id, signer, settings.outside, settings.environment, settings.limits),
            settings.environment,
            settings.limits,
            (excerpts.turns, reader.lock),
            settings.deliver,
        )
        try:
            for item in first:
                writer.perform(item)
        except KmsError:
            reader.close()
            raise
        writer.start()
        return SqliteStore(store_id, self._lock, reader, writer, excerpts)

    def discard(self) -> None:
        """Remove the file of a store whose initialisation failed."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Give the file back without having unlocked it."""
        self._connection.close()
        self._lock.release()


def _accepted(now: str, rollback: str) -> AuditEvent:
    return AuditEvent(
        time=now,
        action="Kms.AcceptRollback",
        caller="",
        tenant="",
        resource="",
        decision="ALLOW",
        reason="STORE_ROLLED_BACK",
        details={"found": rollback},
    )


class SqliteStore:
    """`kms.storage.interface.Store` over SQLite. Safe to use from any thread."""

    def __init__(
        self, store_id: bytes, lock: StoreLock, reader: Reader, writer: Writer, excerpts: Excerpts
    ) -> None:
        self.store_id = store_id
        self._lock = lock
        self._reader = reader
        self._writer = writer
        self._excerpts = excerpts

    def get(self, kind: str, name: str) -> Row | None:
        return self._reader.get(kind, name)

    def stamp(self, kind: str, name: str) -> bytes | None:
        return self._reader.stamp(kind, name)

    def revision(self) -> int:
        return self._reader.revision()

    def scan(self, kind: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[Row]:
        return self._reader.scan(kind, prefix, after, limit)

    def excerpt(self, kinds: Sequence[str], scope: str) -> AbstractContextManager[Excerpt]:
        return self._excerpts.take(kinds, scope)

    def moment(self) -> AbstractContextManager[Moment]:
        return self._excerpts.all()

    def commit(self, changes: Changes, events: Iterable[AuditEvent]) -> "Future[Receipt]":
        unit = (
            Bulk(changes, tuple(events))
            if isinstance(changes, Creations)
            else Unit(tuple(changes), tuple(events))
        )
        self._writer.submit(unit)
        return unit.future

    def begin_rekey(self, keys: StoreKeys, place: tuple[str, str], besides: Besides) -> "Future[Receipt]":
        """Authenticate everything anew under other keys, in steps: `kms.storage.rekey`.

        `besides` is called on the writer's thread, and makes the row `place`, of a kind and a name. It may
        not be begun before the last one is done.
        """
        request = rekey.Begin(keys, place, besides)
        self._writer.submit(request)
        return request.future

    def step_rekey(self, rewrite: Callable[[Row], bytes], besides: Besides) -> "Future[Receipt]":
        """Take the next step, if `rekeying`.

        `rewrite` is called on the writer's thread for every row, and may raise a `KmsError`: the step is
        then not taken.
        """
        request = rekey.Step(rewrite, besides)
        self._writer.submit(request)
        return request.future

    def rekeying(self) -> Moved | None:
        """How far it is; None if no keys are being replaced."""
        return self._reader.rekeying()

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        return self._reader.events(after, limit)

    def dropped_through(self) -> int:
        return self._reader.dropped_through()

    def drop_events(self, limit: int = 10_000) -> "Future[int]":
        request = Drop(limit)
        self._writer.submit(request)
        return request.future

    def checkpoint(self) -> "Future[SignedCheckpoint]":
        request = Snapshot()
        self._writer.submit(request)
        return request.future

    def checkpoints(self, after: int = 0, limit: int = 1000) -> list[SignedCheckpoint]:
        return self._reader.checkpoints(after, limit)

    def last_event(self) -> int:
        """The sequence number of the newest event."""
        return self._reader.last_event()

    def newest_checkpoint(self) -> SignedCheckpoint | None:
        """The last one written inside the store, verified."""
        return self._reader.newest_checkpoint()

    def close(self) -> None:
        self._writer.close()
        self._reader.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
