"""What was made from bytes, kept by their digest."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_KEPT = 1024


class DigestCache(Generic[T]):
    """The 1,024 values used last, by SHA-256. Safe for calls from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> T | None:
        with self._lock:
            value = self._kept.get(digest)
            if value is not None:
                self._kept.move_to_end(digest)
            return value

    def keep(self, digest: bytes, value: T) -> None:
        with self._lock:
            self._kept[digest] = value
            self._kept.move_to_end(digest)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
