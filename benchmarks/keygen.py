"""How long a tenant key of 3072 bits takes, with a worker process on each CPU."""

import statistics
import time

from benchmarks.figure import Figure, at_most, shown
from benchmarks.processor_time import children_seconds
from blindfold.keygen import generate

MEDIAN_SECONDS = 5.0


def measure(runs: int = 20) -> list[Figure]:
    """Seconds by the clock and of processor time, the median of `runs`. Takes about a minute."""
    walls, processors = zip(*(one_key() for _ in range(runs)), strict=True)
    return [
        at_most("a 3072-bit tenant key, median", statistics.median(walls), "s", MEDIAN_SECONDS),
        shown("a 3072-bit tenant key, processor time, median", statistics.median(processors), "s"),
        shown("a 3072-bit tenant key, processor time, mean", statistics.mean(processors), "s"),
    ]


def one_key() -> tuple[float, float]:
    """Seconds by the clock, and of processor time in the workers."""
    before, start = children_seconds(), time.perf_counter()
    generate()
    return time.perf_counter() - start, children_seconds() - before
