"""How long 100,000 keys take to start with, to verify and to back up; what auditing costs a busy server."""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, at_least, at_most, shown
from benchmarks.growth import add_keys
from benchmarks.latency import full_rate
from benchmarks.load import CALLERS
from benchmarks.memory import forget_peak, peak, resident
from benchmarks.server import Prepared, opened, prepare, serving
from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.client.backups import backup_store
from kms.client.channel import open_channel
from kms.main.root_material import Material
from kms.main.verifying import verify_store

KEYS = 100_000
START, VERIFY = 3.0, 60.0
# MiB that a backup may take beyond what the server has anyway, however much there is in the store.
GROWTH = 32.0
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
            *backups(prepared),
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


def backups(prepared: Prepared) -> list[Figure]:
    """Of the second of two backups: the first one loads what any would."""
    operator = prepared.configuration.directory / "credentials" / "operator"
    with serving(prepared) as running, open_channel(running.target, operator) as channel:
        api = Api(channel)
        take(api)
        idle = resident(running.pid)
        forget_peak(running.pid)
        begun = time.monotonic()
        size = take(api)
        seconds = time.monotonic() - begun
        growth = peak(running.pid) - idle
    return [
        at_most(f"memory of a backup of {KEYS:,} keys, beyond the idle server's", growth, "MiB", GROWTH),
        shown(f"backup of {KEYS:,} keys", seconds, "s"),
        shown("... its size", size / (1 << 20), "MiB"),
    ]


def take(api: Api) -> int:
    return sum(map(len, backup_store(api)))


def _nothing() -> SecretBytes:
    raise AssertionError("a keyfile has no passphrase")
