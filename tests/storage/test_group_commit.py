"""One writer, many committers: grouping, back-pressure, cancelling, and delivering to an event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from store_workshop import Workshop, an_event

from kms.errors import Unavailable
from kms.storage.environment import Limits
from kms.storage.interface import MISSING, Put, Receipt, Row
from kms.storage.sqlite import SqliteStore


class Gate:
    """A `deliver` that holds the writer until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.groups = 0

    def __call__(self, resolve: Callable[[], None]) -> None:
        self.groups += 1
        self.reached.set()
        self.opened.wait(20)
        resolve()


def hold(store: SqliteStore, gate: Gate) -> "Future[Receipt]":
    """Occupy the writer with one unit."""
    first = store.commit([], [an_event()])
    assert gate.reached.wait(20)
    return first


def test_units_that_wait_share_one_group_in_their_order(workshop: Workshop) -> None:
    gate = Gate()
    store = workshop.create(deliver=gate)
    hold(store, gate)
    futures = [store.commit([], [an_event(str(n))]) for n in range(100)]
    gate.opened.set()
    assert [future.result(timeout=20).sequence for future in futures] == list(range(3, 103))
    assert gate.groups == 2


def test_a_group_is_no_larger_than_its_limit(workshop: Workshop) -> None:
    workshop.limits = Limits(group=10, checkpoint_seconds=3600)
    gate = Gate()
    store = workshop.create(deliver=gate)
    hold(store, gate)
    futures = [store.commit([], [an_event()]) for _ in range(100)]
    gate.opened.set()
    assert futures[-1].result(timeout=20).sequence == 102
    assert gate.groups == 11


def test_units_of_a_group_see_the_rows_of_those_before_them(workshop: Workshop) -> None:
    gate = Gate()
    store = workshop.create(deliver=gate)
    hold(store, gate)
    futures = [store.commit([Put("thing", "c", b"%d" % n, n)], [an_event()]) for n in range(10)]
    gate.opened.set()
    assert futures[-1].result(timeout=20).sequence == 12
    assert store.get("thing", "c") == Row("thing", "c", 10, b"9")


def test_a_full_queue_refuses_at_once_and_recovers(workshop: Workshop) -> None:
    workshop.limits = Limits(queue=5, checkpoint_seconds=3600)
    gate = Gate()
    store = workshop.create(deliver=gate)
    hold(store, gate)
    waiting = [store.commit([], [an_event()]) for _ in range(5)]
    refused = store.commit([], [an_event()])
    assert refused.done()
    with pytest.raises(Unavailable, match="5 commits are waiting"):
        refused.result(timeout=0)
    gate.opened.set()
    assert [future.result(timeout=20).sequence for future in waiting] == [3, 4, 5, 6, 7]
    assert store.commit([], [an_event()]).result(timeout=20).sequence == 8


def test_a_cancelled_unit_that_still_waits_is_not_written(workshop: Workshop) -> None:
    gate = Gate()
    store = workshop.create(deliver=gate)
    hold(store, gate)
    cancelled = store.commit([Put("thing", "c", b"", MISSING)], [an_event()])
    kept = store.commit([], [an_event()])
    assert cancelled.cancel()
    gate.opened.set()
    assert kept.result(timeout=20).sequence == 3
    assert store.get("thing", "c") is None


def test_a_reader_never_sees_a_commit_half_published(workshop: Workshop) -> None:
    """Reads race with writes of the same row: each gives some counter, and counters never fall."""
    store = workshop.create()
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        last = 0
        while not stop.is_set():
            try:
                row = store.get("thing", "a")
                page = store.scan("thing")
                events = store.events()
            except Exception as error:
                failures.append(error)
                return
            if row is None or row.counter < last or len(page) not in (2, 3) or not events:
                failures.append(AssertionError(row, page))
                return
            last = row.counter

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for counter in range(1, 150):
        change = (
            Put("thing", "c", b"", MISSING) if counter == 75 else Put("thing", "b", b"", counter_of(store))
        )
        store.commit([Put("thing", "a", b"%d" % counter, counter), change], [an_event()]).result(timeout=20)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []


def counter_of(store: SqliteStore) -> int:
    row = store.get("thing", "b")
    return MISSING if row is None else row.counter


def test_an_event_loop_gets_one_callback_for_a_group(workshop: Workshop) -> None:
    async def serve() -> tuple[int, list[int]]:
        loop = asyncio.get_running_loop()
        callbacks = 0

        def deliver(resolve: Callable[[], None]) -> None:
            nonlocal callbacks
            callbacks += 1
            loop.call_soon_threadsafe(resolve)

        store = await loop.run_in_executor(None, lambda: workshop.create(deliver=deliver))
        futures = [asyncio.wrap_future(store.commit([], [an_event()])) for _ in range(200)]
        receipts = await asyncio.gather(*futures)
        return callbacks, [receipt.sequence for receipt in receipts]

    callbacks, sequences = asyncio.run(serve())
    assert sequences == list(range(2, 202))
    assert 1 <= callbacks < 20


def test_a_loop_that_is_closed_does_not_stop_the_writer(workshop: Workshop) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    store = workshop.create(deliver=loop.call_soon_threadsafe)
    assert [store.commit([], [an_event()]).result(timeout=20).sequence for _ in range(2)] == [2, 3]
