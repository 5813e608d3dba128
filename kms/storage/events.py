"""Reading the events table: what comes out is authenticated, or `StoreTampered` is raised."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kms.errors import StoreTampered
from kms.model.chain import body_digest, genesis, link
from kms.model.records import RetentionRecord
from kms.storage.authentication import StoreKeys, verify_event_mac, verify_row
from kms.storage.interface import StoredEvent

_RETENTION = "SELECT counter, body, mac FROM rows WHERE kind = ? AND name = ?"
_DROP = "DELETE FROM events WHERE sequence IN (SELECT sequence FROM events WHERE sequence <= ? LIMIT ?)"
_FORGET = "DELETE FROM deletions WHERE sequence <= ? AND kind != ''"
_ONE = "SELECT chain_hash, mac FROM events WHERE sequence = ?"
_RUN = (
    "SELECT sequence, body, chain_hash, mac FROM events "
    "WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
)
NEWEST = "SELECT sequence, chain_hash FROM events ORDER BY sequence DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Floor:
    """The last event that was dropped, 0 for none, and the chain hash there."""

    sequence: int
    chain_hash: bytes


def floor_of(connection: sqlite3.Connection, keys: StoreKeys, store_id: bytes) -> Floor:
    """By the row that says so, of which no older one helps to hide that an event is missing."""
    place = (RetentionRecord.KIND, RetentionRecord.NAME)
    record = connection.execute(_RETENTION, place).fetchone()
    if record is None:
        return Floor(0, genesis(store_id))
    row, _ = verify_row(keys, *place, record)
    retention = RetentionRecord.from_bytes(row.body)
    return Floor(retention.through, retention.chain_hash)


def drop(connection: sqlite3.Connection, through: int, limit: int) -> int:
    """Delete some events up to and with `through`, in the open transaction; how many.

    With them goes what is known of deletions from then, which nothing can follow any more.
    """
    connection.execute(_FORGET, (through,))
    return connection.execute(_DROP, (through, limit)).rowcount


def hash_at(connection: sqlite3.Connection, keys: StoreKeys, floor: Floor, sequence: int) -> bytes:
    """The chain hash of an event that was not dropped, or of the last one that was."""
    if sequence == floor.sequence:
        return floor.chain_hash
    record = connection.execute(_ONE, (sequence,)).fetchone()
    if record is None:
        raise StoreTampered(f"event {sequence} is missing")
    verify_event_mac(keys, sequence, *record)
    return bytes(record[0])


def verified(
    keys: StoreKeys, after: int, previous: bytes, records: Iterable[tuple[Any, ...]]
) -> Iterator[StoredEvent]:
    """The events of (sequence, body, chain_hash, mac) records that follow `after`, with hash `previous`."""
    for sequence, body, chain_hash, mac in records:
        if sequence != after + 1:
            raise StoreTampered(f"event {after + 1} is missing")
        if type(body) is not bytes or chain_hash != link(previous, sequence, body_digest(body)):
            raise StoreTampered(f"event {sequence} was changed")
        verify_event_mac(keys, sequence, chain_hash, mac)
        after, previous = sequence, chain_hash
        yield StoredEvent(sequence, body, chain_hash)


def run(
    connection: sqlite3.Connection, keys: StoreKeys, floor: Floor, *, after: int, through: int
) -> Iterator[StoredEvent]:
    """Every event above `after` up to and with `through`, verified one by one; none may be missing.

    Those that were dropped are not asked for.
    """
    last = after = max(after, floor.sequence)
    if through <= after:
        return
    previous = hash_at(connection, keys, floor, after)
    for event in verified(keys, after, previous, connection.execute(_RUN, (after, through))):
        last = event.sequence
        yield event
    if last != through:
        raise StoreTampered(f"event {last + 1} is missing")
