"""The rows against a dictionary, through writes, conflicts, closing and opening, in any order."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_workshop import Workshop, an_event

from kms.storage.interface import MISSING, Change, Delete, Put, Require, Row, WriteConflict

KINDS = st.sampled_from(["thing", "other"])
NAMES = st.sampled_from(["a", "b", "a/b", "a/é", "\U0001f511"])
BODIES = st.binary(max_size=40)


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def create(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.workshop = Workshop(Path(self.directory.name))
        self.store = self.workshop.create()
        self.rows = {("thing", "a"): (1, b"first a"), ("thing", "b"): (1, b"first b")}
        self.sequence = 1

    def counter(self, kind: str, name: str) -> int:
        return self.rows.get((kind, name), (MISSING, b""))[0]

    def commit(self, changes: list[Change], *, conflicts: bool) -> None:
        future = self.store.commit(changes, [an_event()])
        error = future.exception(timeout=20)
        assert isinstance(error, WriteConflict) if conflicts else error is None
        if conflicts:
            return
        self.sequence += 1
        assert future.result().sequence == self.sequence
        for change in changes:
            if isinstance(change, Put):
                self.rows[change.kind, change.name] = (change.expected + 1, change.body)
            elif isinstance(change, Delete):
                del self.rows[change.kind, change.name]

    @rule(kind=KINDS, name=NAMES, body=BODIES, destroys=st.booleans())
    def put(self, kind: str, name: str, body: bytes, destroys: bool) -> None:
        self.commit([Put(kind, name, body, self.counter(kind, name), destroys)], conflicts=False)

    @rule(kind=KINDS, name=NAMES)
    def delete(self, kind: str, name: str) -> None:
        if self.counter(kind, name) != MISSING:
            self.commit([Delete(kind, name, self.counter(kind, name))], conflicts=False)

    @rule(kind=KINDS, names=st.lists(NAMES, unique=True, min_size=1), body=BODIES)
    def put_several(self, kind: str, names: list[str], body: bytes) -> None:
        self.commit([Put(kind, name, body, self.counter(kind, name)) for name in names], conflicts=False)

    @rule(kind=KINDS, names=st.lists(NAMES, unique=True, min_size=2), wrong=st.integers(1, 5))
    def one_wrong_counter_writes_nothing(self, kind: str, names: list[str], wrong: int) -> None:
        good = [Put(kind, name, b"never", self.counter(kind, name)) for name in names[1:]]
        self.commit([*good, Require(kind, names[0], self.counter(kind, names[0]) + wrong)], conflicts=True)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.workshop.open()

    @invariant()
    def rows_are_the_dictionary(self) -> None:
        if not hasattr(self, "store"):
            return
        for kind in ("thing", "other"):
            expected = [Row(k, n, *value) for (k, n), value in sorted(self.rows.items()) if k == kind]
            assert self.store.scan(kind) == expected
            assert [self.store.get(kind, row.name) for row in expected] == expected
            assert self.store.scan(kind, "a/") == [row for row in expected if row.name.startswith("a/")]
        assert self.store.get("other", "never") is None

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.directory.cleanup()


TestStoreModel = StoreMachine.TestCase
TestStoreModel.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
