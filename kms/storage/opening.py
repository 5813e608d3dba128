"""The checks at start: every row, the chain since the outside checkpoint, and whether both fit together.

`docs/spec/store.md`, "At start", lists what they detect.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kms.errors import ConfigError, StoreTampered
from kms.model.chain import Malformed, SignedCheckpoint, state_digest_of
from kms.storage import events
from kms.storage.authentication import StoreKeys, state_digest, verify_and_count
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.connection import translated
from kms.storage.index import Head, Index, Known, Published
from kms.storage.interface import StoreRolledBack

_ROWS = "SELECT kind, name, counter, body, mac FROM rows"
_BODY = "SELECT body FROM rows WHERE kind = ? AND name = ?"
_FRAGMENT = "SELECT chain_hash FROM events WHERE sequence = ?"


class CheckpointSigner(Protocol):
    """The audit key. `verify` raises `StoreTampered` unless the key made the signature."""

    def sign(self, message: bytes) -> bytes: ...

    def verify(self, message: bytes, signature: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A store that passed. `rollback` is "" or says which rollback was accepted."""

    published: Published
    rollback: str = ""


def examine(
    connection: sqlite3.Connection,
    *,
    store_id: bytes,
    keys: StoreKeys,
    signer: CheckpointSigner,
    outside: CheckpointFile,
    accept_rollback: bool,
) -> Opened:
    """Verify a store that has at least its first event.

    Raises `StoreTampered`; `StoreRolledBack`, unless accepted; `ConfigError` for another store's checkpoint.
    With an accepted rollback nothing outside vouches for the store, so the chain is verified from event 1.
    """
    index, counted = load_rows(connection, keys)
    rollback = ""
    try:
        anchor = vouched(connection, store_id, signer, read_outside(outside), outside.path)
    except StoreRolledBack as refused:
        if not accept_rollback:
            raise
        anchor, rollback = None, refused.message
    head = _verify_chain(connection, store_id, keys, anchor, counted)
    return Opened(Published(keys, index, head), rollback)


def unverified_body(connection: sqlite3.Connection, kind: str, name: str) -> bytes | None:
    """What the disk says, before there is a key to check it with; None for no row.

    Fit only for what authenticates itself, as wrapped keys do, or is verified with the store afterwards.
    """
    with translated():
        record = connection.execute(_BODY, (kind, name)).fetchone()
    return record[0] if record is not None and type(record[0]) is bytes else None


def load_rows(connection: sqlite3.Connection, keys: StoreKeys) -> tuple[Index, Head]:
    """All rows, verified one by one, and what they are together. Raises `StoreTampered`."""
    known: dict[str, dict[str, Known]] = {}
    accumulator = rows = 0
    for kind, name, *record in connection.execute(_ROWS):
        counter, mac, element = verify_and_count(keys, kind, name, *record)
        known.setdefault(kind, {})[name] = Known(counter, mac)
        accumulator ^= element
        rows += 1
    return Index(known), Head(0, b"", accumulator, rows)


def verified_checkpoint(line: Any, signer: CheckpointSigner) -> SignedCheckpoint:
    """A checkpoint that is kept inside the store. Raises `StoreTampered`."""
    try:
        signed = SignedCheckpoint.parse(line)
    except Malformed as error:
        raise StoreTampered(f"a stored checkpoint is damaged: {error}") from error
    signer.verify(signed.checkpoint.signed_bytes(), signed.signature)
    return signed


def vouched(
    connection: sqlite3.Connection,
    store_id: bytes,
    signer: CheckpointSigner,
    signed: SignedCheckpoint,
    path: Path,
) -> SignedCheckpoint:
    """A checkpoint that was kept at path, if this store's chain passes through it.

    Raises `StoreRolledBack`, and `ConfigError` for one of another store.
    """
    if signed.checkpoint.store_id != store_id:
        raise ConfigError(f"{path} belongs to another store; configure this store's own")
    try:
        signer.verify(signed.checkpoint.signed_bytes(), signed.signature)
    except StoreTampered:
        raise StoreRolledBack(f"the signature in {path} is not this store's") from None
    sequence = signed.checkpoint.sequence
    record = connection.execute(_FRAGMENT, (sequence,)).fetchone()
    if record is None:
        raise StoreRolledBack(f"the store ends before event {sequence}, to which {path} goes")
    if record[0] != signed.checkpoint.chain_hash:
        raise StoreRolledBack(f"event {sequence} is not the one that {path} speaks of")
    return signed


def read_outside(outside: CheckpointFile) -> SignedCheckpoint:
    """What is in the file, unverified. Raises `StoreRolledBack` for none or a damaged one, `ConfigError`."""
    try:
        signed = outside.read()
    except OSError as error:
        raise ConfigError(f"cannot read {outside.path}: {error.strerror}") from error
    except Malformed as error:
        raise StoreRolledBack(f"{outside.path} is damaged: {error}") from error
    if signed is None:
        raise StoreRolledBack(f"the checkpoint file {outside.path} is missing")
    return signed


def _verify_chain(
    connection: sqlite3.Connection,
    store_id: bytes,
    keys: StoreKeys,
    anchor: SignedCheckpoint | None,
    counted: Head,
) -> Head:
    """The head, once its events are verified from the anchor on and the rows have the newest state digest."""
    newest = connection.execute(events.NEWEST).fetchone()
    if newest is None:
        raise StoreTampered("the store has no events")
    through, chain_hash = newest
    if anchor is None:
        after, digest, taken_at = 0, None, 0
    else:
        after = taken_at = anchor.checkpoint.sequence
        digest = anchor.checkpoint.state_digest
    floor = events.floor_of(connection, keys, store_id)
    for event in events.run(connection, keys, floor, after=after, through=through):
        carried = _carried_digest(event.body)
        if carried is not None:
            digest, taken_at = carried, event.sequence
    if digest != state_digest(keys, counted.accumulator, counted.rows, taken_at):
        raise StoreTampered(f"the rows are not those of the newest state digest, at event {taken_at}")
    return counted._replace(sequence=through, chain_hash=chain_hash)


def _carried_digest(body: bytes) -> bytes | None:
    try:
        return state_digest_of(body)
    except Malformed as error:
        raise StoreTampered(f"an event's body is damaged: {error}") from error
