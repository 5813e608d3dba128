"""Typed access to the store: records instead of bytes."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from kms.errors import AlreadyExists, EtagMismatch, NotFound, StoreTampered
from kms.services.call import Page
from kms.services.sized_cache import SizedCache
from kms.storage.interface import MISSING, Delete, Put, Require, Store


class Stored(Protocol):
    """What can be kept: a kind of row, and a canonical byte form that refuses any other."""

    KIND: ClassVar[str]

    def to_bytes(self) -> bytes: ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self: ...


class Named(Protocol):
    """A row, read or not."""

    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Stored)
N = TypeVar("N", bound=Named)
T = TypeVar("T")

_log = logging.getLogger(__name__)

PAGE = 500
KEPT_BYTES = 128 << 20
# What a record takes: so many bytes, and so many for each byte of its row.
ROW_OVERHEAD, MEMORY_FACTOR = 2000, 4


@dataclass(frozen=True, slots=True)
class Loaded(Generic[R]):
    """A record as it was read, and the counter that a later write must find unchanged."""

    name: str
    record: R
    counter: int

    @property
    def etag(self) -> str:
        return str(self.counter)

    def check_etag(self, etag: str) -> None:
        """Raise `EtagMismatch` if the caller read another state; an empty etag asks for no check."""
        if etag and etag != self.etag:
            raise EtagMismatch(f"{self.name} was changed by somebody else")

    def put(self, record: R) -> Put:
        """Write another record in its place."""
        return Put(record.KIND, self.name, record.to_bytes(), self.counter)

    def require(self) -> Require:
        """Write nothing, and conflict if it is another by then."""
        return Require(self.record.KIND, self.name, self.counter)

    def delete(self) -> Delete:
        return Delete(self.record.KIND, self.name, self.counter)


def create(name: str, record: Stored) -> Put:
    """Write a record where there is none yet."""
    return Put(record.KIND, name, record.to_bytes(), MISSING)


class Repository:
    """Reads records. Every row that is read is authenticated by the store.

    A record that was read is kept, and served again while the store's stamp for its row is the same: what
    then lies on the disk cannot change a decision. Safe for calls from several threads.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: SizedCache[tuple[str, str], tuple[bytes, Loaded[Any]]] = SizedCache(KEPT_BYTES)
        self._keeping = threading.Lock()

    def revision(self) -> int:
        """As the store's."""
        return self._store.revision()

    def load(self, cls: type[R], name: str) -> Loaded[R] | None:
        """The record, or None where there is no row. Raises `StoreTampered`."""
        key = (cls.KIND, name)
        stamp = self._store.stamp(*key)
        if stamp is None:
            return None
        kept = self._kept.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        row = self._store.get(*key)
        if row is None:
            return None
        loaded = Loaded(name, cls.from_bytes(row.body), row.counter)
        self._keep(key, stamp, loaded, len(row.body))
        return loaded

    def _keep(self, key: tuple[str, str], stamp: bytes, loaded: Loaded[Any], size: int) -> None:
        """The stamp is kept only if it is that of the row just read, and not of a write since."""
        with self._keeping:
            if stamp == self._store.stamp(*key):
                self._kept.keep(key, (stamp, loaded), ROW_OVERHEAD + MEMORY_FACTOR * size)

    def forget(self, kind: str, name: str) -> None:
        """Called when a row was destroyed or deleted: of its old bytes nothing is kept here either."""
        with self._keeping:
            self._kept.drop((kind, name))

    def require(self, cls: type[R], name: str) -> Loaded[R]:
        """A row that must be there, such as the settings. Raises `StoreTampered`."""
        loaded = self.load(cls, name)
        if loaded is None:
            raise StoreTampered(f"the row {name} of kind {cls.KIND} is missing")
        return loaded

    def is_current(self, loaded: Loaded[Any]) -> bool:
        """Whether the row is still what was read. Counters begin anew where a row is deleted and made."""
        return self.load(type(loaded.record), loaded.name) == loaded

    def scan(self, cls: type[R], prefix: str, after: str = "", limit: int = PAGE) -> list[Loaded[R]]:
        """Rows whose names start with prefix and sort after `after`.

        A genuine row that cannot be read is logged and left out, so that the others can be seen and worked
        with; `load` raises for it.
        """
        found: list[Loaded[R]] = []
        while len(found) < limit:
            asked = limit - len(found)
            rows = self._store.scan(cls.KIND, prefix, after, asked)
            found += readable(rows, lambda row: Loaded(row.name, cls.from_bytes(row.body), row.counter))
            if len(rows) < asked:
                break
            after = rows[-1].name
        return found

    def is_empty(self, cls: type[R], prefix: str) -> bool:
        """Whether there is no row under prefix, readable or not."""
        return not self._store.scan(cls.KIND, prefix, limit=1)

    def all(self, cls: type[R], prefix: str = "") -> Iterator[Loaded[R]]:
        """Every row under prefix, page by page."""
        after = ""
        while page := self.scan(cls, prefix, after):
            yield from page
            after = page[-1].name


def readable(rows: Iterable[N], read: Callable[[N], T]) -> list[T]:
    """What `read` makes of each row; one that it raises `StoreTampered` for is logged and left out."""
    read_rows = []
    for row in rows:
        try:
            read_rows.append(read(row))
        except StoreTampered as error:
            _log.error("left out of a list: the row %s: %s", row.name, error)
    return read_rows


def found(loaded: T | None, name: str) -> T:
    """The loaded thing. Raises `NotFound`."""
    if loaded is None:
        raise NotFound(name)
    return loaded


def same_request(existing: T, request_id: str, stored: str) -> T:
    """What an earlier, identical create call made. Raises `AlreadyExists` for any other call."""
    if request_id and request_id == stored:
        return existing
    raise AlreadyExists("a resource of that name exists already")


def page(rows: list[Loaded[R]], limit: int) -> Page[Loaded[R]]:
    """A page of rows that were read one beyond its limit."""
    more = len(rows) > limit
    return Page(tuple(rows[:limit]), rows[limit - 1].name if more else "")
