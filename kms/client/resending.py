"""Sending a call again when the server could not be reached. Only for calls that may be made twice."""

import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from kms.client.errors import CallUnavailable
from kms.errors import Unavailable

ATTEMPTS = 4
FIRST_PAUSE = 0.2

T = TypeVar("T")


def resend(act: Callable[[], T]) -> T:
    """The result of act, made up to 4 times while it raises `CallUnavailable`, for about 2 s."""
    return _resend_with(act, pause=time.sleep, jitter=secrets.SystemRandom().random)


def _resend_with(act: Callable[[], T], *, pause: Callable[[float], None], jitter: Callable[[], float]) -> T:
    """`jitter` gives numbers from 0 to 1, by which the pauses of many clients differ."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return act()
        except CallUnavailable as error:
            # A tampered store is UNAVAILABLE too, and does not heal.
            if error.reason not in ("", Unavailable.reason):
                raise
        pause(FIRST_PAUSE * 2**attempt * (0.5 + jitter()))
    return act()
