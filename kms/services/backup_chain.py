"""A full backup of a store and those that follow it, read into a store that is built anew.

Order: headers, and that each follows the one before; keys, from the last one back; rows, from the first on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from blindfold.pieces import PieceSource
from kms.crypto.backup import BackupKey
from kms.crypto.key_hierarchy import KeyHierarchy
from kms.errors import BackupInvalid
from kms.model import store_rows
from kms.model.backup_header import StoreBackupHeader
from kms.model.backup_rows import BackupRow, read_rows
from kms.model.records import RotationRecord
from kms.services.backup_kinds import SERVE_ONCE
from kms.storage.rebuilding import Rebuilding

Put = Callable[[Rebuilding, BackupRow], None]


@dataclass(frozen=True, slots=True)
class BackupChain:
    """The headers of some files, each following the one before."""

    paths: tuple[Path, ...]
    headers: tuple[StoreBackupHeader, ...]

    @property
    def last(self) -> StoreBackupHeader:
        return self.headers[-1]

    def open(self, keys: KeyHierarchy) -> "Iterator[OpenBackup]":
        """All of them, by the keys that the last one is under. Raises `BackupInvalid`."""
        key = BackupKey.unwrap(keys, self.last)
        opened = [key]
        for header in reversed(self.headers[1:]):
            key = key.unwrap_previous(header)
            opened.append(key)
        return map(OpenBackup, self.paths, self.headers, reversed(opened))


def read_chain(paths: Sequence[Path], at: datetime | None) -> BackupChain:
    """Of these files, up to the last one that was taken at that time or before.

    Raises `BackupInvalid` for files that are none, are of several stores, or do not follow each other from
    a full backup on; `OSError`.
    """
    headers = []
    for path in paths:
        with path.open("rb") as file:
            headers.append(StoreBackupHeader.read(file))
    if not headers or headers[0].follows:
        raise BackupInvalid("it follows another one; begin with a full backup")
    for before, after in pairwise(headers):
        if after.follows != before.digest():
            raise BackupInvalid(f"the one of {after.time} does not follow the one of {before.time}")
        if (after.store_id, after.trust_domain) != (before.store_id, before.trust_domain):
            raise BackupInvalid("it follows one of another store")
    count = len(headers) if at is None else _taken_by(at, headers)
    return BackupChain(tuple(paths[:count]), tuple(headers[:count]))


def _taken_by(at: datetime, headers: Sequence[StoreBackupHeader]) -> int:
    """How many of the first ones lead up to that time."""
    times = [_time_of(header) for header in headers]
    counts = [number for number, time in enumerate(times, 1) if time <= at]
    if not counts:
        raise BackupInvalid(f"the first one was taken at {times[0].isoformat()}, which is later")
    return counts[-1]


def _time_of(header: StoreBackupHeader) -> datetime:
    try:
        return datetime.fromisoformat(header.time)
    except ValueError:
        pass
    raise BackupInvalid("it does not say when it was taken")


@dataclass(frozen=True, slots=True)
class OpenBackup:
    """One of them, and its key."""

    path: Path
    header: StoreBackupHeader
    key: BackupKey

    def rows(self) -> Iterator[BackupRow]:
        """All of them, in order. Raises `BackupInvalid`, `OSError`; what it gave before is not to be used."""
        count = 0
        with self.path.open("rb") as file:
            if StoreBackupHeader.read(file) != self.header:
                raise BackupInvalid("its file has changed")
            rows = read_rows(PieceSource(self.key.decrypt(self.header, file)))
            for row in store_rows.in_order(rows):
                count += 1
                yield row
        if count != self.header.rows:
            raise BackupInvalid(f"it does not hold {self.header.rows} rows")

    def fill(self, rebuilding: Rebuilding, advance: Callable[[int], None]) -> BackupRow:
        """Put in all that it has; what it says that the rows are together, as `digest_of` tells.

        `advance` hears of rows. Raises as `rows`, and `Unavailable`.
        """
        row = BackupRow("", "", b"")
        with rebuilding.moment(self.header.sequence, self.header.chain_hash):
            for row in self.rows():
                _PUT.get(row.kind, _put_row)(rebuilding, row)
                advance(1)
        return row


def digest_of(rebuilding: Rebuilding, scope: str) -> BackupRow:
    """What the rows are together."""
    digest = store_rows.StoreDigest()
    for row in rebuilding.rows():
        digest.take(BackupRow(*row))
    return digest.row(scope)


def _put_row(rebuilding: Rebuilding, row: BackupRow) -> None:
    if row.kind in SERVE_ONCE or row.kind == RotationRecord.KIND:
        raise BackupInvalid(f"a row of kind {row.kind} is in no backup")
    rebuilding.put(row.kind, row.name, row.body)


def _pass(rebuilding: Rebuilding, row: BackupRow) -> None:
    """The digest is looked at once all rows are there."""


_PUT: Mapping[str, Put] = MappingProxyType(
    {
        store_rows.DELETION: lambda rebuilding, row: rebuilding.delete(*store_rows.deleted(row)),
        store_rows.CHECKPOINT: lambda rebuilding, row: rebuilding.checkpoint(
            store_rows.number_of(row), row.body
        ),
        store_rows.EVENT: lambda rebuilding, row: rebuilding.event(store_rows.number_of(row), row.body),
        store_rows.DIGEST: _pass,
    }
)
