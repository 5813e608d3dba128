"""The keys of the store replaced in steps, amid writes, closings and crashes, in any order."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, invariant, precondition, rule
from store_workshop import KEYS, Workshop, an_event
from test_store_model import StoreMachine

from kms.errors import StoreTampered
from kms.model.audit_event import AuditEvent
from kms.storage.authentication import Previous, StoreKeys
from kms.storage.environment import Limits
from kms.storage.interface import MISSING, Change, Delete, Put, Row
from kms.storage.reader import Moved
from kms.storage.rekey import Besides
from kms.storage.sqlite import SqliteStore

# The row that says how far it is; some rows of the machine sort before it, others after.
PLACE = ("place", "now")
SMALL = Limits(checkpoint_seconds=3600, step_rows=2, step_events=3)


def keys_of(generation: int) -> StoreKeys:
    mark = bytes([generation])
    return StoreKeys(row=mark * 32, element=mark * 31 + b"e", state=mark * 31 + b"s", event=mark * 31 + b"v")


def placed(counter: int) -> Besides:
    """Keeps the place; `counter` is that of its row."""

    def besides(previous: Previous | None) -> tuple[Sequence[Change], Sequence[AuditEvent]]:
        if previous is None:
            return [Delete(*PLACE, counter)], [an_event("Test.Done")]
        body = json.dumps([previous.row, previous.event]).encode()
        return [Put(*PLACE, body, counter)], [an_event("Test.Step")]

    return besides


def begin(store: SqliteStore, keys: StoreKeys) -> None:
    store.begin_rekey(keys, PLACE, placed(MISSING)).result(20)


def step(store: SqliteStore, rewrite: Callable[[Row], bytes] = lambda row: row.body) -> None:
    row = store.get(*PLACE)
    assert row is not None
    store.step_rekey(rewrite, placed(row.counter)).result(20)


def step_on(store: SqliteStore, seen: list[Moved]) -> None:
    """To the end; `seen` is how far it was before each step."""
    while (moved := store.rekeying()) is not None:
        seen.append(moved)
        step(store)


def keys_at(workshop: Workshop, old: StoreKeys, new: StoreKeys) -> StoreKeys:
    """Those that the store is to be opened with, by the row that says how far it is."""
    found = workshop.read("SELECT body FROM rows WHERE kind = ? AND name = ?", *PLACE)
    if not found:
        return new
    row, event = json.loads(found[0][0])
    return replace(new, previous=Previous(old, None if row is None else (row[0], row[1]), event, PLACE))


class RekeyMachine(StoreMachine):
    """Whatever happens in between, the rows are those that were written, each under one of both keys."""

    @initialize()
    def create(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.workshop = Workshop(Path(self.directory.name), limits=SMALL)
        self.store = self.workshop.create()
        self.rows = {("thing", "a"): (1, b"first a"), ("thing", "b"): (1, b"first b")}
        self.sequence, self.generation, self.copies = 1, 0, 0
        self.old, self.new = KEYS, KEYS

    def is_rekeying(self) -> bool:
        return hasattr(self, "store") and self.store.rekeying() is not None

    @precondition(lambda self: not self.is_rekeying())
    @rule()
    def begin(self) -> None:
        self.generation += 1
        self.old, self.new = self.new, keys_of(self.generation)
        begin(self.store, self.new)
        self.sequence += 1

    @precondition(lambda self: self.is_rekeying())
    @rule()
    def step(self) -> None:
        step(self.store)
        self.sequence += 1

    @precondition(lambda self: self.is_rekeying())
    @rule()
    def steps_come_to_an_end(self) -> None:
        while self.is_rekeying():
            self.step()
        self.store.close()
        self.store = self.workshop.open(keys=self.new)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.workshop.open(keys=keys_at(self.workshop, self.old, self.new))

    @rule()
    def crash(self) -> None:
        """What was on the disk is all that there is."""
        self.copies += 1
        self.workshop.save(str(self.copies))
        self.store.close()
        for what in ("store", "outside"):
            self.workshop.restore(str(self.copies), what=what)
        self.store = self.workshop.open(keys=keys_at(self.workshop, self.old, self.new))

    @invariant()
    def events_are_all_there(self) -> None:
        if hasattr(self, "store"):
            assert [event.sequence for event in self.store.events()] == list(range(1, self.sequence + 1))

    @invariant()
    def progress_is_within_bounds(self) -> None:
        moved = self.store.rekeying() if hasattr(self, "store") else None
        if moved is not None:
            assert 0 <= moved.rows <= moved.all_rows == len(self.rows) + 1
            assert 0 <= moved.event < self.sequence


TestRekeyModel = RekeyMachine.TestCase
TestRekeyModel.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)

NEW = keys_of(7)


@pytest.fixture
def begun(tmp_path: Path) -> Workshop:
    """Ten rows, twelve events; the keys are being replaced, and a step was taken. Closed."""
    workshop = Workshop(tmp_path, limits=SMALL)
    store = workshop.create()
    for number in range(10):
        store.commit([Put("thing", f"r{number}", b"body", MISSING)], [an_event()]).result(20)
    begin(store, NEW)
    step(store)
    store.close()
    return workshop


def reopened(workshop: Workshop) -> SqliteStore:
    return workshop.open(keys=keys_at(workshop, KEYS, NEW))


def test_a_step_is_bounded_and_others_commit_in_between(begun: Workshop) -> None:
    store = reopened(begun)
    steps = 0
    while (moved := store.rekeying()) is not None:
        before = moved
        step(store)
        store.commit([Put("thing", f"s{steps}", b"body", MISSING)], [an_event()]).result(20)
        steps += 1
        after = store.rekeying()
        if after is not None:
            assert after.rows - before.rows <= SMALL.step_rows + 1
            assert before.event - after.event <= SMALL.step_events
    assert steps > 8
    store.close()
    begun.open(keys=NEW).close()


def test_large_rows_end_a_step(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    store = workshop.create()
    for number in range(6):
        store.commit([Put("large", str(number), b"x" * (3 << 20), MISSING)], [an_event()]).result(20)
    begin(store, NEW)
    step(store)
    moved = store.rekeying()
    assert moved is not None
    assert (moved.rows, moved.all_rows) == (3, 9)


@pytest.mark.parametrize("what", ["row", "event"])
def test_a_step_stops_at_what_was_changed_and_can_be_repeated(begun: Workshop, what: str) -> None:
    store = reopened(begun)
    if what == "event":
        while (moved := store.rekeying()) is not None and moved.rows < moved.all_rows:
            step(store)
        step(store)
        place = "events SET body = ? WHERE sequence = 5"
    else:
        place = "rows SET body = ? WHERE name = 'r1'"
    assert begun.edit(f"UPDATE {place}", b"forged") == 1
    seen = []
    with pytest.raises(StoreTampered):
        step_on(store, seen)
    assert store.rekeying() == seen[-1]
    store.commit([], [an_event()]).result(20)


def test_what_rewrite_refuses_leaves_the_step_undone(begun: Workshop) -> None:
    store = reopened(begun)

    def refuse(row: Row) -> bytes:
        raise StoreTampered("no")

    before = store.rekeying()
    with pytest.raises(StoreTampered, match="no"):
        step(store, refuse)
    assert store.rekeying() == before
    step(store)


PUT_BACK = "UPDATE rows SET counter = ?, body = ?, mac = ? WHERE kind = ? AND name = ?"


def lying(workshop: Workshop, kind: str, name: str) -> tuple[object, ...]:
    """The row as it lies there, for `PUT_BACK`."""
    query = "SELECT counter, body, mac FROM rows WHERE kind = ? AND name = ?"
    return (*workshop.read(query, kind, name)[0], kind, name)


def test_a_row_as_it_was_before_it_was_moved_is_refused(begun: Workshop) -> None:
    """Who knows the old keys alone cannot make one of theirs count again."""
    old = lying(begun, "thing", "r9")
    store = reopened(begun)
    step_on(store, [])
    store.close()
    assert begun.edit(PUT_BACK, *old) == 1
    with pytest.raises(StoreTampered, match="r9"):
        begun.open(keys=NEW)


def test_an_older_place_does_not_bring_the_old_keys_back(begun: Workshop) -> None:
    older = lying(begun, *PLACE)
    store = reopened(begun)
    step(store)
    store.close()
    assert begun.edit(PUT_BACK, *older) == 1
    with pytest.raises(StoreTampered):
        reopened(begun)
