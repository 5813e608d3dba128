"""A line on standard error about work that lasts: after a second, and on a terminal only."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from blindfold.envelope import Source

PATIENCE = 1.0
INTERVAL = 0.1
WIDTH = 30
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(count: int) -> str:
    """1536 -> 1.5 KiB."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} B"


class Progress:
    """`total` is in bytes, or in what `text` says of a count; None where nobody knows it."""

    def __init__(
        self,
        total: int | None,
        *,
        text: Callable[[int], str] = size_text,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._text = text
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self.done = 0
        self._due = clock() + PATIENCE if self._stream.isatty() else float("inf")
        self._shown = False

    def advance(self, count: int) -> None:
        self.done += count
        now = self._clock()
        if now >= self._due:
            self._due = now + INTERVAL
            self._shown = True
            self._stream.write("\r\x1b[K" + self.line())
            self._stream.flush()

    def close(self) -> None:
        """Take the line away again."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def line(self) -> str:
        """What the line says now."""
        if not self._total:
            return self._text(self.done)
        share = min(self.done / self._total, 1.0)
        bar = "#" * int(share * WIDTH)
        return f"[{bar:<{WIDTH}}] {share:4.0%} of {self._text(self._total)}"


class ProgressSource:
    """A source that tells `progress` what was read from it."""

    def __init__(self, source: Source, progress: Progress) -> None:
        self._source = source
        self._progress = progress

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size) or b""
        self._progress.advance(len(data))
        return data
