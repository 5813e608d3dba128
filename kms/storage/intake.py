"""The bounded queue before the writer. It never blocks who offers: what does not fit is refused."""

import threading
from collections import deque
from typing import Generic, TypeVar

from kms.errors import Unavailable

T = TypeVar("T")


class Intake(Generic[T]):
    """At most `capacity` items wait. A group is given `gather` seconds to become as large as the last one.

    Callers who were answered together come again together, and a commit costs about the same for one as for
    all of them; a single caller never waits for others.
    """

    def __init__(self, capacity: int, gather: float) -> None:
        self._capacity = capacity
        self._gather = gather
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._last = 0
        self._enough = 1

    def offer(self, item: T) -> None:
        """Raises `Unavailable` when full or closed."""
        with self._changed:
            if self._closed:
                raise Unavailable("the store is closed")
            if len(self._waiting) >= self._capacity:
                raise Unavailable(f"{self._capacity} commits are waiting already; try again")
            self._waiting.append(item)
            if len(self._waiting) >= self._enough:
                self._changed.notify()

    def take(self, limit: int, timeout: float | None) -> list[T] | None:
        """The oldest items, at most `limit`; [] after `timeout` seconds; None once closed and empty."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(timeout)
            if not self._waiting:
                return None if self._closed else []
            self._wait_for(min(self._last, limit))
            self._last = min(limit, len(self._waiting))
            return [self._waiting.popleft() for _ in range(self._last)]

    def _wait_for(self, count: int) -> None:
        """Until so many wait, or long enough. The lock is held."""
        self._enough = count
        self._changed.wait_for(lambda: self._closed or len(self._waiting) >= count, self._gather)
        self._enough = 1

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
