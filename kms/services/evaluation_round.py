"""The elements of a request in the workers. Whoever ends last commits their events."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial

from kms.model.receipt import Receipt
from kms.services.guard import hand_over

Commit = Callable[[], "Future[Receipt]"]


class Round:
    """One attempt at some of a request's elements.

    The commit begins in a worker, so that the event loop is woken once, when all is durable: for a single
    element, going by the loop in between costs as much as the rest of the call.
    """

    def __init__(self, evaluate: Callable[[int], None], commit: Commit) -> None:
        """Both run in workers: `evaluate` for each index, `commit` once they have all ended."""
        self._evaluate = evaluate
        self._commit = commit
        self._lock = threading.Lock()
        self._left = 0
        self._error: Exception | None = None

    async def run(self, workers: Executor, indices: Sequence[int]) -> Receipt:
        """Raises what `evaluate` raised for any of them, and what the commit ends in."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Receipt] = loop.create_future()
        end = partial(hand_over, waiter, loop)
        self._left = len(indices)
        if not indices:
            self._finish(end)
        for index in indices:
            workers.submit(self._work, index, end)
        return await waiter

    def _work(self, index: int, end: Callable[["Future[Receipt]"], None]) -> None:
        try:
            self._evaluate(index)
        except Exception as error:
            self._error = error
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._finish(end)

    def _finish(self, end: Callable[["Future[Receipt]"], None]) -> None:
        done: Future[Receipt] = Future()
        try:
            if self._error is not None:
                raise self._error
            done = self._commit()
        except Exception as error:
            done.set_exception(error)
        done.add_done_callback(end)
