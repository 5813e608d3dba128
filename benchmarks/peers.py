"""Encrypt of 256 bytes here and by peers, in the same run: same payload, same callers, one core for a server.

`BENCH_MOTO` is the path of a `moto_server` (its KMS in memory, over HTTP, without policy or audit);
`BENCH_VAULT_ADDR` and `BENCH_VAULT_TOKEN` name a Vault-compatible server whose transit engine is mounted at
`transit/` and which has the key `bench`. Who pins that one to a core is whoever started it. What is not named
is left out.
"""

import asyncio
import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.encryption import PLAIN
from benchmarks.figure import Figure, shown
from benchmarks.latency import full_rate
from benchmarks.load import CALLERS
from benchmarks.server import prepare, serving

CALLS = 1_600
ROUNDS = 3
PLAINTEXT = base64.b64encode(PLAIN).decode()


@dataclass(frozen=True, slots=True)
class Peer:
    """An HTTP server and the request that has it encrypt."""

    address: str
    path: str
    body: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.address)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.netloc, timeout=60)

    def send(self, connection: http.client.HTTPConnection) -> bytes:
        connection.request("POST", self.path, json.dumps(self.body), dict(self.headers))
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise AssertionError(f"the peer answers {response.status}")
        return answer


def measure() -> list[Figure]:
    """Calls answered in a second, the best of some rounds. Takes about a minute."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        with serving(prepared, cpus={0}) as running:
            ours = max(asyncio.run(full_rate(running, prepared)) for _ in range(ROUNDS))
    figures = [shown("Encrypt 256 B here, mutual TLS, policy and audit", ours, "1/s")]
    if program := os.environ.get("BENCH_MOTO"):
        with moto(program) as peer:
            rate = best(peer)
        figures.append(shown("Encrypt 256 B by moto, plain HTTP", rate, "1/s", ours))
    if address := os.environ.get("BENCH_VAULT_ADDR"):
        rate = best(vault(address, os.environ.get("BENCH_VAULT_TOKEN", "")))
        figures.append(shown("Encrypt 256 B by the transit engine of Vault", rate, "1/s", ours))
    if len(figures) == 1:
        print("no peer is named: see benchmarks/peers.py", file=sys.stderr)
    return figures


def best(peer: Peer) -> float:
    return max(rate(peer) for _ in range(ROUNDS))


def rate(peer: Peer) -> float:
    """With a connection for each caller, which lives through all its calls."""

    def caller(_: int) -> None:
        connection = peer.connect()
        for _ in range(CALLS // CALLERS):
            peer.send(connection)
        connection.close()

    with ThreadPoolExecutor(CALLERS) as callers:
        start = time.perf_counter()
        list(callers.map(caller, range(CALLERS)))
        return CALLS / (time.perf_counter() - start)


def vault(address: str, token: str) -> Peer:
    return Peer(address, "/v1/transit/encrypt/bench", {"plaintext": PLAINTEXT}, {"X-Vault-Token": token})


@contextmanager
def moto(program: str) -> Iterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),
    )
    try:
        yield moto_key(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def moto_key(address: str) -> Peer:
    create = Peer(address, "/", {}, moto_headers("CreateKey"))
    answer = json.loads(when_it_listens(lambda: create.send(create.connect())))
    body = {"KeyId": answer["KeyMetadata"]["KeyId"], "Plaintext": PLAINTEXT}
    return Peer(address, "/", body, moto_headers("Encrypt"))


def moto_headers(operation: str) -> dict[str, str]:
    """Signed by nobody: moto does not look."""
    scope = "Credential=bench/20260101/us-east-1/kms/aws4_request"
    return {
        "X-Amz-Target": f"TrentService.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
    }


def when_it_listens(act: Callable[[], bytes], seconds: float = 60) -> bytes:
    end = time.monotonic() + seconds
    while True:
        try:
            return act()
        except ConnectionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)
