"""How long `kms serve` takes from its start to the first answer it could give."""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, at_most
from benchmarks.server import prepare, serving

READY_SECONDS = 2.0


def measure(runs: int = 7) -> list[Figure]:
    """Seconds by the clock, the median of `runs`."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        times = []
        for _ in range(runs):
            begun = time.perf_counter()
            with serving(prepared):
                times.append(time.perf_counter() - begun)
    return [at_most("kms serve, from start to ready", statistics.median(times), "s", READY_SECONDS)]
