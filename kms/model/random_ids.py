"""Ids that nobody else draws. Not for keys, nonces or tokens."""

import os
from collections.abc import Callable

ID_SIZE = 16
DRAWN_AT_ONCE = 256
# The digit of RFC 9562, section 4.1. By hand: `uuid.UUID` takes five times as long, and a call has two ids.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class RandomIds:
    """Random UUIDs (RFC 9562, version 4) as 32 hex digits, drawn many at a time, for one thread.

    A draw lets other threads in, which costs more than the draw. `random_bytes` is the source. What is drawn
    ahead would come twice from a process that was copied as it ran; that is why only ids are made so.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._drawn = ""
        self._at = 0

    def __call__(self) -> str:
        if self._at == len(self._drawn):
            self._drawn, self._at = self._random_bytes(ID_SIZE * DRAWN_AT_ONCE).hex(), 0
        start = self._at
        self._at = end = start + 2 * ID_SIZE
        text = self._drawn
        variant = _VARIANTS[text[start + 16]]
        return f"{text[start : start + 12]}4{text[start + 13 : start + 16]}{variant}{text[start + 17 : end]}"
