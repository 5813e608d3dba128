"""A store's file looked at as a whole, whether a server has it or not, with every fault told.

Of a live store a copy is read, made in one step, so that neither the server's writer nor its erasures wait
for the reader. The copy is a temporary database without a name, gone with the connection.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kms.errors import ConfigError, StoreTampered, Unavailable
from kms.model.chain import Malformed, SignedCheckpoint, genesis, state_digest_of
from kms.model.finding import Finding, Invariant
from kms.storage.authentication import StoreKeys, row_element, state_digest, verify_row
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.connection import check_exists, connect, translated
from kms.storage.events import Floor, floor_of, verified
from kms.storage.interface import Row, StoredEvent, StoreRolledBack
from kms.storage.lock import StoreLock
from kms.storage.opening import CheckpointSigner, read_outside, unverified_body, vouched

_SIZES = (
    "SELECT (SELECT count(*) FROM rows), (SELECT count(*) FROM events), (SELECT count(*) FROM checkpoints)"
)
_ROWS = "SELECT kind, name, counter, body, mac FROM rows"
_WITHIN = f"{_ROWS} WHERE kind = ? AND (name = ? OR (name > ? AND name < ?)) ORDER BY name"
_AFTER_SLASH = "0"
_EVENTS = "SELECT sequence, body, chain_hash, mac FROM events WHERE sequence > ? ORDER BY sequence"
_EVENT = "SELECT sequence FROM events WHERE sequence = ? AND chain_hash = ?"
_CHECKPOINTS = (
    "SELECT checkpoints.sequence, line, chain_hash, body FROM checkpoints LEFT JOIN events USING (sequence) "
    "ORDER BY checkpoints.sequence"
)
_MAX_DAMAGE = 100

Report = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many of each there are."""

    rows: int
    events: int
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Authentication:
    """What a store's contents are verified with."""

    store_id: bytes
    keys: StoreKeys
    signer: CheckpointSigner


@contextmanager
def inspecting(path: Path, outside: CheckpointFile) -> Iterator["Inspected"]:
    """The store as it is now. No server is let in meanwhile, unless one has it already.

    Raises `ConfigError` without a file, `StoreTampered` for one that is no database, `Unavailable`.
    """
    check_exists(path)
    try:
        lock = StoreLock.acquire(path)
    except ConfigError:
        lock = None
    try:
        # Before the store: a server writes it after its commits, so that the store is never behind it.
        kept = _read(outside)
        with closing(_copied(path) if lock is None else connect(path, read_only=True)) as connection:
            yield Inspected(connection, kept, outside.path, live=lock is None)
    finally:
        if lock is not None:
            lock.release()


def _read(outside: CheckpointFile) -> SignedCheckpoint | StoreRolledBack:
    try:
        return read_outside(outside)
    except StoreRolledBack as damage:
        return damage


def _copied(path: Path) -> sqlite3.Connection:
    copy = sqlite3.connect("", isolation_level=None)
    try:
        with closing(connect(path, read_only=True)) as source, translated():
            source.backup(copy)
    except BaseException:
        copy.close()
        raise
    return copy


