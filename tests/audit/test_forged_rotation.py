"""The row that says how far a rotation of the root key is, written by who has no key, or the old root key."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from test_authenticated_store import Place, an_event, told

from kms.audit.authenticated_store import create_store
from kms.audit.rotation import store_keys
from kms.errors import StoreTampered
from kms.model.records import RotationRecord
from kms.storage.authentication import StoreKeys, row_mac
from kms.storage.environment import Limits
from kms.storage.interface import Row

KIND, NAME = RotationRecord.KIND, RotationRecord.NAME
Forge = Callable[[Row], tuple[bytes, bytes]]


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
        sql = "UPDATE rows SET body = ?, mac = ? WHERE kind = ? AND name = ?"
        assert connection.execute(sql, (body, mac, KIND, NAME)).rowcount == 1


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
