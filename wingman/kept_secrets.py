"""Opened secrets in memory, each for as long as it may be kept, the least used dropped first. No I/O.

What is dropped is wiped by `SecretBytes` as soon as nobody works with it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from blindfold.secret import SecretBytes

MAX_SECRETS = 10_000
MAX_BYTES = 32 << 20


@dataclass(slots=True, eq=False)
class Kept:
    """Times are of the clock of whoever keeps it. From `refresh_at` on it is better asked for anew.

    `named` are the bytes that its key takes.
    """

    secret: SecretBytes
    keep_until: float
    refresh_at: float
    named: int = 0

    @property
    def size(self) -> int:
        return len(self.secret) + self.named


class KeptSecrets:
    """For one event loop. Nothing is handed out at or after its time."""

    def __init__(
        self, clock: Callable[[], float], max_secrets: int = MAX_SECRETS, max_bytes: int = MAX_BYTES
    ) -> None:
        self._clock = clock
        self._max_secrets = max_secrets
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._bytes = 0
        # How often all was dropped: what was asked for before is not to be kept after.
        self.clearings = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """The bytes of all secrets and keys."""
        return self._bytes

    def get(self, key: Hashable) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock() >= kept.keep_until:
            self.drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: Hashable, kept: Kept) -> None:
        """Nothing is kept that is over already, or larger than all there is room for."""
        self.drop(key)
        if kept.keep_until <= self._clock() or kept.size > self._max_bytes:
            return
        self._kept[key] = kept
        self._bytes += kept.size
        while len(self._kept) > self._max_secrets or self._bytes > self._max_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size

    def drop_where(self, is_over: Callable[[Hashable], bool]) -> None:
        """Drop those with such keys."""
        for key in [key for key in self._kept if is_over(key)]:
            self.drop(key)

    def sweep(self) -> None:
        """Drop what is over, whether or not somebody asks for it."""
        now = self._clock()
        for key in [key for key, kept in self._kept.items() if kept.keep_until <= now]:
            self.drop(key)

    def clear(self) -> None:
        self.clearings += 1
        self._kept.clear()
        self._bytes = 0
