"""Changing the keys that authenticate the store, in one transaction: the root key was rotated.

Every row and every event is read, verified under the old keys and authenticated under the new ones, so the
time grows with the store (about 12 s for a million events); nothing else is committed meanwhile.
"""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from kms.errors import StoreTampered
from kms.model.audit_event import AuditEvent
from kms.model.receipt import Receipt
from kms.storage import events
from kms.storage.authentication import StoreKeys, event_mac, verify_row
from kms.storage.index import Draft, Head, Index, Known, Published
from kms.storage.interface import Row
from kms.storage.unit import EventRecord, NewId, chain_events

_READ = "SELECT counter, body, mac FROM rows WHERE kind = ? AND name = ?"
_WRITE = "UPDATE rows SET counter = ?, body = ?, mac = ? WHERE kind = ? AND name = ?"
_EVENT = "UPDATE events SET mac = ? WHERE sequence = ?"
_PAGE = 1000


Begin = Callable[[int], Callable[[int], None]]


def untold(total: int) -> Callable[[int], None]:
    return lambda count: None


@dataclass(frozen=True, slots=True)
class Rekey:
    """`rewrite` gives each row's body under the new root key; the same bytes leave the row as it is.

    `begin` is told how many rows and events there are, and gives what hears of so many more.
    """

    keys: StoreKeys
    rewrite: Callable[[Row], bytes]
    events: Sequence[AuditEvent]
    begin: Begin = untold
    future: "Future[Receipt]" = field(default_factory=Future)


def apply(
    connection: sqlite3.Connection, published: Published, store_id: bytes, request: Rekey, new_id: NewId
) -> tuple[Draft, list[EventRecord], Receipt]:
    """Rewrite the store in the open transaction. Raises `StoreTampered`, and what `rewrite` raises."""
    head = published.head
    # While the row that says so has its old mac.
    floor = events.floor_of(connection, published.keys, store_id)
    draft = Draft(Published(request.keys, Index(), Head(head.sequence, head.chain_hash)))
    advance = request.begin(head.rows + head.sequence)
    for kind, name in published.index:
        old = _read(connection, published, kind, name)
        body = request.rewrite(old)
        new = old if body == old.body else Row(kind, name, old.counter + 1, body)
        connection.execute(_WRITE, (new.counter, new.body, draft.add(new), kind, name))
        advance(1)
    # From the end backwards: a page's first link is checked with its predecessor's mac, still the old one.
    for after in reversed(range(floor.sequence, head.sequence, _PAGE)):
        advance(_rekey_events(connection, published, floor, after, request.keys))
    records, receipt = chain_events(draft, request.events, new_id, with_digest=True)
    return draft, records, receipt


def _read(connection: sqlite3.Connection, published: Published, kind: str, name: str) -> Row:
    record = connection.execute(_READ, (kind, name)).fetchone()
    if record is not None:
        row, mac = verify_row(published.keys, kind, name, record)
        if published.index.get(kind, name) == Known(row.counter, mac):
            return row
    raise StoreTampered(f"the row {kind} {name} is not the one last written")


def _rekey_events(
    connection: sqlite3.Connection, published: Published, floor: events.Floor, after: int, keys: StoreKeys
) -> int:
    """How many there were."""
    head = published.head
    through = min(after + _PAGE, head.sequence)
    page = list(events.run(connection, published.keys, floor, after=after, through=through))
    if through == head.sequence and page[-1].chain_hash != head.chain_hash:
        raise StoreTampered(f"event {through} is not the one last written")
    connection.executemany(_EVENT, [(event_mac(keys, event.chain_hash), event.sequence) for event in page])
    return len(page)
