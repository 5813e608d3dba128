"""Data keys that are kept for a while, within limits. No I/O; safe for threads.

What is dropped from here is wiped by `SecretBytes` as soon as nobody works with it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from blindfold.secret import SecretBytes
from kms.client.operations import DataKey


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How long, in seconds, and for how much data keys are kept. Raises `ValueError` below 1 message.

    One data key encrypts up to `max_messages` envelopes and `max_bytes` bytes, which are counted as an
    envelope begins: one that is streamed may end above them. Up to `max_entries` are kept for decryption. 1
    message and 0 entries mean a call to the KMS for each envelope.
    """

    max_age: float = 300.0
    max_messages: int = 1000
    max_bytes: int = 2**30
    max_entries: int = 100

    def __post_init__(self) -> None:
        if self.max_messages < 1:
            raise ValueError("max_messages must be 1 or more")


@dataclass(slots=True, eq=False)
class InUse:
    """A data key that encrypts, and what it has encrypted."""

    key: DataKey
    until: float
    messages: int = 0
    encrypted: int = 0


class EncryptingKey:
    """The data key for the next envelope."""

    def __init__(self, limits: CacheLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._current: InUse | None = None

    def take(self, size: int) -> InUse | None:
        """For an envelope of `size` bytes, 0 if that is not known; None if another data key is needed."""
        with self._lock:
            use = self._current
            if use is None or not self._may_serve(use, size):
                self._current = None
                return None
            use.messages += 1
            return use

    def _may_serve(self, use: InUse, size: int) -> bool:
        return (
            self._clock() < use.until
            and use.messages < self._limits.max_messages
            and use.encrypted < self._limits.max_bytes
            and use.encrypted + size <= self._limits.max_bytes
        )

    def put(self, key: DataKey) -> InUse:
        """For this envelope, and others after it."""
        with self._lock:
            self._current = InUse(key, self._clock() + self._limits.max_age, messages=1)
            return self._current

    def charge(self, use: InUse, size: int) -> None:
        with self._lock:
            use.encrypted += size

    def clear(self) -> None:
        with self._lock:
            self._current = None


class DecryptingKeys:
    """Data keys by where they come from, those that were used last."""

    def __init__(self, limits: CacheLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[SecretBytes, float]] = OrderedDict()

    def get(self, origin: bytes) -> SecretBytes | None:
        with self._lock:
            key, until = self._kept.get(origin, (None, 0.0))
            if key is None:
                return None
            if self._clock() >= until:
                del self._kept[origin]
                return None
            self._kept.move_to_end(origin)
            return key

    def put(self, origin: bytes, key: SecretBytes) -> SecretBytes:
        with self._lock:
            self._kept[origin] = key, self._clock() + self._limits.max_age
            while len(self._kept) > self._limits.max_entries:
                self._kept.popitem(last=False)
            return key

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
