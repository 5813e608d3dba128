"""A Wingman beside a real server: what it costs to ask it instead of the KMS, and to have it at all.

Server and Wingman are processes of their own. The direct client and Wingman take turns at opening one sealed
secret whose policy lets nobody keep it, so each opening is a call to the KMS. Their fastest tenths are
compared: what else the machine does can only slow an opening down, and one of more processes the more.
"""

import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import blindfold
from benchmarks.figure import Figure, at_most, not_less, shown
from benchmarks.memory import resident
from benchmarks.processor_time import of_process
from benchmarks.server import (
    EVERY_ADMIN,
    POLICY,
    TENANT,
    Prepared,
    Running,
    admin_call,
    opened,
    prepare,
    serving,
)
from blindfold import Bundle, KeyDocument, PolicyDocument
from blindfold.forms import to_location
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.documents import KeyDocuments, fetch_policy_document, fetch_public_key
from kms.client.opening import open_sealed
from kms.model.names import SecretPolicyName
from wingman.unix_http import UnixConnection

KEPT = replace(POLICY, policy="kept")
SECRET = b"hunter2 hunter2"
STARTS = 5
TURNS = 200
REQUESTS = 3_000

ADDED_MS = 2.0
CACHED_RATE = 500.0
IDLE_MIB = 80.0
BOOT_SECONDS = 1.5


def measure() -> list[Figure]:
    """Takes about half a minute."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        trust = add_policy(prepared)
        with serving(prepared) as running:
            boots = [boot(prepared, running) for _ in range(STARTS)]
            with wingman(prepared, running) as beside:
                idle = resident(beside.pid)
                direct, through = turns(prepared, running, beside, seal(prepared, running, POLICY, trust))
                rate = kept_rate(beside, seal(prepared, running, KEPT, trust))
                busy = resident(beside.pid)
    boot_seconds = statistics.median(boots)
    return [
        at_most("wingman serve, from start to READY, processor time", boot_seconds, "s", BOOT_SECONDS),
        at_most("Wingman's resident memory, idle", idle, "MiB", IDLE_MIB),
        shown("... after some thousand requests", busy, "MiB", idle),
        shown("opening a secret, direct client, fastest tenth", 1e3 * direct, "ms"),
        shown("opening a secret through Wingman, fastest tenth", 1e3 * through, "ms", 1e3 * direct),
        at_most("... the difference", 1e3 * (through - direct), "ms", ADDED_MS),
        not_less("unseals of a kept secret, by Wingman's processor time", rate, "1/s", CACHED_RATE),
    ]


@dataclass(frozen=True, slots=True)
class Beside:
    """A Wingman's process, and where it listens."""

    pid: int
    socket: str

    def connection(self) -> http.client.HTTPConnection:
        return UnixConnection(self.socket, 60.0)


def add_policy(prepared: Prepared) -> str:
    """One that lets what it opens be kept. The fingerprint to verify documents by."""
    content = {"rules": [EVERY_ADMIN], "decrypt_cache_timeout_seconds": 3600}
    with opened(prepared.configuration) as parts:
        asyncio.run(parts.secret_policies.create(admin_call(), KEPT, content, ""))
        return parts.signing.fingerprint()


def seal(prepared: Prepared, running: Running, policy: SecretPolicyName, trust: str) -> bytes:
    with open_channel(running.target, prepared.credentials) as channel:
        bundles = (
            fetch_public_key(Api(channel), TENANT).bundle,
            fetch_policy_document(Api(channel), policy).bundle,
        )
    key, document = (
        Bundle.parse(data).verify(kind, trust=[trust], now=datetime.now(UTC))
        for data, kind in zip(bundles, (KeyDocument, PolicyDocument), strict=True)
    )
    return blindfold.seal(SECRET, key, document)


@contextmanager
def wingman(prepared: Prepared, running: Running) -> Iterator[Beside]:
    """One that is READY."""
    path = str(prepared.configuration.directory.parent / "wingman.sock")
    told = {"server": running.target, "credentials": str(prepared.credentials), "socket": path}
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "wingman"), "serve", "--config", "-", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(json.dumps(told).encode())
        process.stdin.close()
        process.stdout.readline()
        beside = Beside(process.pid, path)
        while ask(beside, "GET", "/status") != b"READY":
            time.sleep(0.005)
        yield beside
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def ask(beside: Beside, method: str, path: str) -> bytes:
    with closing(beside.connection()) as connection:
        connection.request(method, path)
        return connection.getresponse().read()


def boot(prepared: Prepared, running: Running) -> float:
    """Seconds of processor time."""
    with wingman(prepared, running) as beside:
        return of_process(beside.pid)


def turns(prepared: Prepared, running: Running, beside: Beside, sealed: bytes) -> tuple[float, float]:
    """Seconds of an opening, direct and through Wingman, each warm: the fastest tenth's slowest."""
    with (
        open_channel(running.target, prepared.credentials) as channel,
        closing(beside.connection()) as connection,
    ):
        api = Api(channel)
        keys = KeyDocuments(api)
        body = unsealing(sealed)
        times = [
            (
                seconds(lambda: check(open_sealed(api, sealed, keys=keys).reveal())),
                seconds(lambda: unseal(connection, body)),
            )
            for _ in range(TURNS + 1)
        ][1:]
    direct, through = (statistics.quantiles(column, n=10)[0] for column in zip(*times, strict=True))
    return direct, through


def kept_rate(beside: Beside, sealed: bytes) -> float:
    """Answers for each second of Wingman's processor time, on one connection."""
    body = unsealing(sealed)
    with closing(beside.connection()) as connection:
        unseal(connection, body)
        before = of_process(beside.pid)
        for _ in range(REQUESTS):
            unseal(connection, body)
        return REQUESTS / (of_process(beside.pid) - before)


def unsealing(sealed: bytes) -> bytes:
    return json.dumps({"type": "blindfold", "location": to_location(sealed)}).encode()


def unseal(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/secret/unseal?raw", body)
    check(connection.getresponse().read())


def check(secret: bytes) -> None:
    if secret != SECRET:
        raise AssertionError("another answer than the secret")


def seconds(act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun
