"""A KMS of its own below a directory: its server, who calls it, and a look at its store."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import blindfold
import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported
from benchmarks.server import POLICY as SECRET_POLICY
from benchmarks.server import TENANT, Prepared, admin_call, opened, prepare
from blindfold import Bundle, KeyDocument, PolicyDocument
from blindfold.secret import SecretBytes
from kms.audit.export import links
from kms.audit.rotation import STEP
from kms.client.api import Api, Keep, keep_nothing
from kms.client.channel import open_channel
from kms.identity.grant import Grant
from kms.main.initialising import first_credentials
from kms.main.parts import Parts
from kms.main.root_material import Material
from kms.main.verifying import Verified, verify_store
from kms.model.chain import SignedCheckpoint, parse_object
from kms.model.names import IdentityName, OperatorName
from kms.storage.interface import StoredEvent

AHEAD_DAYS = 40
SECRET = b"sealed before it all began"
STOP_PATIENCE = 60
ROLES = frozenset({"key-user", "key-admin", "policy-author", "secret-sealer", "tenant-admin"})
EVERYBODY = {"name": "all", "action": "ALLOW"}


class Refused(Exception):
    """A server that did not start, with its last words."""


@dataclass
class House:
    """`sealed` opens to SECRET for the administrator. `prefix` comes before the server's command, `ahead` are
    the days that it destroys ahead.
    """

    directory: Path
    prepared: Prepared
    sealed: bytes
    prefix: Sequence[str] = ()
    ahead: int = AHEAD_DAYS
    addresses: Mapping[str, str] = field(default_factory=dict)
    starts: int = 0

    @property
    def worker(self) -> Path:
        return self.directory / "worker"

    @property
    def operator(self) -> Path:
        return self.directory / "operator"

    @property
    def clock(self) -> Path:
        return self.directory / "clock"

    def set_clock(self, seconds: float) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.clock)

    def start(self) -> "subprocess.Popen[bytes]":
        """A server that serves. Raises `Refused`."""
        self.starts += 1
        log = self.directory / f"server-{self.starts}.log"
        environment = {**os.environ, "CHAOS_CLOCK": str(self.clock), "CHAOS_AHEAD": str(self.ahead)}
        command = [*self.prefix, sys.executable, "-m", "chaos.server", "serve", "--json", "--data"]
        with log.open("wb") as words:
            process = subprocess.Popen(
                [*command, str(self.prepared.configuration.directory)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=words,
            )
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            end(process)
            lines = log.read_text(errors="replace").strip().splitlines()
            raise Refused(" / ".join(lines[-2:]))
        self.addresses = json.loads(line)
        return process

    @contextmanager
    def served(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Stopped at the end, in whatever way it takes."""
        process = self.start()
        try:
            yield process
        finally:
            end(process)

    @contextmanager
    def killed(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Killed at the end, if it was not before."""
        process = self.start()
        try:
            yield process
        finally:
            kill(process)

    @contextmanager
    def calling(self, credentials: Path | None = None, keep: Keep = keep_nothing) -> Iterator[Api]:
        """By the worker, who may do all that the load does."""
        with open_channel(self.addresses["listen"], credentials or self.worker) as channel:
            yield Api(channel, timeout=20, keep=keep)

    def rotations(self) -> int:
        """How many of the root key are done, by the audit chain of the stopped store."""
        with opened(self.prepared.configuration) as parts:
            return sum(_ends_rotation(link) for link in links(parts.vault.store))

    def verified(self) -> Verified:
        return verify_store(
            self.prepared.configuration, Material(_no_passphrase), lambda total: lambda count: None
        )


def build(directory: Path) -> House:
    """Everything that the load needs, in an empty directory."""
    prepared = prepare(directory, [EVERYBODY])
    with opened(prepared.configuration) as parts:
        house = House(directory, prepared, asyncio.run(_sealed(parts)))
        grant = Grant(IdentityName("acme", "system", "worker"), roles=ROLES)
        first_credentials(parts, grant, house.worker, "Kms.Init", datetime.now(UTC))
        operator = Grant(OperatorName("chaos"), roles=frozenset({"operator"}))
        first_credentials(parts, operator, house.operator, "Kms.Init", datetime.now(UTC))
    return house


async def _sealed(parts: Parts) -> bytes:
    """What an offline sealer makes of the bundles of the Blindfold key and the secret policy."""
    call, trust = admin_call(), [parts.signing.fingerprint()]
    _, key = await parts.documents.public_key(call, TENANT)
    _, policy = await parts.documents.policy_document(call, SECRET_POLICY)
    return blindfold.seal(
        SECRET,
        Bundle.parse(key).verify(KeyDocument, trust=trust, now=call.time),
        Bundle.parse(policy).verify(PolicyDocument, trust=trust, now=call.time),
    )


def _ends_rotation(link: StoredEvent | SignedCheckpoint) -> bool:
    if isinstance(link, SignedCheckpoint):
        return False
    event = parse_object(link.body)
    return event["action"] == STEP and event["details"]["left"] == "nothing"


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    _bury(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Told to stop, and killed if it does not."""
    process.terminate()
    try:
        process.wait(STOP_PATIENCE)
    finally:
        kill(process)


def _bury(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _no_passphrase() -> SecretBytes:
    raise AssertionError("a keyfile has no passphrase")
