"""Everything in the store as it stood at one moment, and what of it was written since another.

Rows are compared with what is known of them by the accumulator, all together and at the end, so that no list
of them is held. When a row was written, and which were deleted, nothing authenticates: whoever restores
compares the whole (docs/spec/backup.md, "Stores").
"""

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from kms.errors import StoreTampered
from kms.model.chain import SignedCheckpoint
from kms.storage import events
from kms.storage.authentication import StoreKeys, verify_and_count
from kms.storage.connection import translated
from kms.storage.index import Head
from kms.storage.interface import Row
from kms.storage.opening import CheckpointSigner, verified_checkpoint

_ROWS = "SELECT kind, name, counter, body, mac, written FROM rows ORDER BY kind, name"
# Without those that were made anew.
_DELETED = (
    "SELECT kind, name FROM deletions LEFT JOIN rows USING (kind, name) "
    "WHERE sequence > :after AND :after > 0 AND kind != '' AND rows.body IS NULL ORDER BY kind, name"
)
_KNOWN_SINCE = "SELECT sequence FROM deletions WHERE kind = '' AND name = ''"
_CHECKPOINTS = "SELECT line FROM checkpoints WHERE sequence > ? ORDER BY sequence"
_COUNT = (
    "SELECT (SELECT count(*) FROM rows WHERE (:after = 0 OR written > :after) AND kind NOT IN ({kinds})) + "
    "(SELECT count(*) FROM deletions LEFT JOIN rows USING (kind, name) WHERE sequence > :after "
    "AND :after > 0 AND kind != '' AND kind NOT IN ({kinds}) AND rows.body IS NULL) + "
    "(SELECT count(*) FROM checkpoints WHERE sequence > :after)"
)


@dataclass(frozen=True, slots=True)
class StoreMoment:
    """`kms.storage.interface.Moment` over a connection whose read transaction is open."""

    connection: sqlite3.Connection
    keys: StoreKeys
    head: Head
    store_id: bytes
    signer: CheckpointSigner

    @property
    def sequence(self) -> int:
        return self.head.sequence

    @property
    def chain_hash(self) -> bytes:
        return self.head.chain_hash

    def known_since(self) -> int:
        """From which event on it is known what was deleted."""
        with translated():
            found = self.connection.execute(_KNOWN_SINCE).fetchone()
            floor = events.floor_of(self.connection, self.keys, self.store_id)
        return max(floor.sequence, 0 if found is None else found[0])

    def dropped_through(self) -> int:
        with translated():
            return events.floor_of(self.connection, self.keys, self.store_id).sequence

    def hash_at(self, sequence: int) -> bytes:
        with translated():
            floor = events.floor_of(self.connection, self.keys, self.store_id)
            return events.hash_at(self.connection, self.keys, floor, sequence)

    def count(self, after: int, left_out: Collection[str]) -> int:
        names = {f"kind{number}": kind for number, kind in enumerate(left_out)}
        sql = _COUNT.format(kinds=", ".join(f":{name}" for name in names))
        with translated():
            return int(self.connection.execute(sql, {"after": after, **names}).fetchone()[0])

    def rows(self) -> Iterator[tuple[Row, int]]:
        accumulator = rows = 0
        with translated():
            for kind, name, counter, body, mac, written in self.connection.execute(_ROWS):
                accumulator ^= verify_and_count(self.keys, kind, name, counter, body, mac)[2]
                rows += 1
                yield Row(kind, name, counter, body), written
        if (accumulator, rows) != (self.head.accumulator, self.head.rows):
            raise StoreTampered("the rows are not the ones last written")

    def deletions(self, after: int) -> Iterator[tuple[str, str]]:
        with translated():
            yield from self.connection.execute(_DELETED, {"after": after})

    def checkpoints(self, after: int) -> Iterator[SignedCheckpoint]:
        with translated():
            for (line,) in self.connection.execute(_CHECKPOINTS, (after,)):
                yield verified_checkpoint(line, self.signer)
