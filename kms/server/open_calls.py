"""What a caller has going on at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from kms.errors import RateLimited

RETRY_AFTER = 1.0


class OpenCalls:
    """Counts the calls, or streams, that each caller has open: at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_of(self, user: str) -> Iterator[None]:
        """While a call of that user is open. Raises `RateLimited` for one too many."""
        if self._open[user] >= self._limit:
            raise RateLimited(RETRY_AFTER, f"{self._limit} calls are open already")
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]
