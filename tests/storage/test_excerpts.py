"""Rows as they stood at one moment, while others go on writing; and many rows created at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from store_workshop import Workshop, an_event

from kms.errors import StoreTampered, Unavailable
from kms.storage.interface import (
    MISSING,
    Change,
    Creations,
    Delete,
    Put,
    Receipt,
    Require,
    Row,
    Store,
    WriteConflict,
)
from kms.storage.sqlite import SqliteStore

ACME = "tenants/acme"
# How often creations are read before they are written, and then.
WRITING = 6
NAMES = [ACME, f"{ACME}/a", f"{ACME}/b/c", f"{ACME}-2", f"{ACME}0", "tenants/acm", "other"]


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, workshop: Workshop) -> Store:
    store: Store = {"sqlite": workshop.create}[request.param]()
    write(store, *(Put(kind, name, f"{kind} {name}".encode(), MISSING) for name in NAMES for kind in "yx"))
    return store


def write(store: Store, *changes: Change) -> Receipt:
    return store.commit(changes, [an_event()]).result(timeout=20)


def test_excerpt_has_what_is_named_by_the_scope_or_below_it(store: Store) -> None:
    with store.excerpt(["y", "none", "x"], ACME) as excerpt:
        rows = list(excerpt.rows)
    assert [(row.kind, row.name) for row in rows] == [(kind, name) for kind in "yx" for name in NAMES[:3]]
    assert rows[0] == Row("y", ACME, 1, b"y tenants/acme")
    assert excerpt.count == 6


def test_excerpt_says_where_the_chain_stood(store: Store) -> None:
    receipt = write(store, Put("x", "new", b"", MISSING))
    with store.excerpt(["x"], ACME) as excerpt:
        write(store, Put("x", "newer", b"", MISSING))
        assert (excerpt.sequence, excerpt.chain_hash) == (receipt.sequence, receipt.chain_hash)


def test_excerpt_does_not_see_what_is_written_meanwhile(store: Store) -> None:
    with store.excerpt(["x"], ACME) as excerpt:
        first = next(excerpt.rows)
        write(store, Put("x", f"{ACME}/a", b"changed", 1), Put("x", f"{ACME}/b", b"new", MISSING))
        rest = list(excerpt.rows)
    assert [row.name for row in (first, *rest)] == NAMES[:3]
    assert rest[0].body == f"x {ACME}/a".encode()
    with store.excerpt(["x"], ACME) as later:
        assert [row.body for row in later.rows][1:3] == [b"changed", b"new"]


def test_deletion_waits_for_an_excerpt_and_is_done_after_it(store: Store) -> None:
    with store.excerpt(["x"], ACME) as excerpt:
        deleted = store.commit([Delete("x", f"{ACME}/a", 1)], [an_event()])
        assert len(list(excerpt.rows)) == 3
        assert not deleted.done()
    deleted.result(timeout=20)
    assert store.get("x", f"{ACME}/a") is None


def test_nobody_else_waits_for_a_deletion_that_waits_for_an_excerpt(store: Store) -> None:
    with store.excerpt(["x"], ACME):
        deleted = store.commit([Delete("x", f"{ACME}/a", 1)], [an_event()])
        written = write(store, Put("x", "new", b"", MISSING))
        both = store.commit([Put("x", "newer", b"", MISSING)], [an_event()]).result(timeout=20)
        assert store.get("x", f"{ACME}/a") is None
        assert store.checkpoint().result(timeout=20).checkpoint.sequence == both.sequence
        assert not deleted.done()
    assert deleted.result(timeout=20).sequence < written.sequence


def test_deletion_comes_before_the_next_excerpt(store: Store, workshop: Workshop) -> None:
    with store.excerpt(["x"], ACME):
        deleted = store.commit([Delete("x", f"{ACME}/a", 1)], [an_event()])
        write(store, Put("x", "new", b"", MISSING))
    with store.excerpt(["x"], ACME) as excerpt:
        assert deleted.result(timeout=20).sequence
        assert f"{ACME}/a" not in [row.name for row in excerpt.rows]


def test_erasure_that_nobody_waits_for_lets_the_next_excerpt_in(store: Store) -> None:
    with store.excerpt(["x"], ACME):
        deleted = store.commit([Delete("x", f"{ACME}/a", 1)], [an_event()])
        assert store.checkpoint().result(timeout=20)
    deleted.result(timeout=20)
    for _ in range(3):
        with store.excerpt(["x"], ACME) as excerpt:
            assert len(list(excerpt.rows)) == 2


def test_deletions_among_excerpts_are_all_answered(store: Store) -> None:
    for number in range(40):
        write(store, Put("x", f"{ACME}/n{number}", b"", MISSING))
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with store.excerpt(["x"], ACME) as excerpt:
                list(excerpt.rows)

    thread = threading.Thread(target=read)
    thread.start()
    deleted = [store.commit([Delete("x", f"{ACME}/n{number}", 1)], [an_event()]) for number in range(40)]
    try:
        for future in deleted:
            future.result(timeout=20)
    finally:
        ended.set()
        thread.join(20)


def test_store_that_closes_answers_who_waits_for_an_excerpt(store: SqliteStore) -> None:
    with store.excerpt(["x"], ACME):
        deleted = store.commit([Delete("x", f"{ACME}/a", 1)], [an_event()])
        closing = threading.Thread(target=store.close)
        closing.start()
        assert not deleted.done()
    closing.join(20)
    assert deleted.result(timeout=0)


def test_excerpts_are_taken_one_after_the_other(store: Store) -> None:
    taken: Future[int] = Future()

    def take() -> None:
        with store.excerpt(["x"], ACME) as second:
            taken.set_result(second.count)

    with store.excerpt(["x"], ACME):
        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.done()
    assert taken.result(timeout=20) == 3
    thread.join(20)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE rows SET body = x'00' WHERE kind = 'x' AND name = 'tenants/acme/a'",
        "DELETE FROM rows WHERE kind = 'x' AND name = 'tenants/acme/b/c'",
        "INSERT INTO rows (kind, name, counter, body, mac) "
        "SELECT kind, 'tenants/acme/z', counter, body, mac FROM rows WHERE kind = 'x' AND name = 'other'",
        "UPDATE rows SET counter = 2 WHERE kind = 'x' AND name = 'tenants/acme'",
    ],
)
def test_excerpt_is_verified(store: Store, workshop: Workshop, sql: str) -> None:
    assert workshop.edit(sql) == 1
    with store.excerpt(["x"], ACME) as excerpt, pytest.raises(StoreTampered):
        list(excerpt.rows)


def test_creations_are_read_anew_and_written_as_one_unit(store: Store) -> None:
    puts = [Put("new", f"n{number:03d}", b"%d" % number, MISSING) for number in range(300)]
    creations = Creations(lambda: iter([*puts, Require("x", ACME, 1)]), 301)
    assert puts[7] in creations
    store.commit(creations, [an_event()]).result(timeout=20)
    with store.excerpt(["new"], "n007") as excerpt:
        assert [row.body for row in excerpt.rows] == [b"7"]
    assert len(store.scan("new")) == 300


@pytest.mark.parametrize("conflict", [Put("x", "other", b"", MISSING), Require("x", ACME, 2)])
def test_creations_that_conflict_leave_nothing(store: Store, conflict: Put | Require) -> None:
    creations = Creations(lambda: iter([Put("new", "n", b"", MISSING), conflict]), 2)
    with pytest.raises(WriteConflict):
        store.commit(creations, [an_event()]).result(timeout=20)
    assert store.get("new", "n") is None


def test_creations_that_cannot_be_read_to_their_end_leave_nothing(store: Store) -> None:
    reads: list[int] = []

    def read() -> Iterator[Put | Require]:
        reads.append(1)
        yield Put("new", "first", b"", MISSING)
        if len(reads) == WRITING:
            raise Unavailable("the source is gone")
        yield Put("new", "second", b"", MISSING)

    with pytest.raises(Unavailable, match="source"):
        store.commit(Creations(read, 2), [an_event()]).result(timeout=20)
    assert store.scan("new") == []
    write(store, Put("new", "first", b"", MISSING))
    assert len(reads) == WRITING
