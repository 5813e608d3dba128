"""Who has the file's past: whoever reads it as it was at a moment, or the writer, who erases it.

An erasure that is wanted comes before the next reader, so that one reader behind the other does not hold it
up. Whoever wanted one asks again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """One at a time. Readers wait; the writer need not."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._wanted = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and not self._wanted)
            self._taken = True
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def erasing(self, *, wait: bool) -> Iterator[bool]:
        """Whether it is the writer's turn; always, if it waits."""
        with self._changed:
            self._wanted = True
            if wait:
                self._changed.wait_for(lambda: not self._taken)
            mine = not self._taken
            if mine:
                self._taken, self._wanted = True, False
        try:
            yield mine
        finally:
            if mine:
                self._give_back()

    def _give_back(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()
