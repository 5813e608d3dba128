"""What the store takes from outside itself: time, randomness, and its limits."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Environment:
    """Clocks and randomness: `monotonic` in seconds, `random_bytes(size)` fit for keys."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    random_bytes: Callable[[int], bytes] = os.urandom


@dataclass(frozen=True, slots=True)
class Limits:
    """`queue` units wait at most, `group` of them share a transaction, for which `gather` seconds are waited
    if the last one was of several.

    A unit that only appends events is covered by an outside checkpoint within `checkpoint_seconds` or
    `checkpoint_events` more events, whichever is first. When the keys are replaced, at most `step_rows` or
    `step_events` are moved while other units wait: some tens of milliseconds.
    """

    queue: int = 10_000
    group: int = 512
    gather: float = 0.003
    checkpoint_seconds: float = 10.0
    checkpoint_events: int = 10_000
    step_rows: int = 1000
    step_events: int = 4000
