"""The store as the rest of the KMS sees it. One contract suite runs for each implementation.

A row is (kind, name) -> (counter, body). The counter rises by one with every write and is what a writer
states to have read, so that a lost race is seen. Every row carries an HMAC under a key derived from the
root key; a row that fails it, or is older than or missing from what this process last knew, raises
`StoreTampered`. Changes and audit events are committed in one transaction, in groups; a commit returns
only after the data is durable. No event, no answer. Formats: `docs/spec/store.md`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from kms.errors import Kind, KmsError, StoreTampered
from kms.model.audit_event import AuditEvent
from kms.model.chain import SignedCheckpoint
from kms.model.receipt import Receipt

MISSING = 0


class WriteConflict(KmsError):
    """A row's counter is not the one the writer had read. Nothing of the unit was written."""

    kind = Kind.CONFLICT
    reason = "WRITE_CONFLICT"
    hint = "Repeat the call."


class StoreRolledBack(StoreTampered):
    """The store is older than the checkpoint kept outside it, or that checkpoint is gone or damaged."""

    reason = "STORE_ROLLED_BACK"
    hint = (
        "Bring back the newest store and checkpoint file. If a restored backup is what you want, start once "
        "with --accept-rollback: the audit chain will say so."
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A stored row, already verified."""

    kind: str
    name: str
    counter: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """Write body at (kind, name). `expected` is the counter the writer read, `MISSING` to create.

    With `destroys` the bytes of the old body are gone from the store's files when the future resolves.
    """

    kind: str
    name: str
    body: bytes
    expected: int
    destroys: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the row at (kind, name), overwriting its bytes. `expected` as in `Put`."""

    kind: str
    name: str
    expected: int


@dataclass(frozen=True, slots=True)
class Require:
    """Write nothing, but fail the unit with `WriteConflict` unless the row's counter is `expected`."""

    kind: str
    name: str
    expected: int


@dataclass(frozen=True, slots=True)
class RequireNone(Require):
    """Fail the unit unless no row of the kind has a name that starts with `name`.

    Rows that the unit itself deletes do not count.
    """

    expected: int = MISSING


Change = Put | Delete | Require


@dataclass(frozen=True, slots=True)
class Creations(Collection[Change]):
    """Rows to create, and rows to require, too many to hold: `read` gives the same `count` each time.

    It is called in the writer's thread, and raises nothing but `KmsError`.
    """

    read: Callable[[], Iterator[Put | Require]]
    count: int

    def __iter__(self) -> Iterator[Change]:
        return self.read()

    def __len__(self) -> int:
        return self.count

    def __contains__(self, change: object) -> bool:
        return any(change == item for item in self)


Changes = Sequence[Change] | Creations


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`count` rows, to be read once, and where the chain stood when they were these."""

    sequence: int
    chain_hash: bytes
    count: int
    rows: Iterator[Row]


class Moment(Protocol):
    """Everything at one moment, `sequence` and `chain_hash` saying which. All raise `StoreTampered`."""

    @property
    def sequence(self) -> int: ...

    @property
    def chain_hash(self) -> bytes: ...

    def known_since(self) -> int:
        """From which event on it is known what was deleted."""
        ...

    def dropped_through(self) -> int:
        """As `Store.dropped_through`."""
        ...

    def hash_at(self, sequence: int) -> bytes:
        """The chain hash of an event that was not dropped, or of the last one that was."""
        ...

    def count(self, after: int, left_out: Collection[str]) -> int:
        """How many rows, deletions and checkpoints there are from after that event, some kinds apart.

        After event 0 that is all rows, and no deletions.
        """
        ...

    def rows(self) -> Iterator[tuple[Row, int]]:
        """Every row, by kind and name, and the number of the event it was written with.

        They are surely the ones last written once they have ended.
        """
        ...

    def deletions(self, after: int) -> Iterator[tuple[str, str]]:
        """Kind and name of rows that were deleted after that event, and are gone; none after event 0."""
        ...

    def checkpoints(self, after: int) -> Iterator[SignedCheckpoint]:
        """As `Store.checkpoints`, all of them."""
        ...


class Store(Protocol):
    """See the module's text."""

    def get(self, kind: str, name: str) -> Row | None:
        """The row, verified, or None. Raises `StoreTampered`."""
        ...

    def stamp(self, kind: str, name: str) -> bytes | None:
        """What this process knows the row to be, without reading it: its mac, or None for no row.

        Who holds a verified row and its stamp need not read it again while the stamp is the same.
        """
        ...

    def revision(self) -> int:
        """A number that is another one after every commit that writes rows, for this process.

        What was found out by reading rows holds while the number is that from before they were read.
        """
        ...

    def scan(self, kind: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[Row]:
        """Rows of a kind whose names start with prefix and sort after `after`, in name order, verified."""
        ...

    def excerpt(self, kinds: Sequence[str], scope: str) -> AbstractContextManager[Excerpt]:
        """All rows of these kinds that are named scope, or by a name below it, as they are at one moment.

        They come in the order of `kinds`, then of names, verified. Deletions and destructions are answered
        when the context ends, so it is not to be held for anybody. Raises `StoreTampered`, `Unavailable`.
        """
        ...

    def moment(self) -> AbstractContextManager[Moment]:
        """All there is, as it is at one moment. What waits for an excerpt waits for it too."""
        ...

    def commit(self, changes: Changes, events: Iterable[AuditEvent]) -> "Future[Receipt]":
        """Write all changes and append all events (at least one), or nothing.

        A row appears in at most one change of a unit. `Creations` are read several times, and keep other
        units waiting meanwhile. The future resolves when the data is durable; it
        fails with `WriteConflict`, with `StoreTampered`, with `InvalidField` (an event without a canonical
        form) or with `Unavailable` (disk full, read-only, failed fsync, queue full, closed). As with any
        commit, after `Unavailable` the unit may yet turn out to be written. Never blocks.
        """
        ...

    def events(self, after: int = 0, limit: int = 1000) -> list["StoredEvent"]:
        """Events with a sequence number above `after`, in order, verified; those that are still there."""
        ...

    def dropped_through(self) -> int:
        """The sequence number of the last event that was dropped, 0 for none."""
        ...

    def drop_events(self, limit: int = 10_000) -> "Future[int]":
        """Overwrite at most so many of the events that the row `auditRetention` says are dropped; how many.

        The future fails as that of `commit`.
        """
        ...

    def last_event(self) -> int:
        """The sequence number of the newest event, 0 for none."""
        ...

    def checkpoint(self) -> "Future[SignedCheckpoint]":
        """Write a checkpoint now, inside and outside. The future fails as that of `commit`."""
        ...

    def checkpoints(self, after: int = 0, limit: int = 1000) -> list[SignedCheckpoint]:
        """Checkpoints with a sequence number above `after`, in order, their signatures verified."""
        ...

    def close(self) -> None:
        """Commit what is waiting, write a last checkpoint, release the lock."""
        ...


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the chain holds it: its sequence number, canonical bytes (RFC 8785) and chain hash."""

    sequence: int
    body: bytes
    chain_hash: bytes
