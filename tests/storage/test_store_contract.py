"""What every implementation of `kms.storage.interface.Store` does. A new one joins through the fixture."""

from concurrent.futures import Future
from typing import NamedTuple

import pytest
from store_workshop import Workshop, an_event

from kms.errors import InvalidField, Unavailable
from kms.model.chain import body_digest, genesis, link, parse_object, state_digest_of
from kms.storage.interface import (
    MISSING,
    Change,
    Delete,
    Put,
    Receipt,
    Require,
    RequireNone,
    Row,
    Store,
    WriteConflict,
)


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, workshop: Workshop) -> Store:
    return {"sqlite": workshop.create}[request.param]()


def done(future: "Future[Receipt]") -> Receipt:
    return future.result(timeout=20)


def test_a_row_that_was_put_is_got_back_with_its_counter(store: Store) -> None:
    done(store.commit([Put("thing", "c", b"\x00body", MISSING)], [an_event()]))
    assert store.get("thing", "c") == Row("thing", "c", 1, b"\x00body")


def test_a_row_that_nobody_put_is_none(store: Store) -> None:
    assert store.get("thing", "nothing") is None
    assert store.get("other", "a") is None


def test_each_write_raises_the_counter_by_one(store: Store) -> None:
    for counter in (1, 2, 3):
        done(store.commit([Put("thing", "a", b"%d" % counter, counter)], [an_event()]))
    assert store.get("thing", "a") == Row("thing", "a", 4, b"3")


def test_a_stamp_is_the_same_until_the_row_is_written(store: Store) -> None:
    assert store.stamp("thing", "new") is None
    done(store.commit([Put("thing", "new", b"1", MISSING)], [an_event()]))
    first = store.stamp("thing", "new")
    done(store.commit([Put("thing", "other", b"1", MISSING)], [an_event()]))
    assert first is not None
    assert store.stamp("thing", "new") == first
    done(store.commit([Put("thing", "new", b"1", 1)], [an_event()]))
    assert store.stamp("thing", "new") not in (None, first)
    done(store.commit([Delete("thing", "new", 2)], [an_event()]))
    assert store.stamp("thing", "new") is None


def test_a_deleted_row_is_gone_and_may_be_created_again(store: Store) -> None:
    done(store.commit([Delete("thing", "a", 1)], [an_event()]))
    assert store.get("thing", "a") is None
    done(store.commit([Put("thing", "a", b"again", MISSING)], [an_event()]))
    assert store.get("thing", "a") == Row("thing", "a", 1, b"again")


class Conflict(NamedTuple):
    why: str
    change: Change


CONFLICTS = [
    Conflict("create what is there", Put("thing", "a", b"x", MISSING)),
    Conflict("write with an old counter", Put("thing", "a", b"x", 7)),
    Conflict("write what is missing", Put("thing", "z", b"x", 1)),
    Conflict("delete with an old counter", Delete("thing", "a", 2)),
    Conflict("delete what is missing", Delete("thing", "z", 1)),
    Conflict("require another counter", Require("thing", "a", 2)),
    Conflict("require absence of what is there", Require("thing", "a", MISSING)),
]


@pytest.mark.parametrize("case", CONFLICTS, ids=lambda case: case.why)
def test_a_wrong_expectation_writes_nothing_of_its_unit(store: Store, case: Conflict) -> None:
    before = store.events()
    unit = [Put("thing", "b", b"would be second", 1), case.change]
    with pytest.raises(WriteConflict):
        done(store.commit(unit, [an_event()]))
    assert store.get("thing", "b") == Row("thing", "b", 1, b"first b")
    assert store.get("thing", "a") == Row("thing", "a", 1, b"first a")
    assert store.events() == before


def test_require_that_holds_writes_no_row(store: Store) -> None:
    done(store.commit([Require("thing", "a", 1), Require("thing", "z", MISSING)], [an_event()]))
    assert store.get("thing", "a") == Row("thing", "a", 1, b"first a")
    assert store.get("thing", "z") is None


