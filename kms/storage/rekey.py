"""Replacing the keys that authenticate the store, in steps: the root key was rotated.

Rows in the order of kind and name, then events from the newest to the oldest, are verified under the keys
before and authenticated under the new ones. A step is one transaction and ends where `Previous` says, which
whoever wants the steps keeps in a row of it, itself under the new ones. What else lies behind is under the
keys before, also when it is written meanwhile; new events are under the new ones.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from kms.errors import StoreTampered
from kms.model.audit_event import AuditEvent
from kms.model.receipt import Receipt
from kms.storage import events, unit
from kms.storage.authentication import Previous, StoreKeys, event_mac
from kms.storage.environment import Limits
from kms.storage.index import Draft, Published
from kms.storage.interface import Change, Row
from kms.storage.unit import EventRecord, NewId, Unit

_WRITE = (
    "UPDATE rows SET counter = ?, body = ?, mac = ?, written = max(written, ?) WHERE kind = ? AND name = ?"
)
_EVENT = "UPDATE events SET mac = ? WHERE sequence = ?"
_STEP_BYTES = 8 << 20

# Given where the keys before are needed then, None for nowhere: what a step commits besides.
Besides = Callable[[Previous | None], tuple[Sequence[Change], Sequence[AuditEvent]]]
Written = tuple[Draft, list[EventRecord], Receipt]


@dataclass(frozen=True, slots=True)
class Begin:
    """From now on `keys` are the new ones. Nothing is moved yet; the row `place` is theirs already."""

    keys: StoreKeys
    place: tuple[str, str]
    besides: Besides
    future: "Future[Receipt]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Step:
    """Moves some rows or events; to be asked for while `Published.keys` has previous ones.

    `rewrite` gives each row's body under the new root key; the same bytes leave the row as it is.
    """

    rewrite: Callable[[Row], bytes]
    besides: Besides
    future: "Future[Receipt]" = field(default_factory=Future)


def begin(connection: sqlite3.Connection, published: Published, request: Begin, new_id: NewId) -> Written:
    """Write what is besides into the open transaction."""
    previous = Previous(published.keys, ("", ""), published.head.sequence, request.place)
    draft = Draft(published)
    draft.keys = replace(request.keys, previous=previous)
    return _conclude(connection, draft, request.besides, new_id)


def step(
    connection: sqlite3.Connection,
    published: Published,
    store_id: bytes,
    limits: Limits,
    request: Step,
    new_id: NewId,
) -> Written:
    """Move rows, or events if all rows are moved. Raises `StoreTampered`, and what `rewrite` raises."""
    previous = published.keys.previous
    draft = Draft(published)
    if previous is None:
        raise StoreTampered("no keys of the store are being replaced")
    if previous.row is None:
        left = _move_events(connection, published, store_id, limits.step_events, previous)
        draft.keys = replace(published.keys, previous=left)
    else:
        rows = list(_page(connection, draft, published.index.behind(*previous.row), limits.step_rows))
        end = (rows[-1].kind, rows[-1].name) if rows else previous.row
        is_last = next(published.index.behind(*end), None) is None
        moved = replace(previous, row=None if is_last else end)
        _move_rows(connection, draft, request.rewrite, rows, moved)
    return _conclude(connection, draft, request.besides, new_id)


def _conclude(connection: sqlite3.Connection, draft: Draft, besides: Besides, new_id: NewId) -> Written:
    changes, audit = besides(draft.keys.previous)
    return draft, *unit.apply(connection, draft, Unit(changes, audit), new_id)


def _page(
    connection: sqlite3.Connection, draft: Draft, places: Iterable[tuple[str, str]], limit: int
) -> Iterator[Row]:
    """The rows there, verified: at most `limit`, and no more once they are large."""
    size = 0
    for count, (kind, name) in enumerate(places, 1):
        row = unit.known_row(connection, draft, kind, name)
        size += len(row.body)
        yield row
        if count == limit or size > _STEP_BYTES:
            return


def _move_rows(
    connection: sqlite3.Connection,
    draft: Draft,
    rewrite: Callable[[Row], bytes],
    rows: Sequence[Row],
    moved: Previous,
) -> None:
    """Write the rows, and leave the draft with the keys that they are under then."""
    for row in rows:
        draft.remove(row)
    draft.keys = replace(draft.keys, previous=moved)
    for row in rows:
        body = rewrite(row)
        new = row if body == row.body else Row(row.kind, row.name, row.counter + 1, body)
        written = 0 if new is row else draft.head.sequence + 1
        connection.execute(_WRITE, (new.counter, new.body, draft.add(new), written, new.kind, new.name))


def _move_events(
    connection: sqlite3.Connection, published: Published, store_id: bytes, limit: int, previous: Previous
) -> Previous | None:
    """The next events, back to the first that was not dropped: then None."""
    keys = published.keys
    floor = events.floor_of(connection, keys, store_id)
    after = max(floor.sequence, previous.event - limit)
    if after < previous.event:
        # With the event behind them, whose link says that they are those that were written.
        page = list(events.run(connection, keys, floor, after=after, through=previous.event + 1))
        moved = replace(keys, previous=replace(previous, event=after))
        macs = [(event_mac(moved, item.sequence, item.chain_hash), item.sequence) for item in page]
        connection.executemany(_EVENT, macs[:-1])
    return replace(previous, event=after) if after > floor.sequence else None
