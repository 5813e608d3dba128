"""Encrypt of 256 bytes by a real server: 32 callers, mutual TLS, policy and audit, beside an empty handler.

The server's own processor time is compared, so that the client is not the bottleneck.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kms  # noqa: F401

# isort: split

from benchmarks.empty_server import BATCH_METHOD, METHOD, SERVICE
from benchmarks.figure import Figure, at_least, at_most, shown
from benchmarks.load import CRYPTO, Load
from benchmarks.server import KEY, Prepared, Running, prepare, serving
from benchmarks.stage_server import ANYONE, STAGES
from protos.kms.v1.crypto_batch_pb2 import BatchEncryptRequest
from protos.kms.v1.crypto_pb2 import EncryptRequest

CALLS = 4_000
BATCH = 100
BATCHES = 240
BATCH_CALLERS = 8
ROUNDS = 3
UNARY_SHARE = 0.65
BATCH_TIMES = 10
BATCH_SHARE = 0.50
DECIDING = 0.15
# What each stage adds to the one before.
ADDED = ("identity, limits, conversion", "key, policy, encryption", "audit event, durable")
PLAIN = os.urandom(256)


def measure() -> list[Figure]:
    """Calls for each second of processor time. Takes about two minutes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        prepared = prepare(path)
        turns = [turn(prepared, path / "empty") for _ in range(ROUNDS)]
    # The best of each: what else the machine does can only slow a round down.
    bare, bare_batch, batch, undecided, *stages = (max(rates) for rates in zip(*turns, strict=True))
    whole = stages[-1]
    return [
        at_least("Encrypt 256 B, 32 callers, by server processor time", whole, bare, "1/s", UNARY_SHARE),
        at_least(f"Encrypt 256 B in batches of {BATCH}, items", batch, whole, "1/s", BATCH_TIMES),
        at_least("... beside a handler that only encrypts", batch, bare_batch, "1/s", BATCH_SHARE),
        at_most("... authentication and authorisation add", undecided / whole - 1, "", DECIDING),
        shown("Encrypt 256 B, processor time of an empty call", 1e6 / bare, "us", 1e6 / bare),
        *[
            shown(f"... {added}", 1e6 / after - 1e6 / before, "us", 1e6 / bare)
            for added, before, after in zip(ADDED, [bare, *stages], stages, strict=False)
        ],
    ]


def turn(prepared: Prepared, directory: Path) -> list[float]:
    """The rates of an empty handler, of items in bare and whole batches, without decisions, of each stage."""
    with empty(directory) as nothing:
        bare = unary_rate(nothing, directory, SERVICE)
        bare_batch = batch_rate(nothing, directory, SERVICE)
    with serving(prepared, stage=ANYONE) as running:
        undecided = unary_rate(running, prepared.user_credentials, CRYPTO)
    rates = []
    for stage in (*STAGES, ""):
        with serving(prepared, stage=stage) as running:
            rates.append(unary_rate(running, prepared.user_credentials, CRYPTO))
            if not stage:
                batch = batch_rate(running, prepared.user_credentials, CRYPTO)
    return [bare, bare_batch, batch, undecided, *rates]


@contextmanager
def empty(directory: Path, cpus: set[int] | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.empty_server", str(directory)],
        stdout=subprocess.PIPE,
        preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        yield Running(process.pid, json.loads(process.stdout.readline())["listen"])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def unary_rate(running: Running, credentials: Path, service: str) -> float:
    request = EncryptRequest(name=str(KEY), plaintext=PLAIN)
    load = Load(running, credentials, METHOD, [request], service)
    return asyncio.run(load.calls_per_cpu_second(CALLS))


def batch_rate(running: Running, credentials: Path, service: str) -> float:
    """Items, in batches."""
    load = Load(running, credentials, BATCH_METHOD, [batch_request()], service)
    return BATCH * asyncio.run(load.calls_per_cpu_second(BATCHES, BATCH_CALLERS))


def batch_request(size: int = BATCH) -> BatchEncryptRequest:
    request = BatchEncryptRequest(name=str(KEY))
    for _ in range(size):
        request.requests.add(plaintext=PLAIN)
    return request