def test_require_none_holds_where_nothing_has_a_name_that_starts_so(store: Store) -> None:
    done(store.commit([RequireNone("thing", "b/"), RequireNone("other", "a")], [an_event()]))
    with pytest.raises(WriteConflict):
        done(store.commit([RequireNone("thing", "b")], [an_event()]))


def test_require_none_does_not_count_what_its_own_unit_deletes(store: Store) -> None:
    made = [Put("thing", name, b"", MISSING) for name in ("house/1", "house/2")]
    none, first, second = RequireNone("thing", "house/"), *(Delete("thing", put.name, 1) for put in made)
    done(store.commit(made, [an_event()]))
    with pytest.raises(WriteConflict):
        done(store.commit([first, none], [an_event()]))
    done(store.commit([first, second, none], [an_event()]))
    done(store.commit([none], [an_event()]))


def test_require_none_sees_the_units_before_it_in_its_group(store: Store) -> None:
    for made in ("house/1", "house/2"):
        first = store.commit([Put("thing", made, b"", MISSING)], [an_event()])
        second = store.commit([RequireNone("thing", "house/")], [an_event()])
        done(first)
        with pytest.raises(WriteConflict):
            done(second)
    first = store.commit([Delete("thing", "house/1", 1), Delete("thing", "house/2", 1)], [an_event()])
    second = store.commit([RequireNone("thing", "house/")], [an_event()])
    done(first)
    done(second)


def test_of_two_units_that_read_the_same_counter_one_fails(store: Store) -> None:
    futures = [store.commit([Put("thing", "a", b"%d" % n, 1)], [an_event()]) for n in range(2)]
    errors = [future.exception(timeout=20) for future in futures]
    assert errors[0] is None
    assert isinstance(errors[1], WriteConflict)
    assert store.get("thing", "a") == Row("thing", "a", 2, b"0")


def test_a_conflict_leaves_the_other_units_of_its_group_alone(store: Store) -> None:
    futures = [store.commit([Put("many", f"n{n % 50}", b"x", MISSING)], [an_event()]) for n in range(100)]
    errors = [future.exception(timeout=20) for future in futures]
    assert errors[:50] == [None] * 50
    assert {type(error) for error in errors[50:]} == {WriteConflict}
    assert len(store.scan("many")) == 50


def test_scan_gives_a_kind_in_name_order_by_prefix_and_page(store: Store) -> None:
    names = ["k/a", "k/b", "k/c/1", "k/é", "l/a", "k"]
    done(store.commit([Put("page", name, name.encode(), MISSING) for name in names], [an_event()]))
    assert [row.name for row in store.scan("page")] == sorted(names)
    assert [row.name for row in store.scan("page", "k/")] == ["k/a", "k/b", "k/c/1", "k/é"]
    assert [row.name for row in store.scan("page", "k/", limit=2)] == ["k/a", "k/b"]
    assert [row.name for row in store.scan("page", "k/", after="k/b", limit=2)] == ["k/c/1", "k/é"]
    assert store.scan("page", "k/", after="k/é") == []
    assert store.scan("page", "nothing") == store.scan("nothing") == []


def test_events_are_numbered_from_one_and_chained_from_the_stores_own_genesis(store: Store) -> None:
    receipt = done(store.commit([], [an_event("One"), an_event("Two")]))
    events = store.events()
    assert [event.sequence for event in events] == [1, 2, 3]
    previous = genesis(b"store-id-16bytes")
    for event in events:
        previous = link(previous, event.sequence, body_digest(event.body))
        assert event.chain_hash == previous
    assert receipt == Receipt(3, parse_object(events[-1].body)["event_id"], previous)
    assert [parse_object(event.body)["action"] for event in events] == ["Kms.Init", "One", "Two"]


