"""Refused callers are told late, so that asking again and again is no use, and costs others little.

The first refusals of a user leave at once. Those that follow leave evenly, a few in a second: who waits for
an answer before asking again asks no faster than that, however many calls his connections take at a time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from kms.model.rate_limit import Period, Rate
from kms.services.token_buckets import TokenBuckets

MAX_USERS = 10_000


@dataclass(frozen=True, slots=True)
class Lateness:
    """So many refusals of a user leave at once, then so many in each second; none is held for longer than
    `longest` seconds. At most so many are held, of one user and in all, with requests of so many bytes: any
    other leaves at once.
    """

    at_once: int = 10
    each_second: int = 50
    longest: int = 5
    held_of_user: int = 1_000
    held: int = 4_000
    held_bytes: int = 64 << 20


class LateRefusals:
    """For one event loop. `clock` is monotonic, in nanoseconds."""

    def __init__(self, how: Lateness, clock: Callable[[], int]) -> None:
        self._how = how
        self._clock = clock
        # What may be told later than at once, and is in the buckets too, so that a whole bucket has it all.
        self._later = how.each_second * how.longest
        self._told = TokenBuckets(Rate(how.each_second, Period.SECOND, how.at_once + self._later), MAX_USERS)
        self._held: Counter[str] = Counter()
        self._held_in_all = 0
        self._held_bytes = 0

    def delay(self, user: str, size: int) -> float:
        """The seconds to hold a refusal of that user, of a request of so many bytes, that came about now."""
        if self._held[user] >= self._how.held_of_user or self._held_in_all >= self._how.held:
            return 0.0
        if self._held_bytes + size > self._how.held_bytes:
            return 0.0
        now = self._clock()
        nanoseconds = self._told.wait(user, 1 + self._later, now)
        if not self._told.wait(user, 1, now):
            self._told.take(user, 1, now)
        return min(nanoseconds / 10**9, float(self._how.longest))

    async def hold(self, user: str, seconds: float, size: int) -> None:
        """Wait. Who is cancelled meanwhile, as by a client that hangs up, is held no more."""
        self._held[user] += 1
        self._held_in_all += 1
        self._held_bytes += size
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held_in_all -= 1
            self._held_bytes -= size
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]
