"""What authenticates the store's rows, events and state: pure functions of keys and public bytes.

Each key is 32 bytes, derived from the root key for one use (`docs/spec/store.md`, "Keys").
"""

import hmac
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from blindfold._encoding import lp, u64
from kms.errors import StoreTampered
from kms.model.chain import HASH_SIZE
from kms.storage.interface import Row


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """The four keys of a store. `element` and `state` make the state digest.

    While others are being replaced by these, `previous` says which rows and events are still theirs.
    """

    row: bytes = field(repr=False)
    element: bytes = field(repr=False)
    state: bytes = field(repr=False)
    event: bytes = field(repr=False)
    previous: "Previous | None" = None

    def of_row(self, kind: str, name: str) -> "StoreKeys":
        """Those that the row's mac and element are made with."""
        previous = self.previous
        return self if previous is None or previous.is_past_row(kind, name) else previous.keys

    def of_event(self, sequence: int) -> "StoreKeys":
        """Those that the event's mac is made with."""
        previous = self.previous
        return self if previous is None or sequence > previous.event else previous.keys


@dataclass(frozen=True, slots=True)
class Previous:
    """The keys before, and where what is still theirs begins: behind a row, and up to an event.

    Rows are in the order of kind and name; None stands behind all of them. `place` is the row that says this.
    It is never theirs: who has the keys before could make later events theirs by it.
    """

    keys: StoreKeys
    row: tuple[str, str] | None
    event: int
    place: tuple[str, str]

    def is_past_row(self, kind: str, name: str) -> bool:
        wanted = (kind, name)
        return self.row is None or wanted <= self.row or wanted == self.place


def encode_row(row: Row) -> bytes:
    """lp(kind) || lp(name) || u64(counter) || body. Injective: only the last field has no length."""
    return _encode(row.kind, row.name, row.counter, row.body)


def _encode(kind: str, name: str, counter: int, body: bytes) -> bytes:
    return _kind(kind) + lp(name.encode()) + u64(counter) + body


@lru_cache(maxsize=256)
def _kind(kind: str) -> bytes:
    return lp(kind.encode())


def row_mac(keys: StoreKeys, row: Row) -> bytes:
    return _mac(keys.of_row(row.kind, row.name).row, encode_row(row))


def verify_row(keys: StoreKeys, kind: str, name: str, record: tuple[Any, ...]) -> tuple[Row, bytes]:
    """The row of (counter, body, mac) as read from the disk, and its mac. Raises `StoreTampered`."""
    counter, body, mac = record
    _verified(keys.of_row(kind, name), kind, name, counter, body, mac)
    return Row(kind, name, counter, body), mac


def verify_and_count(
    keys: StoreKeys, kind: str, name: str, counter: Any, body: Any, mac: Any
) -> tuple[int, bytes, int]:
    """As `verify_row`, for less: the counter, the mac, and what `row_element` gives."""
    own = keys.of_row(kind, name)
    return counter, mac, _element(own, _verified(own, kind, name, counter, body, mac))


def _verified(keys: StoreKeys, kind: str, name: str, counter: Any, body: Any, mac: Any) -> bytes:
    """The encoding of an authentic row."""
    if type(counter) is int and type(body) is bytes and type(mac) is bytes and 1 <= counter < 2**63:
        encoding = _encode(kind, name, counter, body)
        if hmac.compare_digest(mac, _mac(keys.row, encoding)):
            return encoding
    raise StoreTampered(f"the row {kind} {name} fails its authentication")


def row_element(keys: StoreKeys, row: Row) -> int:
    """The row's term in the state accumulator, as an integer of 256 bits."""
    return _element(keys.of_row(row.kind, row.name), encode_row(row))


def _element(keys: StoreKeys, encoding: bytes) -> int:
    return int.from_bytes(_mac(keys.element, encoding), "big")


def state_digest(keys: StoreKeys, accumulator: int, rows: int, sequence: int) -> bytes:
    """The digest of all live rows at an event.

    A multiset hash in the manner of MSet-XOR-Hash (Clarke et al., ASIACRYPT 2003): the accumulator is the
    XOR over all rows' elements, here never published but under a second HMAC, with the number of rows and
    the event's sequence number.
    """
    message = accumulator.to_bytes(HASH_SIZE, "big") + u64(rows) + u64(sequence)
    return _mac(keys.state, message)


def event_mac(keys: StoreKeys, sequence: int, chain_hash: bytes) -> bytes:
    return _mac(keys.of_event(sequence).event, chain_hash)


def verify_event_mac(keys: StoreKeys, sequence: int, chain_hash: bytes, mac: Any) -> None:
    """Raise `StoreTampered` unless the event was written by a holder of the key."""
    if type(mac) is not bytes or not hmac.compare_digest(mac, event_mac(keys, sequence, chain_hash)):
        raise StoreTampered(f"event {sequence} fails its authentication")


def _mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256. Not by `hmac.digest`, which lets other threads in: the writer would wait at each row."""
    return hmac.new(key, message, "sha256").digest()