class Inspected:
    """The contents at one moment. What is wrong goes to `report`, and the rest is looked at all the same.

    `live` says whether a server has the store.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        outside: SignedCheckpoint | StoreRolledBack,
        outside_path: Path,
        *,
        live: bool,
    ) -> None:
        self._connection = connection
        self._outside = outside
        self._outside_path = outside_path
        self.live = live

    def sizes(self) -> Sizes:
        """Raises `StoreTampered`."""
        with translated():
            return Sizes(*self._connection.execute(_SIZES).fetchone())

    def unverified_body(self, kind: str, name: str) -> bytes | None:
        """As `kms.storage.opening.unverified_body`."""
        return unverified_body(self._connection, kind, name)

    def check_file(self, report: Report) -> None:
        """Whether SQLite finds its own structures sound."""
        for (line,) in self._query(report, f"PRAGMA integrity_check({_MAX_DAMAGE})"):
            if line != "ok":
                report(Finding(Invariant.FILE, "the store's file", " ".join(str(line).split())))

    def rows(self, auth: Authentication, report: Report) -> Iterator[Row]:
        """All that are authentic."""
        return self._authentic(auth, self._query(report, _ROWS), report)

    def rows_within(self, auth: Authentication, kind: str, scope: str) -> Iterator[Row]:
        """Those of a kind that are named scope or by a name below it, in order, without those at fault."""
        below = scope + "/"
        found = self._query(_silent, _WITHIN, (kind, scope, below, scope + _AFTER_SLASH))
        return self._authentic(auth, found, _silent)

    def row(self, auth: Authentication, kind: str, name: str) -> Row | None:
        """An authentic row, or None."""
        found = self._query(_silent, f"{_ROWS} WHERE kind = ? AND name = ?", (kind, name))
        return next(self._authentic(auth, found, _silent), None)

    def events(self, auth: Authentication, report: Report) -> Iterator[StoredEvent]:
        """All that are authentic and in their place. Behind one at fault, its hash is believed."""
        floor = self._floor(auth)
        after, previous = floor.sequence, floor.chain_hash
        for record in self._query(report, _EVENTS, (after,)):
            try:
                yield from verified(auth.keys, after, previous, [record])
            except StoreTampered as error:
                report(Finding(Invariant.CHAIN, "the audit chain", error.message))
            after, previous = record[0], record[2]

    def checkpoints(self, auth: Authentication, report: Report) -> Iterator[SignedCheckpoint]:
        """Those inside the store that are signed and are of its chain."""
        floor = self._floor(auth)
        for sequence, line, chain_hash, body in self._query(report, _CHECKPOINTS):
            try:
                signed = SignedCheckpoint.parse(line)
                auth.signer.verify(signed.checkpoint.signed_bytes(), signed.signature)
                problem = _misplaced(auth, signed, floor, sequence, chain_hash, body)
            except (Malformed, StoreTampered) as error:
                problem = str(error)
            if problem:
                report(Finding(Invariant.CHECKPOINT, f"checkpoint {sequence}", problem))
            else:
                yield signed

    def has_event(self, auth: Authentication, sequence: int, chain_hash: bytes) -> bool:
        """Whether the chain passes through it; of what was dropped, that is believed."""
        if sequence <= self._floor(auth).sequence:
            return True
        return any(self._query(_silent, _EVENT, (sequence, chain_hash)))

    def check_outside(self, auth: Authentication, report: Report) -> None:
        """Whether the store is what the checkpoint kept outside it says, or later."""
        try:
            if isinstance(self._outside, StoreRolledBack):
                raise self._outside
            with translated():
                vouched(self._connection, auth.store_id, auth.signer, self._outside, self._outside_path)
        except (StoreTampered, ConfigError) as error:
            report(Finding(Invariant.CHECKPOINT, "the checkpoint file", error.message))

    def _authentic(self, auth: Authentication, records: Iterator[Any], report: Report) -> Iterator[Row]:
        for kind, name, *record in records:
            try:
                yield verify_row(auth.keys, kind, name, tuple(record))[0]
            except StoreTampered:
                report(Finding(Invariant.ROW, f"{kind} {name}", "fails its authentication"))

    def _floor(self, auth: Authentication) -> Floor:
        """Where the chain begins. Where that is damaged, which is told with the rows, at its first event."""
        try:
            with translated():
                return floor_of(self._connection, auth.keys, auth.store_id)
        except (StoreTampered, Unavailable):
            return Floor(0, genesis(auth.store_id))

    def _query(
        self, report: Report, sql: str, parameters: tuple[str | int | bytes, ...] = ()
    ) -> Iterator[Any]:
        try:
            with translated():
                yield from self._connection.execute(sql, parameters)
        except (StoreTampered, Unavailable) as error:
            report(Finding(Invariant.FILE, "the store's file", f"cannot be read: {error.message}"))


class StateCheck:
    """Whether rows are those of the newest state digest: takes all rows, events and checkpoints."""

    def __init__(self, keys: StoreKeys) -> None:
        self._keys = keys
        self._accumulator = self._rows = self._sequence = 0
        self._digest = b""

    def take_row(self, row: Row) -> None:
        self._accumulator ^= row_element(self._keys, row)
        self._rows += 1

    def take_event(self, event: StoredEvent) -> None:
        self._take(event.sequence, _carried(event.body))

    def take_checkpoint(self, signed: SignedCheckpoint) -> None:
        self._take(signed.checkpoint.sequence, signed.checkpoint.state_digest)

    def _take(self, sequence: int, digest: bytes | None) -> None:
        if digest is not None and sequence >= self._sequence:
            self._sequence, self._digest = sequence, digest

    def conclude(self, report: Report) -> None:
        if self._digest != state_digest(self._keys, self._accumulator, self._rows, self._sequence):
            problem = f"are not those of the newest state digest, at event {self._sequence}"
            report(Finding(Invariant.STATE, "the rows", problem))


def _misplaced(
    auth: Authentication,
    signed: SignedCheckpoint,
    floor: Floor,
    sequence: int,
    chain_hash: bytes | None,
    body: bytes,
) -> str:
    """What is wrong with a signed checkpoint's place, which is at the event of that hash and body."""
    checkpoint = signed.checkpoint
    if (checkpoint.store_id, checkpoint.sequence) != (auth.store_id, sequence):
        return "is of another store, or another event's"
    if sequence < floor.sequence:
        return ""
    if sequence == floor.sequence:
        return "" if checkpoint.chain_hash == floor.chain_hash else "is not at the last dropped event"
    if chain_hash is None:
        return f"is at event {sequence}, which is missing"
    if checkpoint.chain_hash != chain_hash:
        return f"is at another event {sequence}"
    return (
        "has another state digest than its event"
        if _carried(body) not in (None, checkpoint.state_digest)
        else ""
    )


def _carried(body: bytes) -> bytes | None:
    try:
        return state_digest_of(body)
    except Malformed:
        return None


def _silent(finding: Finding) -> None:
    """For what was reported before."""
