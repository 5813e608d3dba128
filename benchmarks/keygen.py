"""How long a tenant key of 3072 bits takes, with a worker process on each CPU."""

import resource
import statistics
import time

from blindfold.keygen import generate

Figure = dict[str, object]

MEDIAN_SECONDS = 5.0


def measure(runs: int = 20) -> list[Figure]:
    """Seconds by the clock and of processor time, the median of `runs`. Takes about a minute."""
    walls, processors = zip(*(one_key() for _ in range(runs)), strict=True)
    return [
        figure("a 3072-bit tenant key", statistics.median(walls), MEDIAN_SECONDS),
        figure("a 3072-bit tenant key, processor time", statistics.median(processors), None),
        figure("a 3072-bit tenant key, processor time, mean", statistics.mean(processors), None),
    ]


def one_key() -> tuple[float, float]:
    """Seconds by the clock, and of processor time in the workers."""
    before, start = children_seconds(), time.perf_counter()
    generate()
    return time.perf_counter() - start, children_seconds() - before


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def figure(name: str, value: float, target: float | None) -> Figure:
    return {
        "name": name,
        "value": value,
        "unit": "s",
        "beside": None,
        "ratio": None,
        "target": target,
        "ok": target is None or value <= target,
    }
