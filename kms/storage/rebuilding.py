"""A store that is built anew from what backups have of another (docs/spec/backup.md, "Stores").

Nothing looks at what is put in but the chain's links: `LockedStore.complete` ends it, and whoever does that
verifies the whole.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from kms.errors import BackupInvalid
from kms.model.chain import body_digest, genesis, link
from kms.storage import events
from kms.storage.authentication import StoreKeys, event_mac, row_mac
from kms.storage.connection import translated
from kms.storage.events import Floor
from kms.storage.interface import Row

_PUT = "INSERT OR REPLACE INTO rows (kind, name, counter, body, mac, written) VALUES (?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM rows WHERE kind = ? AND name = ?"
_DELETED = "INSERT OR REPLACE INTO deletions (kind, name, sequence) VALUES (?, ?, ?)"
_EVENT = "INSERT INTO events (sequence, body, chain_hash, mac) VALUES (?, ?, ?, ?)"
_CHECKPOINT = "INSERT OR REPLACE INTO checkpoints (sequence, line) VALUES (?, ?)"
_DROP = "DELETE FROM events WHERE sequence <= ?"
_ROWS = "SELECT kind, name, body FROM rows ORDER BY kind, name"


class Rebuilding:
    """`end` is where its chain ends. All raise `BackupInvalid`, `StoreTampered`, `Unavailable`."""

    def __init__(self, connection: sqlite3.Connection, store_id: bytes, keys: StoreKeys) -> None:
        self._connection = connection
        self._store_id = store_id
        self._keys = keys
        self._sequence = 0
        self._floor: Floor | None = None
        self.end = Floor(0, genesis(store_id))

    @contextmanager
    def moment(self, sequence: int, chain_hash: bytes) -> Iterator[None]:
        """While all is put in that a backup of this moment has, rows first. Its chain must end there.

        `sequence` is also the counter of the rows: nobody was given so high a one before.
        """
        first = self._sequence == 0
        self._sequence, self._floor = sequence, None
        with translated():
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            floor = self._begun()
            if self.end != Floor(sequence, chain_hash):
                raise BackupInvalid("its audit chain does not end as it says")
            self._connection.execute(_DROP, (floor.sequence,))
            if first:
                self._connection.execute(_DELETED, ("", "", sequence))
            self._connection.execute("COMMIT")

    def put(self, kind: str, name: str, body: bytes) -> None:
        row = Row(kind, name, self._sequence, body)
        values = (kind, name, row.counter, body, row_mac(self._keys, row), self._sequence)
        self._connection.execute(_PUT, values)

    def delete(self, kind: str, name: str) -> None:
        self._connection.execute(_DELETE, (kind, name))
        self._connection.execute(_DELETED, (kind, name, self._sequence))

    def checkpoint(self, sequence: int, line: bytes) -> None:
        self._connection.execute(_CHECKPOINT, (sequence, line))

    def event(self, sequence: int, body: bytes) -> None:
        """The next one of the chain, which goes on behind what was dropped."""
        self._begun()
        if sequence != self.end.sequence + 1:
            raise BackupInvalid(f"event {self.end.sequence + 1} is missing")
        chain_hash = link(self.end.chain_hash, sequence, body_digest(body))
        mac = event_mac(self._keys, sequence, chain_hash)
        self._connection.execute(_EVENT, (sequence, body, chain_hash, mac))
        self.end = Floor(sequence, chain_hash)

    def rows(self) -> Iterator[tuple[str, str, bytes]]:
        """Kind, name and body of all there are, in this order."""
        with translated():
            yield from self._connection.execute(_ROWS)

    def _begun(self) -> Floor:
        """Where events begin by the rows that were put in. The chain goes on there if it was behind."""
        if self._floor is None:
            self._floor = events.floor_of(self._connection, self._keys, self._store_id)
            self.end = max(self.end, self._floor, key=lambda place: place.sequence)
        return self._floor
