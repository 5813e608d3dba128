"""Token buckets: exact, and of bounded memory."""

from collections import OrderedDict

from kms.model.rate_limit import Rate

DROPPED_AT_ONCE = 2


class TokenBuckets:
    """A bucket for each key, full until it is taken from. For one thread.

    At most `most` are remembered, those used last; one that is full again is forgotten first. Times are
    nanoseconds of a monotonic clock. A clock that jumps gives nobody more than a full bucket, and keeps
    nobody waiting for longer than an empty one takes to fill.

    What is missing in a bucket is kept in grains, of which each unit has as many as the period has
    nanoseconds: then a whole number of them, `rate.number`, comes back in each nanosecond.
    """

    def __init__(self, rate: Rate, most: int) -> None:
        self.rate = rate
        self._most = most
        self._unit = rate.period.nanoseconds
        self._whole = rate.burst * self._unit
        # When each bucket is full, times `rate.number`.
        self._full: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full)

    def wait(self, key: str, units: int, now: int) -> int:
        """Nanoseconds until so many units, at most the burst, are there; 0 if they are."""
        short = self._missing(key, now) + units * self._unit - self._whole
        return 0 if short <= 0 else -(-short // self.rate.number)

    def take(self, key: str, units: int, now: int) -> None:
        """Take units that `wait` has found to be there."""
        missing = self._missing(key, now) + units * self._unit
        self._full[key] = now * self.rate.number + missing
        self._full.move_to_end(key)
        self._forget_full(now)
        if len(self._full) > self._most:
            self._full.popitem(last=False)

    def has_place(self, key: str, now: int) -> bool:
        """Whether to take from this bucket would make no other forgotten that is not full."""
        if key in self._full:
            return True
        self._forget_full(now)
        return len(self._full) < self._most

    def _missing(self, key: str, now: int) -> int:
        full = self._full.get(key)
        return 0 if full is None else min(max(0, full - now * self.rate.number), self._whole)

    def _forget_full(self, now: int) -> None:
        for _ in range(DROPPED_AT_ONCE):
            oldest = next(iter(self._full), None)
            if oldest is None or self._full[oldest] > now * self.rate.number:
                return
            del self._full[oldest]
