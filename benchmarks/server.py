"""A real `kms serve` process for benchmarks, over a store whose tenant key is a fixed one."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import kms  # noqa: F401 - it sets TLS 1.3 before grpc is imported
from blindfold.private_key import PrivateKey
from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import open_store
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.identity.grant import Grant
from kms.main.configuration import Configuration
from kms.main.initialising import first_credentials, initialise
from kms.main.parts import Parts, assemble
from kms.main.root_material import Material
from kms.model.algorithms import Purpose
from kms.model.caller import Caller
from kms.model.names import IdentityName, KeyName, KmsPolicyName, SecretPolicyName, TenantName
from kms.services.call import Call
from kms.services.keys import KeySettings
from kms.services.tenants import ADMIN_ROLES
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings
from testvectors import material

TENANT = TenantName("acme")
POLICY = SecretPolicyName("acme", "system", "bench")
KMS_POLICY = KmsPolicyName("acme", "system", "bench")
KEY = KeyName("acme", "system", "bench")
ADMIN = IdentityName("acme", "system", "admin")

Rule = Mapping[str, object]

EVERY_USER = {"name": "app", "action": "ALLOW", "client_name_matcher": {"regex_values": [".*/sa/app"]}}
EVERY_ADMIN = {"name": "admin", "action": "ALLOW", "client_name_matcher": {"regex_values": [".*/sa/admin"]}}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An initialised KMS with a key and a policy that allows its administrator."""

    configuration: Configuration
    credentials: Path
    user_credentials: Path
    digest: bytes


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves. `target` is its main listener."""

    pid: int
    target: str


def prepare(directory: Path, key_rules: Sequence[Rule] = (EVERY_USER,)) -> Prepared:
    """Below directory, which must be empty. `key_rules` are asked for every key."""
    configuration = Configuration(
        directory=directory / "kms",
        trust_domain="bench.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=directory / "checkpoint" / "checkpoint.json",
    )
    made = initialise(configuration, TENANT.tenant, Material(_no_passphrase))
    user = directory / "user"
    with opened(configuration) as parts:
        digest = asyncio.run(_fill(parts, key_rules))
        grant = Grant(replace(ADMIN, identity="app"), roles=frozenset({"key-user"}))
        first_credentials(parts, grant, user, "Kms.Init", datetime.now(UTC))
    return Prepared(configuration, made.admin_credentials, user, digest)


@contextmanager
def opened(configuration: Configuration) -> Iterator[Parts]:
    """The parts around the store while no server has it."""
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    try:
        with ThreadPoolExecutor(1) as workers:
            yield assemble(vault, workers)
    finally:
        vault.close()


def admin_call() -> Call:
    spiffe_id = "spiffe://bench.test/tenant/acme/ns/system/sa/admin"
    admin = Caller(ADMIN, spiffe_id, (spiffe_id,), roles=ADMIN_ROLES)
    return Call(admin, "bench", datetime.now(UTC))


async def add_key(parts: Parts, key: str, purpose: Purpose, algorithm: str = "") -> KeyName:
    """A key that `key_rules` are asked for."""
    name = replace(KEY, key=key)
    settings = KeySettings(policy=KMS_POLICY)
    await parts.keys.create(admin_call(), name, purpose, algorithm, settings, "")
    return name


async def _fill(parts: Parts, key_rules: Sequence[Rule]) -> bytes:
    call = admin_call()
    view = await parts.blindfold_keys.begin(call, TENANT, 3072, "", make_primary=True)
    changes = parts.blindfold_keys.complete(view.name, PrivateKey(*material.primes("full")), call.time)
    await parts.guard.commit(changes, [call.event("Kms.GenerateBlindfoldKey", str(view.name), "ALLOW")])
    policy = await parts.secret_policies.create(call, POLICY, {"rules": [EVERY_ADMIN]}, "")
    await parts.kms_policies.create(call, KMS_POLICY, {"rules": list(key_rules)}, "")
    await add_key(parts, KEY.key, Purpose.ENCRYPT_DECRYPT)
    return policy.current.digest


@contextmanager
def serving(prepared: Prepared, cpus: set[int] | None = None, stage: str = "") -> Iterator[Running]:
    """The process, on the given processors only if they are named; `stage`: see `stage_server`."""
    program = [str(Path(sys.executable).parent / "kms")]
    if stage:
        program = [sys.executable, "-m", "benchmarks.stage_server", stage]
    process = subprocess.Popen(
        [*program, "serve", "--json", "--data", str(prepared.configuration.directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        yield Running(process.pid, json.loads(process.stdout.readline())["listen"])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def _no_passphrase() -> SecretBytes:
    raise AssertionError("a keyfile needs no passphrase")
