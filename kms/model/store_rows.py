"""What the rows in the backup of a store are (docs/spec/backup.md, "Stores").

First those of the store, then what was deleted, checkpoints, events, and one that says what all rows of the
store are together.
"""

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from kms.errors import BackupInvalid
from kms.model.backup_rows import BackupRow

DELETION = "deletion"
CHECKPOINT = "auditCheckpoint"
EVENT = "auditEvent"
DIGEST = "storeDigest"

_NUMBER_SIZE = 16
# Rows of the store itself come before.
_SECTIONS: Mapping[str, int] = MappingProxyType({DELETION: 1, CHECKPOINT: 2, EVENT: 3, DIGEST: 4})


def deletion(kind: str, name: str) -> BackupRow:
    return BackupRow(DELETION, f"{kind}/{name}", b"")


def deleted(row: BackupRow) -> tuple[str, str]:
    """Kind and name of what was deleted. Raises `BackupInvalid`."""
    kind, _, name = row.name.partition("/")
    if not kind or not name or row.body:
        raise BackupInvalid("a deletion does not say what of")
    return kind, name


def numbered(kind: str, sequence: int, body: bytes) -> BackupRow:
    """An event or a checkpoint."""
    return BackupRow(kind, f"{sequence:0{_NUMBER_SIZE}d}", body)


def number_of(row: BackupRow) -> int:
    """Raises `BackupInvalid`."""
    if len(row.name) == _NUMBER_SIZE and row.name.isascii() and row.name.isdecimal():
        return int(row.name)
    raise BackupInvalid(f"an {row.kind} has no number")


def in_order(rows: Iterator[BackupRow]) -> Iterator[BackupRow]:
    """All of them, none twice, up to the last, which is the digest. Raises `BackupInvalid`."""
    last = (-1, "", "")
    for row in rows:
        place = (_SECTIONS.get(row.kind, 0), row.kind, row.name)
        if place <= last:
            raise BackupInvalid(f"the row {row.name} of kind {row.kind} is out of place")
        last = place
        yield row
    if last[1] != DIGEST:
        raise BackupInvalid("it does not say what all rows are together")


class StoreDigest:
    """SHA-256 over the rows of a store, by kind and name, as a backup has them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def take(self, row: BackupRow) -> None:
        self._hash.update(row.to_bytes())

    def row(self, scope: str) -> BackupRow:
        """The last row of a backup of that scope."""
        return BackupRow(DIGEST, scope, self._hash.digest())
