"""Sending a call again: what could not be served, was refused for its rate, or was damaged on its way."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from kms.client.errors import CallDamaged, CallFailed, CallUnavailable
from kms.errors import RateLimited, Unavailable

T = TypeVar("T")

_jitter = secrets.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Resending:
    """For how long, and how often, a call is made; in seconds.

    `deadline` is of all attempts and pauses together. Pauses double from the first to the longest, each times
    0.5 to 1.5, so that many clients do not come back at once.
    """

    deadline: float = 30.0
    attempts: int = 4
    first_pause: float = 0.2
    longest_pause: float = 5.0


class Attempts:
    """Those of one call.

    Another one follows only where it is safe. A call over its rate was not done, so any call may be repeated
    then, after the time that the server asks for. Where the server was not reached, or what it said was
    damaged (that once only), it may have been done: only a `repeatable` call follows. `jitter` gives numbers
    from 0 to 1.
    """

    def __init__(
        self, how: Resending, *, repeatable: bool, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._how = how
        self._repeatable = repeatable
        self._clock = clock
        self._jitter = jitter
        self._end = clock() + how.deadline
        self._made = 0
        self._damaged = 0

    def remaining(self) -> float:
        """The seconds that the next attempt may take."""
        return max(self._end - self._clock(), 0.0)

    def pause_after(self, failure: CallFailed) -> float | None:
        """The seconds to wait before the next attempt; None if there is to be none."""
        self._made += 1
        if self._made >= self._how.attempts or not self._may_follow(failure):
            return None
        doubled = min(self._how.first_pause * 2 ** (self._made - 1), self._how.longest_pause)
        pause = (failure.retry_after or 0.0) + doubled * (0.5 + self._jitter())
        return pause if pause < self.remaining() else None

    def _may_follow(self, failure: CallFailed) -> bool:
        if failure.reason == RateLimited.reason:
            return True
        if isinstance(failure, CallDamaged):
            self._damaged += 1
            return self._repeatable and self._damaged == 1
        # A tampered store is UNAVAILABLE too, and does not heal.
        heals = isinstance(failure, CallUnavailable) and failure.reason in ("", Unavailable.reason)
        return self._repeatable and heals


def attempts(how: Resending, *, repeatable: bool) -> Attempts:
    return Attempts(how, repeatable=repeatable, clock=time.monotonic, jitter=_jitter)


def resend(act: Callable[[], T], how: Resending | None = None) -> T:
    """The result of act, which may be done twice, made as often as `Attempts` says.

    `how` is by default 4 times, for about 2 s, or as long as the server asks for, up to 30 s.
    """
    return repeat(lambda timeout: act(), attempts(how or Resending(), repeatable=True))


def repeat(
    act: Callable[[float], T], attempts: Attempts, *, pause: Callable[[float], None] = time.sleep
) -> T:
    """The result of act, which is given its timeout in seconds. Raises its last `CallFailed`."""
    while True:
        try:
            return act(attempts.remaining())
        except CallFailed as failure:
            seconds = attempts.pause_after(failure)
            if seconds is None:
                raise
        pause(seconds)


async def repeat_async(act: Callable[[float], Awaitable[T]], attempts: Attempts) -> T:
    """As `repeat`, for asyncio."""
    while True:
        try:
            return await act(attempts.remaining())
        except CallFailed as failure:
            seconds = attempts.pause_after(failure)
            if seconds is None:
                raise
        await asyncio.sleep(seconds)
