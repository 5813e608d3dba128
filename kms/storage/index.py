"""What this process knows of the store without reading it: each row's counter and mac, and the chain's head.

The index is what makes a row that was removed, or replaced by an older valid one, visible on its next load.
"""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

from kms.storage.authentication import StoreKeys, row_element, row_mac
from kms.storage.interface import MISSING, Row


class Known(NamedTuple):
    """What a row on the disk must be."""

    counter: int
    mac: bytes


class Head(NamedTuple):
    """The end of the chain, and the accumulator over the `rows` live rows at that point."""

    sequence: int
    chain_hash: bytes
    accumulator: int = 0
    rows: int = 0


class Index:
    """Live rows by kind and name; names of a kind also in order."""

    def __init__(self, known: dict[str, dict[str, Known]] | None = None) -> None:
        """Of rows by kind and name, which the index then owns."""
        self._known = {} if known is None else known
        self._names = {kind: sorted(of_kind) for kind, of_kind in self._known.items()}

    def get(self, kind: str, name: str) -> Known | None:
        of_kind = self._known.get(kind)
        return None if of_kind is None else of_kind.get(name)

    def put(self, kind: str, name: str, known: Known) -> None:
        of_kind = self._known.setdefault(kind, {})
        if name not in of_kind:
            insort(self._names.setdefault(kind, []), name)
        of_kind[name] = known

    def delete(self, kind: str, name: str) -> None:
        if self._known.get(kind, {}).pop(name, None) is not None:
            names = self._names[kind]
            del names[bisect_left(names, name)]

    def names(self, kind: str, prefix: str, after: str, limit: int) -> list[str]:
        """At most `limit` names of a kind that start with prefix and sort after `after`, in order."""
        names = self._names.get(kind, [])
        start = max(bisect_left(names, prefix), bisect_right(names, after))
        return list(takewhile(lambda name: name.startswith(prefix), names[start : start + limit]))

    def size(self, kind: str) -> int:
        """The number of rows of a kind."""
        return len(self._names.get(kind, ()))

    def behind(self, kind: str, name: str) -> Iterator[tuple[str, str]]:
        """The kinds and names that sort after these, in order. Nothing may change meanwhile."""
        for other in sorted(self._names):
            if other >= kind:
                names = self._names[other]
                start = bisect_right(names, name) if other == kind else 0
                yield from ((other, names[place]) for place in range(start, len(names)))

    def count_through(self, kind: str, name: str) -> int:
        """How many rows do not sort after this kind and name."""
        names = self._names.get(kind, [])
        before = sum(len(others) for other, others in list(self._names.items()) if other < kind)
        return before + bisect_right(names, name)


@dataclass(slots=True)
class Published:
    """The state of the last commit. The writer swaps it under `lock`, which it holds from before COMMIT on.

    Readers look without the lock; what they then find inconsistent they read again holding it. `revision`
    grows with each commit that changes rows, once they are all there.
    """

    keys: StoreKeys
    index: Index
    head: Head
    revision: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Draft:
    """The state as it will be when the open transaction commits. Dropped if it does not."""

    def __init__(self, published: Published) -> None:
        self.keys = published.keys
        self.head = published.head
        self.changed = False
        self._index = published.index
        self._entries: dict[tuple[str, str], Known | None] = {}

    def get(self, kind: str, name: str) -> Known | None:
        if (kind, name) in self._entries:
            return self._entries[kind, name]
        return self._index.get(kind, name)

    def counter(self, kind: str, name: str) -> int:
        known = self.get(kind, name)
        return MISSING if known is None else known.counter

    def is_empty(self, kind: str, prefix: str, apart_from: Set[str]) -> bool:
        """Whether no row of the kind has a name that starts with prefix, some names apart."""
        entries = {
            name: known
            for (of_kind, name), known in self._entries.items()
            if of_kind == kind and name.startswith(prefix)
        }
        if any(known is not None for name, known in entries.items() if name not in apart_from):
            return False
        decided = entries.keys() | apart_from
        return set(self._index.names(kind, prefix, "", len(decided) + 1)) <= decided

    def remove(self, old: Row) -> None:
        """Account for a verified row that is about to be deleted or overwritten."""
        self._count(old, -1)
        self._entries[old.kind, old.name] = None

    def add(self, new: Row) -> bytes:
        """Account for a row that is about to be written. Returns its mac."""
        self._count(new, 1)
        mac = row_mac(self.keys, new)
        self._entries[new.kind, new.name] = Known(new.counter, mac)
        return mac

    def _count(self, row: Row, step: int) -> None:
        accumulator = self.head.accumulator ^ row_element(self.keys, row)
        self.head = self.head._replace(accumulator=accumulator, rows=self.head.rows + step)
        self.changed = True

    def advance(self, sequence: int, chain_hash: bytes) -> None:
        self.head = self.head._replace(sequence=sequence, chain_hash=chain_hash)

    def publish(self, published: Published) -> None:
        """Make it the state of the last commit; the caller holds `published.lock`."""
        for (kind, name), known in self._entries.items():
            if known is None:
                self._index.delete(kind, name)
            else:
                self._index.put(kind, name, known)
        published.keys, published.index, published.head = self.keys, self._index, self.head
        published.revision += self.changed
