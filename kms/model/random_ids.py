"""Ids that nobody else draws. Not for keys, nonces or tokens."""

import os
from collections.abc import Callable

ID_SIZE = 16
DRAWN_AT_ONCE = 256
# The digit of RFC 9562, section 4.1. By hand: `uuid.UUID` takes five times as long, and a call has two ids.
_VARIANTS = "89ab"


class RandomIds:
    """Random UUIDs (RFC 9562, version 4) as 32 hex digits, drawn many at a time, for one thread.

    A draw lets other threads in, which costs more than the draw. `random_bytes` is the source. What is drawn
    ahead would come twice from a process that was copied as it ran; that is why only ids are made so.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._drawn = b""

    def __call__(self) -> str:
        if not self._drawn:
            self._drawn = self._random_bytes(ID_SIZE * DRAWN_AT_ONCE)
        drawn, self._drawn = self._drawn[:ID_SIZE], self._drawn[ID_SIZE:]
        text = drawn.hex()
        return f"{text[:12]}4{text[13:16]}{_VARIANTS[drawn[8] >> 4 & 3]}{text[17:]}"
