"""What is written into a store by who has no key, or an old root key, amid its rotation and after it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from rotating import rotate
from test_authenticated_store import Place, an_event, told

from kms.audit.authenticated_store import ROOT_KEY, create_store
from kms.audit.rotation import store_keys
from kms.crypto.key_hierarchy import ROOT_WRAPPED
from kms.crypto.root_of_trust.interface import WrongRootMaterial
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.errors import StoreTampered
from kms.model.chain import body_digest, event_body, link
from kms.model.records import RotationRecord
from kms.storage.authentication import StoreKeys, event_mac, row_element, row_mac, state_digest
from kms.storage.environment import Limits
from kms.storage.interface import Row

KIND, NAME = RotationRecord.KIND, RotationRecord.NAME


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store whose root key was begun to be rotated, closed. Nothing is moved."""
    made = Place(tmp_path)
    made.settings = replace(made.settings, limits=Limits(step_rows=1, step_events=1))
    new = create_store(made.path, made.settings, made.keyfile)
    new.store.commit([], [an_event()]).result(20)
    new.close()
    return made


def begin(place: Place) -> tuple[Row, StoreKeys]:
    """The row that says how far it is, and the keys before."""
    with place.opened() as opened:
        before = store_keys(opened.root.keys)
        opened.begin_rotation(place.keyfile, told("RotateRootKey"))
        row = opened.store.get(KIND, NAME)
        assert row is not None
        return row, before


def write(place: Place, body: bytes, mac: bytes) -> None:
    with closing(sqlite3.connect(place.path, isolation_level=None)) as connection:
        write_row(connection, Row(KIND, NAME, 1, body), mac)


def write_row(connection: sqlite3.Connection, row: Row, mac: bytes) -> None:
    sql = "UPDATE rows SET body = ?, mac = ? WHERE kind = ? AND name = ?"
    assert connection.execute(sql, (row.body, mac, row.kind, row.name)).rowcount == 1


def test_who_has_the_old_root_key_cannot_say_that_later_events_are_under_it(place: Place) -> None:
    row, before = begin(place)
    rotation = replace(RotationRecord.from_bytes(row.body), event=2**40)
    forged = replace(row, body=rotation.to_bytes())
    write(place, forged.body, row_mac(before, forged))
    with (
        pytest.raises(StoreTampered, match=f"the row {KIND} {NAME} fails its authentication"),
        place.opened(),
    ):
        pass


@pytest.mark.parametrize("row", [b"[1,2]", b"[null,null]", b'[["a"],"b"]', b'"ab"', b"[]"])
def test_a_place_that_is_no_row_is_damage(place: Place, row: bytes) -> None:
    genuine, _ = begin(place)
    body = genuine.body.replace(b'"row":["",""]', b'"row":' + row)
    assert body != genuine.body
    write(place, body, bytes(32))
    with pytest.raises(StoreTampered), place.opened():
        pass


def forge_by(place: Place, before: StoreKeys, kept: Sequence[Row]) -> None:
    """Put back what an earlier root key wrapped, and authenticate everything by it."""
    olds = {(row.kind, row.name): row.body for row in kept}
    accumulator = 0
    with closing(sqlite3.connect(place.path, isolation_level=None)) as connection:
        rows = connection.execute("SELECT kind, name, counter, body FROM rows").fetchall()
        for kind, name, counter, body in rows:
            row = Row(kind, name, counter, olds.get((kind, name), body))
            accumulator ^= row_element(before, row)
            write_row(connection, row, row_mac(before, row))
        events = connection.execute("SELECT sequence, chain_hash FROM events").fetchall()
        for sequence, chain_hash in events:
            mac = event_mac(before, sequence, chain_hash)
            connection.execute("UPDATE events SET mac = ? WHERE sequence = ?", (mac, sequence))
        sequence, chain_hash = max(events)
        digest = state_digest(before, accumulator, len(rows), sequence + 1)
        body = event_body(an_event(), sequence=sequence + 1, event_id="forged", state_digest=digest)
        last = link(chain_hash, sequence + 1, body_digest(body))
        forged = (sequence + 1, body, last, event_mac(before, sequence + 1, last))
        connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", forged)


@pytest.mark.parametrize("is_changed", [False, True])
def test_an_earlier_root_key_opens_as_long_as_the_root_of_trust_has_the_same_material(
    place: Place, tmp_path: Path, is_changed: bool
) -> None:
    """The limit that the specification names, and what ends it."""
    other = Keyfile.create(tmp_path / "other") if is_changed else place.keyfile
    with place.opened() as opened:
        before = store_keys(opened.root.keys)
        kept = [row for kind in (ROOT_KEY, *ROOT_WRAPPED) for row in opened.store.scan(kind)]
        rotate(opened, told("RotateRootKey"))
        if is_changed:
            opened.exchange_provider(place.keyfile, other, told("ChangeRootOfTrust"))
    with place.opened(other):
        pass
    forge_by(place, before, kept)
    with pytest.raises(WrongRootMaterial) if is_changed else nullcontext(), place.opened(other):
        pass
