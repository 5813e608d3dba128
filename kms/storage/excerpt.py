"""Many rows as they stood at one moment, read while others write.

SQLite keeps the moment for as long as a read transaction is open, and empties no WAL meanwhile. So there is
one excerpt at a time, and who asked for an erasure waits for it; whoever reads it writes it aside at the
speed of a disk.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kms.errors import StoreTampered
from kms.storage.authentication import StoreKeys, verify_row
from kms.storage.connection import connect, translated
from kms.storage.index import Index, Known, Published
from kms.storage.interface import Excerpt, Row
from kms.storage.moment import StoreMoment
from kms.storage.opening import CheckpointSigner
from kms.storage.turns import Turns

# What follows `/` in the order of names, so that a range ends before it.
_AFTER_SLASH = "0"
_PIN = "SELECT 1 FROM rows LIMIT 1"
_ROWS = (
    "SELECT name, counter, body, mac FROM rows "
    "WHERE kind = ? AND (name = ? OR (name >= ? AND name < ?)) ORDER BY name"
)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What this process knew of the wanted rows, and the connection that still sees them."""

    connection: sqlite3.Connection
    keys: StoreKeys
    wanted: dict[str, dict[str, Known]]
    scope: str

    def rows(self) -> Iterator[Row]:
        """Each verified against its mac and against what was known. Raises `StoreTampered`."""
        for kind, known in self.wanted.items():
            left = dict(known)
            for name, *record in self._read(kind):
                row, mac = verify_row(self.keys, kind, name, tuple(record))
                if left.pop(name, None) != (row.counter, mac):
                    raise StoreTampered(f"the row {kind} {name} is not the one last written")
                yield row
            if left:
                raise StoreTampered(f"the row {kind} {min(left)} is missing")

    def _read(self, kind: str) -> Iterator[tuple[str, int, bytes, bytes]]:
        below = self.scope + "/"
        with translated():
            yield from self.connection.execute(_ROWS, (kind, self.scope, below, self.scope + _AFTER_SLASH))


class Excerpts:
    """Takes them, one in each of `turns`."""

    def __init__(self, path: Path, published: Published, store_id: bytes, signer: CheckpointSigner) -> None:
        self._path = path
        self._published = published
        self._store_id = store_id
        self._signer = signer
        self.turns = Turns()

    @contextmanager
    def all(self) -> Iterator[StoreMoment]:
        """See `Store.moment`."""
        with self.turns.reading(), closing(connect(self._path, read_only=True)) as connection:
            with self._published.lock:
                _pin(connection)
                head, keys = self._published.head, self._published.keys
            yield StoreMoment(connection, keys, head, self._store_id, self._signer)

    @contextmanager
    def take(self, kinds: Sequence[str], scope: str) -> Iterator[Excerpt]:
        """See `Store.excerpt`."""
        with self.turns.reading(), closing(connect(self._path, read_only=True)) as connection:
            # Nobody commits while this is held, so that the file and what is known agree.
            with self._published.lock:
                _pin(connection)
                head, keys = self._published.head, self._published.keys
                wanted = {kind: _known(self._published.index, kind, scope) for kind in kinds}
            moment = _Moment(connection, keys, wanted, scope)
            count = sum(map(len, wanted.values()))
            yield Excerpt(head.sequence, head.chain_hash, count, moment.rows())


def _pin(connection: sqlite3.Connection) -> None:
    """Begin to see the store as it is now."""
    with translated():
        connection.execute("BEGIN")
        connection.execute(_PIN).fetchall()


def _known(index: Index, kind: str, scope: str) -> dict[str, Known]:
    names = [scope, *index.names(kind, scope + "/", "", index.size(kind))]
    found = ((name, index.get(kind, name)) for name in names)
    return {name: known for name, known in found if known is not None}
