"""What was made of stored keys, kept in this process's memory until it is forgotten."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

N = TypeVar("N")
T = TypeVar("T")


class LoadedKeys(Generic[N, T]):
    """By name, the least recently used forgotten first. Safe for calls from several threads.

    Whoever loads a key calls `begin` before he reads its row: what was begun before a `forget` is not kept,
    so that a load in flight does not bring back a key that was stopped or destroyed meanwhile.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[N, T] = OrderedDict()
        self._forgotten = 0
        self._lock = threading.Lock()

    def get(self, name: N) -> T | None:
        with self._lock:
            value = self._kept.get(name)
            if value is not None:
                self._kept.move_to_end(name)
            return value

    def begin(self) -> int:
        """To be given to `keep`."""
        return self._forgotten

    def keep(self, name: N, value: T, begun: int) -> None:
        with self._lock:
            if begun != self._forgotten:
                return
            self._kept[name] = value
            self._kept.move_to_end(name)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def forget_all(self) -> None:
        """As `forget`, of every name."""
        with self._lock:
            self._forgotten += 1
            self._kept.clear()

    def forget(self, name: N) -> None:
        """Called before the row changes, so that nobody is served from here, and again after it has."""
        with self._lock:
            self._forgotten += 1
            self._kept.pop(name, None)
