"""Somebody can write the store's files, but has no key. Each thing he may do is noticed; see the names.

Every test first shows that the same store without the tampering is fine (`workshop.open` or a read).
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from store_workshop import SIGNER, Workshop, an_event

from kms.errors import ConfigError, StoreTampered
from kms.model.chain import SignedCheckpoint, body_digest, link, parse_object
from kms.storage.authentication import StoreKeys
from kms.storage.interface import MISSING, Delete, Put, Row, StoreRolledBack
from kms.storage.sqlite import SqliteStore


def write(store: SqliteStore, name: str, body: bytes, expected: int) -> None:
    store.commit([Put("thing", name, body, expected)], [an_event()]).result(timeout=20)


def append(store: SqliteStore, count: int) -> None:
    store.commit([], [an_event()] * count).result(timeout=20)


class Edit(NamedTuple):
    why: str
    sql: str


ROW_EDITS = [
    Edit("body", "UPDATE rows SET body = x'00' WHERE name = 'a'"),
    Edit("counter", "UPDATE rows SET counter = 2 WHERE name = 'a'"),
    Edit("negative counter", "UPDATE rows SET counter = -1 WHERE name = 'a'"),
    Edit("mac", "UPDATE rows SET mac = zeroblob(32) WHERE name = 'a'"),
    Edit("short mac", "UPDATE rows SET mac = x'' WHERE name = 'a'"),
    Edit("row removed", "DELETE FROM rows WHERE name = 'a'"),
    Edit("row moved to another name", "UPDATE rows SET name = 'aa' WHERE name = 'a'"),
    Edit("row moved to another kind", "UPDATE rows SET kind = 'thong' WHERE name = 'a'"),
    Edit(
        "another row's bytes",
        "UPDATE rows SET (body, mac) = (SELECT body, mac FROM rows WHERE name = 'b') WHERE name = 'a'",
    ),
]


@pytest.mark.parametrize("edit", ROW_EDITS, ids=lambda edit: edit.why)
def test_an_edited_row_is_noticed_on_its_next_load(workshop: Workshop, edit: Edit) -> None:
    store = workshop.create()
    assert store.get("thing", "a") == Row("thing", "a", 1, b"first a")
    assert workshop.edit(edit.sql) == 1
    with pytest.raises(StoreTampered):
        store.get("thing", "a")
    with pytest.raises(StoreTampered):
        store.scan("thing")
    with pytest.raises(StoreTampered):
        write(store, "a", b"over it", 1)
    assert store.get("thing", "b") == Row("thing", "b", 1, b"first b")


@pytest.mark.parametrize("edit", ROW_EDITS, ids=lambda edit: edit.why)
def test_an_edited_row_is_noticed_at_start(workshop: Workshop, edit: Edit) -> None:
    workshop.create().close()
    workshop.open().close()
    workshop.edit(edit.sql)
    with pytest.raises(StoreTampered):
        workshop.open()
    with pytest.raises(StoreTampered):
        workshop.open(accept_rollback=True)


def keep_old_row(workshop: Workshop) -> Callable[[], int]:
    """Remember thing/a as it is; the result puts it back."""
    [(counter, body, mac)] = workshop.read("SELECT counter, body, mac FROM rows WHERE name = 'a'")
    sql = "INSERT OR REPLACE INTO rows (kind, name, counter, body, mac) VALUES ('thing', 'a', ?, ?, ?)"
    return lambda: workshop.edit(sql, counter, body, mac)


def test_an_older_valid_row_is_noticed_while_running(workshop: Workshop) -> None:
    store = workshop.create()
    put_back = keep_old_row(workshop)
    write(store, "a", b"second a", 1)
    assert store.get("thing", "a") == Row("thing", "a", 2, b"second a")
    put_back()
    with pytest.raises(StoreTampered, match="not the one last written"):
        store.get("thing", "a")


def test_a_deleted_row_that_is_put_back_is_noticed_while_running(workshop: Workshop) -> None:
    store = workshop.create()
    put_back = keep_old_row(workshop)
    store.commit([Delete("thing", "a", 1)], [an_event()]).result(timeout=20)
    assert store.get("thing", "a") is None
    put_back()
    with pytest.raises(StoreTampered):
        store.get("thing", "a")


def test_the_row_of_an_earlier_life_with_the_same_counter_is_noticed(workshop: Workshop) -> None:
    store = workshop.create()
    put_back = keep_old_row(workshop)
    store.commit([Delete("thing", "a", 1)], [an_event()]).result(timeout=20)
    write(store, "a", b"new life", MISSING)
    assert store.get("thing", "a") == Row("thing", "a", 1, b"new life")
    put_back()
    with pytest.raises(StoreTampered):
        store.get("thing", "a")


def test_an_older_valid_row_is_noticed_at_start(workshop: Workshop) -> None:
    store = workshop.create()
    put_back = keep_old_row(workshop)
    write(store, "a", b"second a", 1)
    append(store, 3)
    store.close()
    workshop.open().close()
    put_back()
    with pytest.raises(StoreTampered, match="newest state digest"):
        workshop.open()


def test_a_deleted_row_that_is_put_back_is_noticed_at_start(workshop: Workshop) -> None:
    store = workshop.create()
    put_back = keep_old_row(workshop)
    store.commit([Delete("thing", "a", 1)], [an_event()]).result(timeout=20)
    store.close()
    workshop.open().close()
    put_back()
    with pytest.raises(StoreTampered, match="newest state digest"):
        workshop.open()


def test_the_whole_store_put_back_is_a_rollback(workshop: Workshop) -> None:
    store = workshop.create()
    store.close()
    workshop.save("old")
    store = workshop.open()
    write(store, "a", b"second a", 1)
    store.close()
    workshop.open().close()
    workshop.restore("old")
    with pytest.raises(StoreRolledBack, match="ends before event 2"):
        workshop.open()


def test_an_old_copy_that_lived_on_is_a_rollback(workshop: Workshop) -> None:
    store = workshop.create()
    store.close()
    workshop.save("old")
    store = workshop.open()
    write(store, "a", b"one history", 1)
    store.close()
    workshop.save("ours")
    workshop.restore("old")
    workshop.restore("old", what="outside")
    other = workshop.open()
    write(other, "a", b"another history", 1)
    append(other, 5)
    other.close()
    workshop.restore("ours", what="outside")
    with pytest.raises(StoreRolledBack, match="event 2 is not the one"):
        workshop.open()


def test_an_accepted_rollback_starts_says_so_and_is_not_asked_again(workshop: Workshop) -> None:
    store = workshop.create()
    store.close()
    workshop.save("old")
    store = workshop.open()
    write(store, "a", b"second a", 1)
    store.close()
    workshop.restore("old")
    store = workshop.open(accept_rollback=True)
    assert store.get("thing", "a") == Row("thing", "a", 1, b"first a")
    said = parse_object(store.events(after=1)[0].body)
    assert (said["action"], said["reason"]) == ("Kms.AcceptRollback", "STORE_ROLLED_BACK")
    assert "ends before event 2" in said["details"]["found"]
    store.close()
    workshop.open().close()


def test_accepting_without_a_rollback_says_nothing(workshop: Workshop) -> None:
    workshop.create().close()
    store = workshop.open(accept_rollback=True)
    assert len(store.events()) == 1


CHAIN_EDITS = [
    Edit("truncated", "DELETE FROM events WHERE sequence > 4"),
    Edit("event removed", "DELETE FROM events WHERE sequence = 4"),
    Edit(
        "body changed",
        "UPDATE events SET body = CAST(replace(body, 'ALLOW', 'DENY') AS BLOB) WHERE sequence = 4",
    ),
    Edit("hash changed", "UPDATE events SET chain_hash = zeroblob(32) WHERE sequence = 4"),
    Edit("mac changed", "UPDATE events SET mac = zeroblob(32) WHERE sequence = 4"),
    Edit("renumbered", "UPDATE events SET sequence = 99 WHERE sequence = 6"),
    Edit(
        "reordered",
        "UPDATE events SET (body, chain_hash, mac) = (SELECT body, chain_hash, mac FROM events AS other "
        "WHERE other.sequence = 9 - events.sequence) WHERE sequence IN (4, 5)",
    ),
    Edit("all gone", "DELETE FROM events"),
]


@pytest.mark.parametrize("edit", CHAIN_EDITS, ids=lambda edit: edit.why)
def test_an_edited_chain_is_noticed_when_read(workshop: Workshop, edit: Edit) -> None:
    store = workshop.create()
    append(store, 5)
    assert len(store.events()) == 6
    assert workshop.edit(edit.sql) >= 1
    with pytest.raises(StoreTampered):
        store.events()


def events_ahead_of_the_checkpoint(workshop: Workshop) -> None:
    """Six events, of which the checkpoint file knows only the first."""
    store = workshop.create()
    workshop.save("at event 1")
    append(store, 5)
    store.close()
    workshop.restore("at event 1", what="outside")
    workshop.save("intact")
    workshop.open().close()
    workshop.restore("intact")
    workshop.restore("intact", what="outside")


@pytest.mark.parametrize("edit", CHAIN_EDITS[1:], ids=lambda edit: edit.why)
def test_an_edited_chain_ahead_of_the_checkpoint_is_noticed_at_start(workshop: Workshop, edit: Edit) -> None:
    events_ahead_of_the_checkpoint(workshop)
    workshop.edit(edit.sql)
    with pytest.raises(StoreTampered):
        workshop.open()


def test_events_that_no_checkpoint_covers_yet_can_be_cut_off(workshop: Workshop) -> None:
    """The stated limit: it lasts Limits.checkpoint_seconds, and never holds for changes."""
    events_ahead_of_the_checkpoint(workshop)
    workshop.edit(CHAIN_EDITS[0].sql)
    assert len(workshop.open().events()) == 4


def test_a_chain_truncated_before_the_checkpoint_is_a_rollback(workshop: Workshop) -> None:
    store = workshop.create()
    append(store, 5)
    store.close()
    workshop.open().close()
    workshop.edit("DELETE FROM events WHERE sequence > 4")
    with pytest.raises(StoreRolledBack):
        workshop.open()


def test_rows_and_chain_truncated_together_are_a_rollback(workshop: Workshop) -> None:
    store = workshop.create()
    put_back = keep_old_row(workshop)
    write(store, "a", b"second a", 1)
    store.close()
    put_back()
    workshop.edit("DELETE FROM events WHERE sequence > 1")
    with pytest.raises(StoreRolledBack):
        workshop.open()


def fabricate(workshop: Workshop, mac: bytes) -> int:
    """Append a well-chained event without the key."""
    [(sequence, previous)] = workshop.read(
        "SELECT sequence, chain_hash FROM events ORDER BY sequence DESC LIMIT 1"
    )
    body = b'{"action":"Forged","sequence":%d}' % (sequence + 1)
    chain_hash = link(previous, sequence + 1, body_digest(body))
    return workshop.edit("INSERT INTO events VALUES (?, ?, ?, ?)", sequence + 1, body, chain_hash, mac)


def test_a_fabricated_event_is_noticed_at_start(workshop: Workshop) -> None:
    workshop.create().close()
    workshop.open().close()
    fabricate(workshop, b"\x00" * 32)
    with pytest.raises(StoreTampered, match="event 2 fails its authentication"):
        workshop.open()


def test_a_fabricated_event_stops_a_running_store(workshop: Workshop) -> None:
    store = workshop.create()
    append(store, 1)
    fabricate(workshop, b"\x00" * 32)
    with pytest.raises(StoreTampered):
        append(store, 1)
    assert len(store.events()) == 2


def checkpoint_edits() -> list[tuple[str, Callable[[bytes], bytes]]]:
    def other_key(line: bytes) -> bytes:
        signed = SignedCheckpoint.parse(line[:-1])
        return SignedCheckpoint(signed.checkpoint, b"\x01" * 64).to_line() + b"\n"

    def lower_sequence(line: bytes) -> bytes:
        return line.replace(b'"sequence":4', b'"sequence":1')

    return [
        ("sequence lowered", lower_sequence),
        ("signature replaced", other_key),
        ("hash changed", lambda line: line.replace(b'chain_hash":"', b'chain_hash":"00')[:-2] + b"\n"),
        ("cut off", lambda line: line[:-1]),
        ("emptied", lambda _: b""),
        ("a line added", lambda line: line + line),
        ("a space added", lambda line: line.replace(b":", b": ", 1)),
        ("filled", lambda line: line + b" " * 10_000),
    ]


@pytest.mark.parametrize(("why", "edit"), checkpoint_edits(), ids=[why for why, _ in checkpoint_edits()])
def test_an_edited_checkpoint_file_needs_explicit_acceptance(
    workshop: Workshop, why: str, edit: Callable[[bytes], bytes]
) -> None:
    store = workshop.create()
    append(store, 3)
    store.close()
    workshop.open().close()
    line = workshop.outside.read_bytes()
    assert edit(line) != line
    workshop.outside.write_bytes(edit(line))
    with pytest.raises(StoreRolledBack):
        workshop.open()
    store = workshop.open(accept_rollback=True)
    assert parse_object(store.events(after=4)[0].body)["action"] == "Kms.AcceptRollback"


def test_a_missing_checkpoint_file_needs_explicit_acceptance(workshop: Workshop) -> None:
    workshop.create().close()
    workshop.open().close()
    workshop.outside.unlink()
    with pytest.raises(StoreRolledBack, match="missing"):
        workshop.open()
    workshop.open(accept_rollback=True).close()
    workshop.open().close()


def test_an_accepted_rollback_verifies_the_chain_from_its_first_event(workshop: Workshop) -> None:
    store = workshop.create()
    append(store, 5)
    store.close()
    workshop.edit("UPDATE events SET body = CAST(replace(body, 'ALLOW', 'DENY') AS BLOB) WHERE sequence = 2")
    workshop.outside.unlink()
    with pytest.raises(StoreTampered, match="event 2"):
        workshop.open(accept_rollback=True)


def test_the_checkpoint_file_of_another_store_is_a_mistake_of_configuration(workshop: Workshop) -> None:
    workshop.create().close()
    line = workshop.outside.read_bytes()
    workshop.outside.write_bytes(line.replace(b"store-id-16bytes".hex().encode(), b"00" * 16))
    for accept in (False, True):
        with pytest.raises(ConfigError, match="another store"):
            workshop.open(accept_rollback=accept)


def test_a_forged_checkpoint_inside_is_noticed_when_read(workshop: Workshop) -> None:
    store = workshop.create()
    assert len(store.checkpoints()) == 1
    workshop.edit("UPDATE checkpoints SET line = CAST(replace(line, '2', '3') AS BLOB)")
    with pytest.raises(StoreTampered):
        store.checkpoints()
    workshop.edit("UPDATE checkpoints SET line = x'00'")
    with pytest.raises(StoreTampered):
        store.checkpoints()


@pytest.mark.parametrize("key", ["row", "element", "state", "event"])
def test_each_key_is_needed_to_open(workshop: Workshop, key: str) -> None:
    store = workshop.create()
    workshop.save("at event 1")
    append(store, 1)
    store.close()
    workshop.restore("at event 1", what="outside")
    right = {"row": b"r" * 32, "element": b"e" * 32, "state": b"s" * 32, "event": b"v" * 32}
    workshop.open(keys=StoreKeys(**right)).close()
    workshop.restore("at event 1", what="outside")
    with pytest.raises(StoreTampered):
        workshop.open(keys=StoreKeys(**{**right, key: b"?" * 32}))


@pytest.mark.parametrize("table", ["rows", "events"])
def test_a_table_that_is_gone_is_noticed(workshop: Workshop, table: str) -> None:
    store = workshop.create()
    store.close()
    workshop.open().close()
    workshop.edit(f"DROP TABLE {table}")
    with pytest.raises(StoreTampered):
        workshop.open()


def test_a_file_that_is_no_database_is_noticed(workshop: Workshop) -> None:
    workshop.create().close()
    workshop.path.write_bytes(b"not a database, " * 1000)
    with pytest.raises(StoreTampered, match="damaged"):
        workshop.open()


def test_a_planted_trigger_cannot_change_what_is_read(workshop: Workshop) -> None:
    store = workshop.create()
    append(store, 1)
    workshop.edit("CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM rows WHERE name = 'b'; END")
    append(store, 1)
    with pytest.raises(StoreTampered, match="thing b is missing"):
        store.get("thing", "b")


def test_keys_do_not_show_in_a_repr() -> None:
    keys = StoreKeys(row=b"secretrow", element=b"secret", state=b"secret", event=b"secret")
    assert "secret" not in repr(keys)
    assert "seed, 32 bytes" not in repr(SIGNER)


def test_a_schema_that_is_no_text_any_more_is_noticed(workshop: Workshop) -> None:
    workshop.create().close()
    data = workshop.path.read_bytes()
    assert data.count(b"counter INTEGER") == 1
    workshop.path.write_bytes(data.replace(b"counter INTEGER", b"counter \xf4NTEGER"))
    with pytest.raises(StoreTampered, match="damaged"):
        workshop.open()