def test_events_page_and_stop_at_the_head(store: Store) -> None:
    done(store.commit([], [an_event(str(n)) for n in range(2, 6)]))
    assert [event.sequence for event in store.events(after=1, limit=2)] == [2, 3]
    assert [event.sequence for event in store.events(after=3)] == [4, 5]
    assert store.events(after=5) == store.events(after=99) == []


def test_only_the_last_event_of_a_unit_with_changes_carries_a_state_digest(store: Store) -> None:
    done(store.commit([Put("thing", "c", b"", MISSING)], [an_event("One"), an_event("Two")]))
    done(store.commit([Require("thing", "c", 1)], [an_event("Three")]))
    carried = [state_digest_of(event.body) is not None for event in store.events()]
    assert carried == [True, False, True, False]


def test_details_that_imitate_a_state_digest_are_not_one(store: Store) -> None:
    done(store.commit([], [an_event(state_digest="00" * 32)]))
    assert state_digest_of(store.events(after=1)[0].body) is None


def test_every_event_has_an_id_of_its_own(store: Store) -> None:
    done(store.commit([], [an_event()] * 20))
    ids = {parse_object(event.body)["event_id"] for event in store.events()}
    assert len(ids) == 21


def test_a_checkpoint_covers_the_head_and_is_listed(store: Store) -> None:
    receipt = done(store.commit([], [an_event()]))
    signed = store.checkpoint().result(timeout=20)
    assert (signed.checkpoint.sequence, signed.checkpoint.chain_hash) == (2, receipt.chain_hash)
    assert [made.checkpoint.sequence for made in store.checkpoints()] == [1, 2]
    assert store.checkpoints(after=1) == [signed]
    assert store.checkpoint().result(timeout=20) == signed


class Refused(NamedTuple):
    why: str
    changes: list[Change]
    events: int


REFUSED = [
    Refused("no event", [Put("thing", "z", b"", MISSING)], 0),
    Refused("a row twice", [Put("thing", "z", b"", MISSING), Require("thing", "z", MISSING)], 1),
    Refused("an empty name", [Put("thing", "", b"", MISSING)], 1),
    Refused("an empty kind", [Put("", "z", b"", MISSING)], 1),
    Refused("a name with NUL", [Put("thing", "a\x00b", b"", MISSING)], 1),
    Refused("a name too long", [Put("thing", "é" * 32768, b"", MISSING)], 1),
    Refused("a name that is no Unicode", [Put("thing", "\ud800", b"", MISSING)], 1),
    Refused("deleting what is said to be missing", [Delete("thing", "z", MISSING)], 1),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.why)
def test_a_unit_that_makes_no_sense_is_refused_at_once(store: Store, case: Refused) -> None:
    with pytest.raises(ValueError, match=r".+"):
        store.commit(case.changes, [an_event()] * case.events)
    assert len(store.events()) == 1


@pytest.mark.parametrize("changes", [[], [Put("thing", "z", b"", MISSING)]], ids=["events", "changes"])
def test_an_event_without_canonical_form_fails_its_unit_only(store: Store, changes: list[Change]) -> None:
    bad = store.commit(changes, [an_event(), an_event(text="\ud800")])
    good = store.commit([Put("thing", "y", b"", MISSING)], [an_event()])
    with pytest.raises(InvalidField):
        done(bad)
    assert done(good).sequence == 2
    assert store.get("thing", "z") is None


def test_after_close_nothing_is_committed_or_read(store: Store) -> None:
    store.close()
    with pytest.raises(Unavailable):
        done(store.commit([], [an_event()]))
    with pytest.raises(Unavailable):
        store.get("thing", "a")
    store.close()


def test_close_commits_what_waits(workshop: Workshop, store: Store) -> None:
    futures = [store.commit([], [an_event()]) for _ in range(500)]
    store.close()
    assert {future.exception(timeout=0) for future in futures} == {None}
    assert workshop.open().events(after=500)[-1].sequence == 501
