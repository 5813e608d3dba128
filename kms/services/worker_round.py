"""The parts of a request in workers. Whoever ends last commits the events."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import TypeAlias

from kms.errors import Unavailable
from kms.model.receipt import Receipt
from kms.services.guard import hand_over

# The result, in events, of what was not done any more.
HUNG_UP = Unavailable("the caller hung up")

# Given whether the caller still waits.
Commit = Callable[[bool], "Future[Receipt]"]
# Who does it, and what.
Job: TypeAlias = tuple[Executor, Callable[[], object]]


class Round:
    """Some jobs, and the commit once they have all ended. Once the caller has hung up, no more are begun.

    The commit begins in a worker, so that the event loop is woken once, when all is durable: for a single
    job, going by the loop in between costs as much as the rest of the call.
    """

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._left = 0
        self._error: Exception | None = None
        self._is_awaited = True

    async def run(self, jobs: Sequence[Job]) -> Receipt:
        """Raises what any of the jobs raised, and what the commit ends in."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Receipt] = loop.create_future()
        end = partial(hand_over, waiter, loop)
        self._left = len(jobs)
        if not jobs:
            self._finish(end)
        for workers, act in jobs:
            workers.submit(self._work, act, end)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._is_awaited = False
            raise

    def _work(self, act: Callable[[], object], end: Callable[["Future[Receipt]"], None]) -> None:
        try:
            if self._is_awaited:
                act()
        except Exception as error:
            self._error = error
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._finish(end)

    def _finish(self, end: Callable[["Future[Receipt]"], None]) -> None:
        done: Future[Receipt] = Future()
        is_awaited = self._is_awaited
        try:
            if is_awaited and self._error is not None:
                raise self._error
            done = self._commit(is_awaited)
        except Exception as error:
            done.set_exception(error)
        done.add_done_callback(end)
