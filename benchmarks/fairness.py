"""What a caller feels of another one that floods the server, far above its limit.

The quiet caller calls at even times, and a call's time counts from when it was due. The flood is a process
with another identity, several connections and streams, that calls again as soon as it is refused. The server
has one processor, both callers the other. Beside it stands a server that refuses at once.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported

# isort: split
import grpc

from benchmarks.encryption import PLAIN
from benchmarks.figure import Figure, at_most, shown
from benchmarks.load import Load
from benchmarks.server import ADMIN, KEY, Prepared, Running, admin_call, opened, prepare, serving
from benchmarks.stage_server import AT_ONCE
from kms.identity.grant import Grant
from kms.main.initialising import first_credentials
from kms.model.names import RateLimiterName
from kms.model.rate_limit import OperationClass, Period
from kms.services.rate_limiters import LimiterSettings
from protos.kms.v1.crypto_pb2 import EncryptRequest

RATE = 100
LIMIT = 150
SECONDS = 8
SETTLED = 2.0
LONGEST = 10
ROUNDS = 3
TIMES_ALONE = 3
BOTH = {"name": "both", "action": "ALLOW", "client_name_matcher": {"regex_values": [".*/sa/(app|flood)"]}}


@dataclass(frozen=True, slots=True)
class Felt:
    """The 99th percentile of a caller's calls in seconds, and the share of them that failed."""

    tail: float
    failed: float


def measure() -> list[Figure]:
    """Milliseconds; the best of some rounds. Takes about two minutes."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory), [BOTH])
        flood = _add_flood(prepared, Path(directory) / "flood")
        with serving(prepared, cpus={0}) as running:
            rounds = [_round(prepared, running, flood) for _ in range(ROUNDS)]
        with serving(prepared, cpus={0}, stage=AT_ONCE) as running:
            _, unheld = _round(prepared, running, flood)
    if any(felt.failed for pair in rounds for felt in pair):
        raise AssertionError("calls of the quiet caller failed")
    # The best of each: what else the machine does can only slow a round down.
    alone, beside = (min(felt.tail for felt in felts) for felts in zip(*rounds, strict=True))
    return [
        shown("Encrypt 256 B, quiet caller, 99th percentile alone", 1e3 * alone, "ms"),
        shown("... beside a flood above its limit", 1e3 * beside, "ms", 1e3 * alone),
        at_most("... as a multiple of that alone", beside / alone, "", TIMES_ALONE),
        shown("... were the flood refused at once", 1e3 * unheld.tail, "ms", 1e3 * alone),
        shown("... share of calls that fail then", 100 * unheld.failed, "%"),
    ]


def _add_flood(prepared: Prepared, directory: Path) -> Path:
    """The credentials of the other identity; both have the same limit."""
    limit = LimiterSettings(frozenset({OperationClass.USE}), LIMIT, Period.SECOND)
    with opened(prepared.configuration) as parts:
        name = RateLimiterName(KEY.tenant, "bench")
        asyncio.run(parts.rate_limiters.create(admin_call(), name, limit, ""))
        grant = Grant(replace(ADMIN, identity="flood"), roles=frozenset({"key-user"}))
        first_credentials(parts, grant, directory, "Kms.Init", datetime.now(UTC))
    return directory


def _round(prepared: Prepared, running: Running, flood: Path) -> tuple[Felt, Felt]:
    """What the quiet caller feels alone, and beside the flood."""
    alone = asyncio.run(_felt(prepared, running))
    with _flooding(running, flood):
        time.sleep(SETTLED)
        return alone, asyncio.run(_felt(prepared, running))


async def _felt(prepared: Prepared, running: Running) -> Felt:
    request, failed = EncryptRequest(name=str(KEY), plaintext=PLAIN), 0
    async with Load(running, prepared.user_credentials, "Encrypt", [request]).calling() as call:
        await call()
        start = time.perf_counter()

        async def one(due: float) -> float:
            nonlocal failed
            await asyncio.sleep(due - time.perf_counter())
            try:
                async with asyncio.timeout(LONGEST):
                    await call()
            except (grpc.RpcError, TimeoutError):
                failed += 1
            return time.perf_counter() - due

        times = await asyncio.gather(*[one(start + number / RATE) for number in range(SECONDS * RATE)])
    return Felt(statistics.quantiles(times, n=100)[98], failed / len(times))


@contextmanager
def _flooding(running: Running, credentials: Path) -> Iterator[None]:
    """Raises `AssertionError` if it was no flood."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.flood", running.target, str(credentials)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {1}),
    )
    try:
        yield
    finally:
        process.terminate()
        said = process.communicate()[0]
    last = [int(word) for word in said.splitlines()[-1].split()]
    if last[1] == 0:
        raise AssertionError("the flood was not refused: it measures nothing")
    print(f"flood, in its last second: {last[0]} passed, {last[1]} refused", file=sys.stderr)
