"""Reads: verified against their macs and against what this process knows, every time, without a cache."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kms.errors import StoreTampered
from kms.model.chain import SignedCheckpoint
from kms.storage import events
from kms.storage.authentication import verify_row
from kms.storage.connection import translated
from kms.storage.events import Floor
from kms.storage.index import Published
from kms.storage.interface import Row, StoredEvent
from kms.storage.opening import CheckpointSigner, verified_checkpoint

_GET = "SELECT counter, body, mac FROM rows WHERE kind = ? AND name = ?"
_SCAN = "SELECT name, counter, body, mac FROM rows WHERE kind = ? AND name BETWEEN ? AND ? ORDER BY name"
_CHECKPOINTS = "SELECT line FROM checkpoints WHERE sequence > ? ORDER BY sequence LIMIT ?"

_NEWEST_CHECKPOINT = "SELECT line FROM checkpoints ORDER BY sequence DESC LIMIT 1"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moved:
    """So many rows of all are under the new keys, and the events above `event`."""

    rows: int
    all_rows: int
    event: int


class Reader:
    """One connection for all threads, one query at a time."""

    def __init__(
        self, connection: sqlite3.Connection, published: Published, store_id: bytes, signer: CheckpointSigner
    ) -> None:
        self._connection = connection
        self._published = published
        self._store_id = store_id
        self._signer = signer
        self.lock = threading.Lock()

    def get(self, kind: str, name: str) -> Row | None:
        return self._settled(lambda: self._get(kind, name))

    def stamp(self, kind: str, name: str) -> bytes | None:
        known = self._published.index.get(kind, name)
        return None if known is None else known.mac

    def revision(self) -> int:
        return self._published.revision

    def scan(self, kind: str, prefix: str, after: str, limit: int) -> list[Row]:
        return self._settled(lambda: self._scan(kind, prefix, after, limit))

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        return self._settled(lambda: self._events(after, limit))

    def checkpoints(self, after: int, limit: int) -> list[SignedCheckpoint]:
        records = self._query(_CHECKPOINTS, (after, limit))
        return [verified_checkpoint(line, self._signer) for (line,) in records]

    def dropped_through(self) -> int:
        """See `Store.dropped_through`."""
        return self._settled(lambda: self._floor().sequence)

    def last_event(self) -> int:
        """The sequence number of the newest event."""
        return self._published.head.sequence

    def rekeying(self) -> Moved | None:
        """See `SqliteStore.rekeying`."""
        head, previous = self._published.head, self._published.keys.previous
        if previous is None:
            return None
        rows = head.rows if previous.row is None else self._published.index.count_through(*previous.row)
        return Moved(rows, head.rows, previous.event)

    def newest_checkpoint(self) -> SignedCheckpoint | None:
        records = self._query(_NEWEST_CHECKPOINT, ())
        return verified_checkpoint(records[0][0], self._signer) if records else None

    def close(self) -> None:
        with self.lock:
            self._connection.close()

    def _settled(self, load: Callable[[], T]) -> T:
        """Load; what looks wrong may be a commit that is half published, so look again when none is."""
        try:
            return load()
        except StoreTampered:
            pass
        with self._published.lock:
            return load()

    def _query(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        with translated(), self.lock:
            return self._connection.execute(sql, parameters).fetchall()

    def _get(self, kind: str, name: str) -> Row | None:
        records = self._query(_GET, (kind, name))
        if records:
            return self._verified(kind, name, records[0])
        self._check_absent(kind, name)
        return None

    def _scan(self, kind: str, prefix: str, after: str, limit: int) -> list[Row]:
        names = self._published.index.names(kind, prefix, after, limit)
        if not names:
            return []
        records = self._query(_SCAN, (kind, names[0], names[-1]))
        rows = [self._verified(kind, name, tuple(record)) for name, *record in records]
        for name in set(names) - {row.name for row in rows}:
            self._check_absent(kind, name)
        return rows[:limit]

    def _check_absent(self, kind: str, name: str) -> None:
        if self._published.index.get(kind, name) is not None:
            raise StoreTampered(f"the row {kind} {name} is missing")

    def _verified(self, kind: str, name: str, record: tuple[Any, ...]) -> Row:
        row, mac = verify_row(self._published.keys, kind, name, record)
        if self._published.index.get(kind, name) != (row.counter, mac):
            raise StoreTampered(f"the row {kind} {name} is not the one last written")
        return row

    def _events(self, after: int, limit: int) -> list[StoredEvent]:
        head, floor = self._published.head, self._floor()
        after = max(after, floor.sequence)
        through = min(after + limit, head.sequence)
        if through <= after:
            return []
        keys = self._published.keys
        with translated(), self.lock:
            found = list(events.run(self._connection, keys, floor, after=after, through=through))
        if through == head.sequence and found[-1].chain_hash != head.chain_hash:
            raise StoreTampered(f"event {through} is not the one last written")
        return found

    def _floor(self) -> Floor:
        with translated(), self.lock:
            return events.floor_of(self._connection, self._published.keys, self._store_id)
