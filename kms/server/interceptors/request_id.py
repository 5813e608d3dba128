"""The id by which a call is found again in answers, logs and audit events."""

import os
import re
from collections.abc import Callable, Iterable

REQUEST_ID_KEY = "x-request-id"
ID_SIZE = 16
DRAWN_AT_ONCE = 256

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def request_id(metadata: Iterable[tuple[str, str | bytes]], new_id: Callable[[], str]) -> str:
    """The client's own id if it sent one of 1 to 64 letters, digits, dots, dashes and underscores.

    Otherwise, or if it sent several, a new one.
    """
    sent = [value for key, value in metadata if key == REQUEST_ID_KEY]
    if len(sent) == 1 and isinstance(sent[0], str) and _SANE.fullmatch(sent[0]):
        return sent[0]
    return new_id()


class RequestIds:
    """Random ids of 128 bits as 32 hex digits, drawn many at a time: each draw lets other threads in.

    For one event loop. `random_bytes` is the source.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._drawn: list[str] = []

    def __call__(self) -> str:
        if not self._drawn:
            drawn, digits = self._random_bytes(ID_SIZE * DRAWN_AT_ONCE).hex(), 2 * ID_SIZE
            self._drawn = [drawn[start : start + digits] for start in range(0, len(drawn), digits)]
        return self._drawn.pop()
