"""A unit of work: what one caller commits, and how it becomes rows and events in the open transaction."""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from blindfold._encoding import MAX_LP
from kms.errors import StoreTampered
from kms.model.audit_event import AuditEvent
from kms.model.chain import body_digest, event_body, link
from kms.model.receipt import Receipt
from kms.storage.authentication import event_mac, state_digest, verify_row
from kms.storage.index import Draft, Known
from kms.storage.interface import (
    MISSING,
    Change,
    Changes,
    Delete,
    Put,
    Require,
    RequireNone,
    Row,
    WriteConflict,
)

_READ = "SELECT counter, body, mac FROM rows WHERE kind = ? AND name = ?"
_WRITE = "INSERT OR REPLACE INTO rows (kind, name, counter, body, mac, written) VALUES (?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM rows WHERE kind = ? AND name = ?"
_DELETED = "INSERT OR REPLACE INTO deletions (kind, name, sequence) VALUES (?, ?, ?)"

EventRecord = tuple[int, bytes, bytes, bytes]
NewId = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Unit:
    """Valid once built: at least one event, storable names, no row twice. Raises `ValueError`."""

    changes: Changes
    events: Sequence[AuditEvent]
    future: "Future[Receipt]" = field(default_factory=Future)

    def __post_init__(self) -> None:
        if not self.events:
            raise ValueError("a unit needs at least one event")
        if len({(change.kind, change.name) for change in self.changes}) != len(self.changes):
            raise ValueError("a row appears in two changes of one unit")
        for change in self.changes:
            _check_name(change.kind)
            _check_name(change.name)
            if isinstance(change, Delete) and change.expected == MISSING:
                raise ValueError("a row that is missing cannot be deleted")

    @property
    def writes(self) -> bool:
        return bool(self.changes) and any(not isinstance(change, Require) for change in self.changes)

    @property
    def erases(self) -> bool:
        return bool(self.changes) and any(
            isinstance(change, Delete) or (isinstance(change, Put) and change.destroys)
            for change in self.changes
        )


@dataclass(frozen=True, slots=True)
class Bulk(Unit):
    """Creations. It has a transaction of its own: a read that fails midway leaves nothing of it."""


def apply(
    connection: sqlite3.Connection, draft: Draft, unit: Unit, new_id: NewId
) -> tuple[list[EventRecord], Receipt]:
    """Write the unit's rows into the open transaction and account for them and its events in `draft`.

    Returns the events, still to be inserted. Raises `WriteConflict`, `StoreTampered` or `InvalidField`
    before it has written or accounted for anything, so that the other units of the transaction stand.
    """
    for change in unit.changes:
        if not _holds(draft, unit, change):
            raise WriteConflict(f"{change.kind} {change.name} was written by somebody else in between")
    replaced = [_read(connection, draft, change) for change in unit.changes]
    if unit.writes:
        _check_canonical(unit.events)
    last = draft.head.sequence + len(unit.events)
    for change, old in zip(unit.changes, replaced, strict=True):
        if not isinstance(change, Require):
            _write(connection, draft, change, old, last)
    return chain_events(draft, unit.events, new_id, with_digest=unit.writes)


def chain_events(
    draft: Draft, events: Sequence[AuditEvent], new_id: NewId, *, with_digest: bool
) -> tuple[list[EventRecord], Receipt]:
    """Append to the draft's chain. With a digest, the last event carries that of the draft's rows.

    Raises `InvalidField`, having accounted for nothing.
    """
    records: list[EventRecord] = []
    head = draft.head
    chain_hash, last = head.chain_hash, head.sequence + len(events)
    digest = state_digest(draft.keys, head.accumulator, head.rows, last) if with_digest else None
    event_id = ""
    for sequence, event in enumerate(events, head.sequence + 1):
        carried, event_id = digest if sequence == last else None, new_id()
        body = event_body(event, sequence=sequence, event_id=event_id, state_digest=carried)
        chain_hash = link(chain_hash, sequence, body_digest(body))
        records.append((sequence, body, chain_hash, event_mac(draft.keys, sequence, chain_hash)))
    draft.advance(last, chain_hash)
    return records, Receipt(last, event_id, chain_hash)


def _holds(draft: Draft, unit: Unit, change: Change) -> bool:
    """Whether the rows are as whoever made the change had read them."""
    if isinstance(change, RequireNone):
        deleted = {
            item.name for item in unit.changes if isinstance(item, Delete) and item.kind == change.kind
        }
        return draft.is_empty(change.kind, change.name, deleted)
    return draft.counter(change.kind, change.name) == change.expected


def _check_name(text: str) -> None:
    """Raises `ValueError`, of which `UnicodeEncodeError` is one, for what SQLite or lp() cannot hold."""
    if not 1 <= len(text.encode()) <= MAX_LP or "\x00" in text:
        raise ValueError("a row's kind and name are 1 to 65,535 bytes of UTF-8 without NUL")


def _check_canonical(events: Sequence[AuditEvent]) -> None:
    """Raise now what `chain_events` would raise once rows are written."""
    for event in events:
        event_body(event, sequence=1, event_id="", state_digest=None)


def _read(connection: sqlite3.Connection, draft: Draft, change: Change) -> Row | None:
    """The row that a change replaces: its element must leave the accumulator, so it must be the right one."""
    if isinstance(change, Require) or draft.get(change.kind, change.name) is None:
        return None
    return known_row(connection, draft, change.kind, change.name)


def known_row(connection: sqlite3.Connection, draft: Draft, kind: str, name: str) -> Row:
    """The row, if it is the one last written. Raises `StoreTampered`."""
    record = connection.execute(_READ, (kind, name)).fetchone()
    if record is not None:
        row, mac = verify_row(draft.keys, kind, name, record)
        if draft.get(kind, name) == Known(row.counter, mac):
            return row
    raise StoreTampered(f"the row {kind} {name} is not the one last written")


def _write(
    connection: sqlite3.Connection, draft: Draft, change: Put | Delete, old: Row | None, sequence: int
) -> None:
    """`sequence` is the number of the unit's last event."""
    if old is not None:
        draft.remove(old)
    if isinstance(change, Put):
        new = Row(change.kind, change.name, change.expected + 1, change.body)
        mac = draft.add(new)
        connection.execute(_WRITE, (new.kind, new.name, new.counter, new.body, mac, sequence))
    else:
        connection.execute(_DELETE, (change.kind, change.name))
        connection.execute(_DELETED, (change.kind, change.name, sequence))
