"""Reading the events table: what comes out is authenticated, or `StoreTampered` is raised."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from kms.errors import StoreTampered
from kms.model.chain import body_digest, genesis, link
from kms.storage.authentication import StoreKeys, verify_event_mac
from kms.storage.interface import StoredEvent

_ONE = "SELECT chain_hash, mac FROM events WHERE sequence = ?"
_RUN = (
    "SELECT sequence, body, chain_hash, mac FROM events "
    "WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
)
NEWEST = "SELECT sequence, chain_hash FROM events ORDER BY sequence DESC LIMIT 1"


def hash_at(connection: sqlite3.Connection, keys: StoreKeys, store_id: bytes, sequence: int) -> bytes:
    """The chain hash of an event, or the genesis hash for 0."""
    if sequence == 0:
        return genesis(store_id)
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
    connection: sqlite3.Connection, keys: StoreKeys, store_id: bytes, *, after: int, through: int
) -> Iterator[StoredEvent]:
    """Every event above `after` up to and with `through`, verified one by one; none may be missing."""
    previous = hash_at(connection, keys, store_id, after)
    last = after
    for event in verified(keys, after, previous, connection.execute(_RUN, (after, through))):
        last = event.sequence
        yield event
    if last != through:
        raise StoreTampered(f"event {last + 1} is missing")
