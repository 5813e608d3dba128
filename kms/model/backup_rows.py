"""Rows in the payload of a backup (docs/spec/backup.md, "Rows").

row = lp(kind) || lp(name) || u32(length of the body) || body
"""

from collections.abc import Iterator
from dataclasses import dataclass

from blindfold._encoding import lp, u32
from blindfold.envelope import Source, read_exactly
from kms.errors import BackupInvalid
from kms.model.row import MAX_ROW

_LP_SIZE = 2
_BODY_SIZE = 4


@dataclass(frozen=True, slots=True)
class BackupRow:
    """A row of the store without its counter, which says how often it was written there."""

    kind: str
    name: str
    body: bytes

    def to_bytes(self) -> bytes:
        return lp(self.kind.encode()) + lp(self.name.encode()) + u32(len(self.body)) + self.body


def read_rows(source: Source) -> Iterator[BackupRow]:
    """The rows that source holds and nothing else. Raises `BackupInvalid`."""
    while start := read_exactly(source, _LP_SIZE):
        kind = _take(source, _length(start, _LP_SIZE))
        name = _take(source, _length(read_exactly(source, _LP_SIZE), _LP_SIZE))
        size = _length(read_exactly(source, _BODY_SIZE), _BODY_SIZE)
        if size > MAX_ROW:
            raise BackupInvalid(f"a row has {size} bytes, at most {MAX_ROW} are possible")
        yield BackupRow(_text(kind), _text(name), _take(source, size))


def _take(source: Source, size: int) -> bytes:
    data = read_exactly(source, size)
    if len(data) != size:
        raise BackupInvalid("a row is cut off")
    return data


def _length(data: bytes, size: int) -> int:
    if len(data) != size:
        raise BackupInvalid("a row is cut off")
    return int.from_bytes(data, "big")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    raise BackupInvalid("a row's name is no text")
