"""The server's resident memory after ten thousand operations, and after a million."""

import asyncio
import tempfile
from pathlib import Path

from benchmarks.encryption import PLAIN, batch_request
from benchmarks.figure import Figure, at_most, shown
from benchmarks.load import Load
from benchmarks.server import KEY, prepare, serving
from protos.kms.v1.crypto_pb2 import EncryptRequest

BATCH = 1_000
FIRST_BATCHES, BATCHES, UNARY = 10, 1_000, 50_000
GROWTH = 1.20


def measure() -> list[Figure]:
    """MiB. Takes about two minutes."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        with serving(prepared) as running:
            request = EncryptRequest(name=str(KEY), plaintext=PLAIN)
            batches = Load(running, prepared.user_credentials, "BatchEncrypt", [batch_request(BATCH)])
            unary = Load(running, prepared.user_credentials, "Encrypt", [request])
            asyncio.run(unary.calls_per_cpu_second(BATCH))
            asyncio.run(batches.calls_per_cpu_second(FIRST_BATCHES, 2))
            before = resident(running.pid)
            asyncio.run(batches.calls_per_cpu_second(BATCHES - FIRST_BATCHES, 2))
            asyncio.run(unary.calls_per_cpu_second(UNARY))
            after = resident(running.pid)
    return [
        shown("resident memory after 10,000 operations", before, "MiB"),
        shown("resident memory after 1,000,000 in batches and 50,000 unary", after, "MiB", before),
        at_most("... as a multiple", after / before, "", GROWTH),
    ]


def resident(pid: int) -> float:
    """MiB of a process."""
    return _status(pid, "VmRSS:")


def peak(pid: int) -> float:
    """The most MiB that a process had, since `forget_peak`."""
    return _status(pid, "VmHWM:")


def forget_peak(pid: int) -> None:
    """proc(5), clear_refs."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith(field)]
    return int(kilobytes) / 1024
