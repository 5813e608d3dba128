"""The single writer: a thread that commits waiting units in groups, one transaction and one fsync each.

The order of a group: bring outside what is owed, BEGIN, rows, events, checkpoint row, COMMIT and publish,
erase, checkpoint file, resolve. Of events alone one statement is BEGIN, events and COMMIT. A crash before
COMMIT loses nothing acknowledged; after it the store is ahead of the checkpoint file, which the next start
accepts.
"""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain, groupby
from typing import Any

from kms.errors import KmsError, Unavailable
from kms.model.chain import SignedCheckpoint
from kms.model.random_ids import RandomIds
from kms.model.receipt import Receipt
from kms.storage import events, rekey, unit
from kms.storage.checkpointer import Checkpointer
from kms.storage.connection import as_kms_error, error_name
from kms.storage.environment import Environment, Limits
from kms.storage.index import Draft, Published
from kms.storage.intake import Intake
from kms.storage.turns import Turns
from kms.storage.unit import Bulk, EventRecord, Unit

_EVENTS = "INSERT INTO events (sequence, body, chain_hash, mac) VALUES "
# Between two rows of one statement no other thread is let in, which would cost more than a row.
_ROWS_AT_ONCE = 64
_CHECKPOINT = "INSERT OR REPLACE INTO checkpoints (sequence, line) VALUES (?, ?)"
# After these a COMMIT has certainly not happened. After any other failure, a failed fsync above all, what is
# on the disk is unknown, and a later fsync that succeeds says nothing about the earlier writes.
_SURELY_NOT_COMMITTED = frozenset({"SQLITE_FULL", "SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_IOERR_WRITE"})

# Of erasures that wait for a reader, in seconds.
_LOOK_AGAIN = 0.05
_LATER = Unavailable("deleted bytes stay until a backup has been read")

Deliver = Callable[[Callable[[], None]], object]
Outcome = tuple["Future[Any]", Any]


class Snapshot:
    """A request for a checkpoint now."""

    def __init__(self) -> None:
        self.future: Future[SignedCheckpoint] = Future()


