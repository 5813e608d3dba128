"""How long 100,000 keys take to start with and to verify, and what auditing costs a busy server."""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, at_least, at_most
from benchmarks.growth import add_keys
from benchmarks.latency import full_rate
from benchmarks.load import CALLERS
from benchmarks.server import Prepared, opened, prepare, serving
from blindfold.secret import SecretBytes
from kms.main.root_material import Material
from kms.main.verifying import verify_store

KEYS = 100_000
START, VERIFY = 3.0, 60.0
AUDITED = 0.75
ROUNDS = 5
STARTS = 3


def measure() -> list[Figure]:
    """Seconds, and calls for each second. Takes about three minutes."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        audited, unaudited = throughput(prepared)
        with opened(prepared.configuration) as parts:
            add_keys(parts, KEYS)
        starts = [start(prepared) for _ in range(STARTS)]
        return [
            at_least(f"Encrypt, {CALLERS} callers, with its audit event", audited, unaudited, "1/s", AUDITED),
            at_most(f"kms serve with {KEYS:,} keys, from start to ready", min(starts), "s", START),
            at_most(f"kms verify-store of {KEYS:,} keys", verify(prepared), "s", VERIFY),
        ]


def throughput(prepared: Prepared) -> tuple[float, float]:
    """Calls answered in a second with and without the audit event, the best of rounds that take turns."""
    best = {"": 0.0, "operation": 0.0}
    for _ in range(ROUNDS):
        for stage in best:
            with serving(prepared, cpus={0}, stage=stage) as running:
                best[stage] = max(best[stage], asyncio.run(full_rate(running, prepared)))
    return best[""], best["operation"]


def start(prepared: Prepared) -> float:
    begun = time.monotonic()
    with serving(prepared):
        return time.monotonic() - begun


def verify(prepared: Prepared) -> float:
    begun = time.monotonic()
    found = verify_store(prepared.configuration, Material(_nothing), lambda total: lambda count: None)
    if found.faults:
        raise AssertionError(f"the store is not sound: {found.findings[0]}")
    return time.monotonic() - begun


def _nothing() -> SecretBytes:
    raise AssertionError("a keyfile has no passphrase")
