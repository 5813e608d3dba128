"""The bounded queue before the writer. It never blocks who offers: what does not fit is refused."""

import threading
from collections import deque
from typing import Generic, TypeVar

from kms.errors import Unavailable

T = TypeVar("T")


class Intake(Generic[T]):
    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def offer(self, item: T) -> None:
        """Raises `Unavailable` when full or closed."""
        with self._changed:
            if self._closed:
                raise Unavailable("the store is closed")
            if len(self._waiting) >= self._capacity:
                raise Unavailable(f"{self._capacity} commits are waiting already; try again")
            self._waiting.append(item)
            self._changed.notify()

    def take(self, limit: int, timeout: float | None) -> list[T] | None:
        """The oldest items, at most `limit`; [] after `timeout` seconds; None once closed and empty."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(timeout)
            if not self._waiting:
                return None if self._closed else []
            return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