class Drop:
    """A request to overwrite events that are dropped, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.future: Future[int] = Future()


Item = Unit | Bulk | rekey.Begin | rekey.Step | Snapshot | Drop


class Writer:
    """Owns a connection and the right to change `published`.

    `erasing` are had by whoever reads, so that no reader keeps the WAL from being truncated. What promises
    that bytes are gone is answered after that, and nothing else waits for it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        published: Published,
        store_id: bytes,
        checkpointer: Checkpointer,
        environment: Environment,
        limits: Limits,
        erasing: tuple[Turns, threading.Lock],
        deliver: Deliver,
    ) -> None:
        self._connection = connection
        self._published = published
        self._store_id = store_id
        self._checkpointer = checkpointer
        self._new_id = RandomIds(environment.random_bytes)
        self._limits = limits
        self._turns, self._reading = erasing
        self._deliver = deliver
        self._intake: Intake[Item] = Intake(limits.queue, limits.gather)
        self._refusal = ""
        # A crash may have come between a commit and its erasure.
        self._erasure_owed = True
        self._committing = False
        self._postponed = False
        self._held: list[Outcome] = []
        self._thread = threading.Thread(target=self._run, name="kms-store-writer", daemon=True)

    def perform(self, item: Item) -> None:
        """Do one item in the caller's thread, before `start`. Raises what its future would."""
        for _, result in self._attempt([item]):
            if isinstance(result, KmsError):
                raise result

    def start(self) -> None:
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Never blocks; what cannot be queued fails at once."""
        try:
            self._intake.offer(item)
        except Unavailable as refused:
            item.future.set_exception(refused)

    def close(self) -> None:
        """Commit what waits, write a last checkpoint, end the thread, close the connection."""
        self._intake.close()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (group := self._intake.take(self._limits.group, self._patience())) is not None:
            self._release(wait=False)
            running = [item for item in group if item.future.set_running_or_notify_cancel()]
            for kind, items in groupby(running, type):
                for batch in _batches(kind, list(items)):
                    self._resolve(self._attempt(batch))
            if self._checkpointer.seconds_left() == 0.0:
                self._attempt([Snapshot()])
        self._release(wait=True)
        self._attempt([Snapshot()])

    def _patience(self) -> float | None:
        """How many seconds there is nothing to do unless somebody asks."""
        due = self._checkpointer.seconds_left()
        if not (self._postponed or self._held):
            return due
        return _LOOK_AGAIN if due is None else min(due, _LOOK_AGAIN)

    def _release(self, *, wait: bool) -> None:
        """Erase what had to wait for a reader, and answer those who asked for it."""
        if not (self._postponed or self._held):
            return
        failure = self._erase(wait=wait)
        if failure is not _LATER:
            held, self._held = self._held, []
            self._resolve([(future, _outcome(result, failure)) for future, result in held])

    def _promised(self, outcomes: list[tuple["Future[Any]", Any, KmsError | None]]) -> list[Outcome]:
        """Those that can be answered, of outcomes and what became of their erasures; the others are held."""
        self._held += [(future, result) for future, result, unerased in outcomes if unerased is _LATER]
        return [
            (future, _outcome(result, unerased))
            for future, result, unerased in outcomes
            if unerased is not _LATER
        ]

    def _attempt(self, items: list[Any]) -> list[Outcome]:
        """Do a batch; whatever happens, the thread lives and every future gets an outcome."""
        work: dict[type, Callable[[list[Any]], list[Outcome]]] = {
            Unit: self._commit_units,
            Bulk: self._commit_bulk,
            rekey.Begin: self._commit_begin,
            rekey.Step: self._commit_step,
            Snapshot: self._commit_snapshot,
            Drop: self._commit_drop,
        }
        failure: KmsError
        try:
            if self._refusal:
                raise Unavailable(self._refusal)
            self._checkpointer.settle()
            return work[type(items[0])](items)
        except KmsError as error:
            failure = error
            self._roll_back()
        except sqlite3.Error as error:
            failure = self._after(error)
        except Exception as error:
            self._refusal = f"the store's writer failed ({type(error).__name__}); restart the server"
            failure = Unavailable(self._refusal)
            self._roll_back()
        return [(item.future, failure) for item in items]

    def _commit_units(self, units: list[Unit]) -> list[Outcome]:
        draft = Draft(self._published)
        results: list[Receipt | KmsError] = []
        records: list[EventRecord] = []
        if not _is_one_statement(units):
            self._connection.execute("BEGIN IMMEDIATE")
        for item in units:
            try:
                new, receipt = unit.apply(self._connection, draft, item, self._new_id)
            except KmsError as error:
                results.append(error)
            else:
                records.extend(new)
                results.append(receipt)
        self._commit(draft, records, checkpoint=draft.changed)
        self._erasure_owed |= any(item.erases for item in units)
        unerased, unsettled = self._erase(), self._bring_outside()
        return self._promised(
            [
                (item.future, _outcome(result, item.writes and unsettled), unerased if item.erases else None)
                for item, result in zip(units, results, strict=True)
            ]
        )

    def _commit_bulk(self, requests: list[Bulk]) -> list[Outcome]:
        (request,) = requests
        draft = Draft(self._published)
        self._connection.execute("BEGIN IMMEDIATE")
        records, receipt = unit.apply(self._connection, draft, request, self._new_id)
        self._commit(draft, records, checkpoint=True)
        return [(request.future, _outcome(receipt, self._bring_outside()))]

    def _commit_begin(self, requests: list[rekey.Begin]) -> list[Outcome]:
        (request,) = requests
        self._connection.execute("BEGIN IMMEDIATE")
        draft, records, receipt = rekey.begin(self._connection, self._published, request, self._new_id)
        self._commit(draft, records, checkpoint=True)
        self._erasure_owed = True
        return [(request.future, _outcome(receipt, self._bring_outside()))]

    def _commit_step(self, requests: list[rekey.Step]) -> list[Outcome]:
        (request,) = requests
        self._connection.execute("BEGIN IMMEDIATE")
        draft, records, receipt = rekey.step(
            self._connection, self._published, self._store_id, self._limits, request, self._new_id
        )
        self._commit(draft, records, checkpoint=True)
        self._erasure_owed = True
        # What the keys before protected goes with the last step.
        unerased = self._erase() if draft.keys.previous is None else None
        return self._promised([(request.future, _outcome(receipt, self._bring_outside()), unerased)])

    def _commit_snapshot(self, requests: list[Snapshot]) -> list[Outcome]:
        (request,) = requests
        if self._checkpointer.covering(self._published.head) is None:
            self._connection.execute("BEGIN IMMEDIATE")
            self._commit(Draft(self._published), [], checkpoint=True)
        signed = self._checkpointer.covering(self._published.head)
        self._erase()
        return [(request.future, _outcome(signed, self._bring_outside()))]

    def _commit_drop(self, requests: list[Drop]) -> list[Outcome]:
        (request,) = requests
        floor = events.floor_of(self._connection, self._published.keys, self._store_id)
        self._connection.execute("BEGIN IMMEDIATE")
        dropped = events.drop(self._connection, floor.sequence, request.limit)
        self._commit(Draft(self._published), [], checkpoint=False)
        self._erasure_owed |= dropped > 0
        return self._promised([(request.future, dropped, self._erase())])

    def _commit(self, draft: Draft, records: list[EventRecord], *, checkpoint: bool) -> None:
        is_begun = self._connection.in_transaction
        if is_begun:
            self._insert(records)
        signed = self._checkpointer.sign(draft.keys, draft.head) if checkpoint else None
        if signed is not None:
            self._connection.execute(_CHECKPOINT, (signed.checkpoint.sequence, signed.to_line()))
        with self._published.lock:
            self._committing = True
            if is_begun:
                self._connection.execute("COMMIT")
            else:
                self._insert(records)
            draft.publish(self._published)
            self._committing = False
        if signed is not None:
            self._checkpointer.stored(signed)
        elif records:
            self._checkpointer.appended(len(records))

    def _insert(self, records: list[EventRecord]) -> None:
        for start in range(0, len(records), _ROWS_AT_ONCE):
            rows = records[start : start + _ROWS_AT_ONCE]
            values = ", ".join(["(?, ?, ?, ?)"] * len(rows))
            self._connection.execute(_EVENTS + values, list(chain.from_iterable(rows)))

    def _erase(self, *, wait: bool = False) -> KmsError | None:
        """Overwrite what deleted rows left: with secure_delete in the file, and by an empty WAL.

        `_LATER` while somebody reads the past, unless it waits.
        """
        if not self._erasure_owed:
            return None
        try:
            with self._turns.erasing(wait=wait) as mine:
                self._postponed = not mine
                if not mine:
                    return _LATER
                with self._reading:
                    busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            return as_kms_error(error)
        self._erasure_owed = bool(busy)
        return Unavailable("another process reads the store; deleted bytes stay until then") if busy else None

    def _bring_outside(self) -> KmsError | None:
        try:
            self._checkpointer.settle()
        except Unavailable as error:
            return error
        return None

    def _after(self, error: sqlite3.Error) -> KmsError:
        """Go on after a failure that surely changed nothing; otherwise refuse everything that follows."""
        surely = not self._committing or error_name(error) in _SURELY_NOT_COMMITTED
        self._committing = False
        self._roll_back()
        if not (surely and self._at_head()):
            self._refusal = "a commit failed halfway; restart the server, which checks the store"
        return as_kms_error(error)

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _at_head(self) -> bool:
        head = self._published.head
        try:
            newest = self._connection.execute(events.NEWEST).fetchone()
        except sqlite3.Error:
            return False
        return bool(newest == ((head.sequence, head.chain_hash) if head.sequence else None))

    def _resolve(self, outcomes: list[Outcome]) -> None:
        def resolve() -> None:
            for future, result in outcomes:
                if isinstance(result, KmsError):
                    future.set_exception(result)
                else:
                    future.set_result(result)

        try:
            self._deliver(resolve)
        except RuntimeError:
            # The event loop that was to run it is closed; whoever still waits is a thread.
            resolve()


def _is_one_statement(units: list[Unit]) -> bool:
    """Whether they are events alone, few enough for one statement: that is a transaction by itself.

    Each statement lets other threads in several times, and a busy one wakes this one in vain again and again.
    """
    return (
        not any(item.changes for item in units) and sum(len(item.events) for item in units) <= _ROWS_AT_ONCE
    )


def _batches(kind: type[Item], items: list[Item]) -> list[list[Item]]:
    """Units share a transaction; anything else has its own."""
    return [items] if kind is Unit else [[item] for item in items]


def _outcome(result: Any, *failures: Any) -> Any:
    """The result, unless it is an error already or something that it promises has failed."""
    if isinstance(result, KmsError):
        return result
    return next((failure for failure in failures if failure), result)
