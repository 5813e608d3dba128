"""A whole KMS without listeners: made by `kms init`, its parts called directly."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import blindfold
from blindfold import Bundle, KeyDocument, PolicyDocument
from blindfold.private_key import PrivateKey
from kms.audit.authenticated_store import AuthenticatedStore, open_store
from kms.crypto.device.device import Device
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.main.configuration import Configuration
from kms.main.initialising import initialise
from kms.main.parts import Parts, assemble
from kms.model.caller import Caller
from kms.model.names import (
    BlindfoldKeyName,
    IdentityName,
    NamespaceName,
    OperatorName,
    SecretPolicyName,
    TenantName,
)
from kms.services.call import Call
from kms.services.evaluation import PolicyBinding, RevisionBinding
from kms.services.tenants import Description
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings
from testvectors import material

T = TypeVar("T")

ACME = TenantName("acme")
PROD = NamespaceName("acme", "prod")
KEY = BlindfoldKeyName("acme", 1)
WEB_TLS = SecretPolicyName("acme", "prod", "web-tls")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALLOW_WEB = {"rules": [{"name": "web", "action": "ALLOW", "client_selector": {"expressions": ["app=web"]}}]}


def caller(name: str, *roles: str, tenant: str = "acme", **labels: str) -> Caller:
    """An authenticated identity of the namespace prod."""
    spiffe_id = f"spiffe://kms.test/tenant/{tenant}/ns/prod/sa/{name}"
    identity = IdentityName(tenant, "prod", name)
    return Caller(identity, spiffe_id, (spiffe_id,), labels, frozenset(roles), "192.0.2.1")


OPERATOR = Caller(OperatorName("root"), "spiffe://kms.test/operator/root", (), roles=frozenset({"operator"}))
ADMIN = caller("admin", "tenant-admin")
AUTHOR = caller("author", "policy-author", "secret-sealer")
KEY_ADMIN = caller("key-admin", "key-admin")
AUDITOR = caller("auditor", "auditor")
WEB = caller("web", app="web")
BATCH = caller("batch", app="batch")


@dataclass
class Kms:
    """The parts, a clock that tests move, and shorthands."""

    parts: Parts
    vault: AuthenticatedStore
    workers: ThreadPoolExecutor
    now: datetime = START
    requests: int = field(default=0)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(coroutine)

    def call(self, who: Caller) -> Call:
        self.requests += 1
        return Call(who, f"request-{self.requests}", self.now)

    def pass_time(self, delta: timedelta) -> None:
        self.now += delta

    def events(self) -> list[dict[str, Any]]:
        return self.events_after(0)

    def events_after(self, sequence: int) -> list[dict[str, Any]]:
        return [json.loads(event.body) for event in self.vault.store.events(sequence, 20_000)]

    def last_event(self) -> dict[str, Any]:
        return self.events()[-1]

    def add_key(self, label: str = "full") -> BlindfoldKeyName:
        """The tenant's next key version, with fixed primes instead of a search."""
        view = self.run(
            self.parts.blindfold_keys.begin(self.call(KEY_ADMIN), ACME, 3072, "", make_primary=True)
        )
        key = PrivateKey(*material.primes(label))
        changes = self.parts.blindfold_keys.complete(view.name, key, self.now)
        event = self.call(KEY_ADMIN).event("Kms.GenerateBlindfoldKey", str(view.name), "ALLOW")
        self.vault.store.commit(changes, [event]).result()
        return view.name

    def add_policy(self, content: dict[str, Any] = ALLOW_WEB, name: SecretPolicyName = WEB_TLS) -> Any:
        return self.run(self.parts.secret_policies.create(self.call(AUTHOR), name, content, ""))

    def key_document(self) -> KeyDocument:
        _, data = self.run(self.parts.documents.public_key(self.call(AUTHOR), ACME))
        return Bundle.parse(data).verify(KeyDocument, trust=[self.parts.signing.fingerprint()], now=self.now)

    def policy_document(self, name: SecretPolicyName = WEB_TLS) -> PolicyDocument:
        _, data = self.run(self.parts.documents.policy_document(self.call(AUTHOR), name))
        return Bundle.parse(data).verify(
            PolicyDocument, trust=[self.parts.signing.fingerprint()], now=self.now
        )

    def seal(self, secret: bytes, name: SecretPolicyName = WEB_TLS) -> bytes:
        return blindfold.seal(secret, self.key_document(), self.policy_document(name))

    def open(self, sealed: bytes, who: Caller) -> bytes:
        """What a client does; raises what the KMS or the client raises."""
        request, state = blindfold.begin_open(sealed, self.key_document())
        binding: RevisionBinding | PolicyBinding
        policy = state.header.lock.policy
        if policy is None:
            binding = RevisionBinding(request.binding_value)
        else:
            binding = PolicyBinding(SecretPolicyName.parse(policy[0]), policy[1])
        key = BlindfoldKeyName(request.tenant, request.key_version)
        evaluation = self.parts.evaluation.evaluate(self.call(who), key, binding, [request.element])
        [answer] = self.run(evaluation).results
        if isinstance(answer, Exception):
            raise answer
        return blindfold.finish_open(state, answer).reveal()


@contextmanager
def make_kms(directory: Path, device: Device | None = None) -> Iterator[Kms]:
    """Tenant acme with the namespace prod, nothing else, below an empty directory."""
    configuration = Configuration(
        directory=directory / "kms",
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=directory / "outside" / "checkpoint.json",
    )
    initialise(configuration, "acme", _no_passphrase, START)
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    with ThreadPoolExecutor(2) as workers:
        made = Kms(assemble(vault, workers, ["kms.acme.test"], device=device), vault, workers)
        made.run(made.parts.namespaces.create(made.call(ADMIN), PROD, Description(), ""))
        yield made
    vault.close()


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Kms]:
    """Tenant acme with the namespace prod, nothing else."""
    with make_kms(tmp_path) as made:
        yield made


def _no_passphrase() -> Any:
    raise AssertionError("a keyfile needs no passphrase")
