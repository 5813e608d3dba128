"""A whole KMS behind its listeners: a store made by `kms init`, real services, mutual TLS on loopback."""

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
from server.server_harness import EventLoop

import blindfold
from blindfold import Bundle, KeyDocument, PolicyDocument
from blindfold.forms import to_location
from blindfold.private_key import PrivateKey
from kms.audit.authenticated_store import AuthenticatedStore, open_store
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.credentials import generate_key_pair, parse_credentials, write_credentials
from kms.client.documents import fetch_policy_document, fetch_public_key
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.identity.authority import ServerNames
from kms.identity.csr import verify_csr
from kms.identity.grant import Grant
from kms.main.configuration import Configuration
from kms.main.initialising import initialise
from kms.main.parts import Parts, assemble
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.names import BlindfoldKeyName, IdentityName, OperatorName, SecretPolicyName, TenantName
from kms.server.app import App, Limits, Listener, Ports
from kms.server.call import acknowledge
from kms.server.interceptors.authentication import Authentication, require_tls_1_3
from kms.server.interceptors.rate_limit import RateLimit, RateLimiter
from kms.server.late_refusals import Lateness
from kms.server.servicers.audit import AuditServicer
from kms.server.servicers.backups import BackupServicer
from kms.server.servicers.blindfold import BlindfoldServicer
from kms.server.servicers.cryptography import CryptoServicer
from kms.server.servicers.enrolment import EnrolmentServicer
from kms.server.servicers.identities import IdentityServicer
from kms.server.servicers.identity_authorities import IdentityAuthorityServicer
from kms.server.servicers.imports import ImportServicer
from kms.server.servicers.jwt_issuers import JwtIssuerServicer
from kms.server.servicers.keys import KeyServicer
from kms.server.servicers.kms_policies import KmsPolicyServicer
from kms.server.servicers.namespaces import NamespaceServicer
from kms.server.servicers.prefix_sets import PrefixSetServicer
from kms.server.servicers.rate_limits import RateLimitServicer
from kms.server.servicers.secret_management_accesses import SecretManagementAccessServicer
from kms.server.servicers.secret_policies import SecretPolicyServicer
from kms.server.servicers.tenants import TenantServicer
from kms.server.servicers.trusted_authorities import TrustedAuthorityServicer
from kms.server.tls import ServerCertificate, enrolment_credentials, main_credentials
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings
from testvectors import material

ACME, PROD = "tenants/acme", "tenants/acme/namespaces/prod"
KEY = f"{ACME}/blindfoldKeys/1"
LIMITS = "RateLimitService"
# Refusals are not held: the clock of the limits stands still meanwhile.
AT_ONCE = Lateness(at_once=100_000)
WEB_TLS = f"{PROD}/secretPolicies/web-tls"
PROGRESS = 4711
ALLOW_WEB = {
    "rules": [
        {"name": "web", "action": "ACTION_ALLOW", "client_selector": {"expressions": ["app=web"]}},
    ]
}
# Who calls in the tests: the tenant, roles and labels.
PEOPLE: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "admin": ("acme", ("tenant-admin",), {}),
    "author": ("acme", ("policy-author", "secret-sealer"), {}),
    "key-admin": ("acme", ("key-admin",), {}),
    "key-user": ("acme", ("key-user",), {"team": "shop"}),
    "auditor": ("acme", ("auditor",), {}),
    "web": ("acme", (), {"app": "web"}),
    "batch": ("acme", (), {"app": "batch"}),
    "stranger": (
        "globex",
        ("tenant-admin", "policy-author", "key-admin", "secret-sealer", "auditor"),
        {"app": "web"},
    ),
}

MakeApp = Callable[[Configuration, Parts, Callable[[], datetime]], App]


@dataclass
class RunningKms:
    """The server, its parts for what no RPC does, and callers with their own channels.

    `ticks` is the clock of the rate limits, in nanoseconds; it stands still unless a test moves it.
    """

    parts: Parts
    vault: AuthenticatedStore
    loop: EventLoop
    app: App
    ports: Ports
    directory: Path
    contexts: ExitStack
    offset: list[timedelta]
    ticks: list[int]
    channels: dict[str, grpc.Channel] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"localhost:{self.ports.main}"

    @property
    def enrolment_target(self) -> str:
        return f"localhost:{self.ports.enrolment}"

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset[0]

    def as_(self, who: str) -> Api:
        """The API as one of PEOPLE, or as the operator."""
        if who not in self.channels:
            channel = open_channel(self.target, self.credentials(who))
            self.channels[who] = self.contexts.enter_context(channel)
        return Api(self.channels[who], timeout=20)

    def credentials(self, who: str) -> Path:
        directory = self.directory / "callers" / who
        if not directory.exists():
            self.issue(self._grant(who), directory)
        return directory

    def spiffe_id(self, who: str) -> str:
        tenant = PEOPLE[who][0]
        return f"spiffe://kms.test/tenant/{tenant}/ns/prod/sa/{who}"

    def _grant(self, who: str) -> Grant:
        if who == "operator":
            return Grant(OperatorName("root"), roles=frozenset({"operator"}))
        tenant, roles, labels = PEOPLE[who]
        return Grant(IdentityName(tenant, "prod", who), (), labels, frozenset(roles))

    def issue(self, grant: Grant, directory: Path, age: timedelta = timedelta(0)) -> None:
        """Credentials in that directory, with a certificate that was issued so long ago."""
        pair = generate_key_pair()
        issued, change = self.parts.identities.issue_first(pair.csr, grant, datetime.now(UTC) - age)
        self.commit("Enrol", change)
        write_credentials(
            directory, parse_credentials(pair.key_pem, issued.chain_pem, issued.trust_bundle_pem)
        )

    def commit(self, action: str, *changes: Any) -> None:
        event = AuditEvent(timestamp(self.now), action, "", "", "", "ALLOW")
        self.vault.store.commit(list(changes), [event]).result()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(event.body) for event in self.vault.store.events(0, 100_000)]

    def complete(self, name: str) -> None:
        """Make a pending key version usable, with fixed primes instead of a search."""
        key = PrivateKey(*material.primes("full"))
        changes = self.parts.blindfold_keys.complete(BlindfoldKeyName.parse(name), key, self.now)
        self.commit("Kms.GenerateBlindfoldKey", *changes)

    def add_key(self, *, make_primary: bool = True) -> str:
        request = {"parent": ACME, "make_primary": make_primary}
        name = self.as_("key-admin").call("BlindfoldService", "GenerateBlindfoldKey", request)["name"]
        self.complete(name)
        return str(name)

    def add_policy(self, policy_id: str = "web-tls", **content: Any) -> dict[str, Any]:
        request = {
            "parent": PROD,
            "secret_policy_id": policy_id,
            "secret_policy": {"content": ALLOW_WEB | content},
        }
        return self.as_("author").call("SecretPolicyService", "CreateSecretPolicy", request)

    def allow_keys(self, *rules: dict[str, Any], policy_id: str = "keys") -> str:
        """A KMS policy with those rules, or one that allows everything, asked for all keys of prod."""
        content = {"rules": list(rules) or [{"name": "all", "action": "ACTION_ALLOW"}]}
        author = self.as_("author")
        request = {"parent": PROD, "kms_policy_id": policy_id, "kms_policy": {"content": content}}
        name = author.call("KmsPolicyService", "CreateKmsPolicy", request)["name"]
        attached = {"namespace_policy": {"name": PROD, "kms_policies": [name]}}
        author.call("KmsPolicyService", "SetNamespacePolicy", attached)
        return str(name)

    def add_access(self, identifier: str, policy: str = WEB_TLS) -> str:
        """The name of an access to a vault, for who has the label app=web."""
        endpoint = "https://vault.corp.example:8200"
        location = to_location(self.seal(b"token", policy, name=endpoint))
        content = {
            "provider": "vault",
            "where": {"expressions": ["app=web"]},
            "endpoint": endpoint,
            "authentication": {"token": {"token": {"blindfold": {"location": location}}}},
            "mounts": [{"path": "secret", "engine": "VAULT_ENGINE_KV_V2"}],
        }
        request = {
            "parent": PROD,
            "secret_management_access_id": identifier,
            "secret_management_access": {"content": content},
        }
        service = self.as_("author")
        return str(
            service.call("SecretManagementAccessService", "CreateSecretManagementAccess", request)["name"]
        )

    def make_key(self, key_id: str, purpose: str = "ENCRYPT_DECRYPT", **key: Any) -> str:
        """The name of a key with a first version, unless it says `skip_initial_version`."""
        skip = key.pop("skip_initial_version", False)
        described = {"purpose": f"KEY_PURPOSE_{purpose}", **key}
        request = {"parent": PROD, "key_id": key_id, "key": described, "skip_initial_version": skip}
        return str(self.as_("key-admin").call("KeyService", "CreateKey", request)["name"])

    def add_identification(self, identifier: str, kind: str, header: str = "") -> str:
        """The name of a user identification."""
        described = {"kind": f"KIND_{kind}", "header": header}
        request = {
            "parent": ACME,
            "user_identification_id": identifier,
            "user_identification": described,
        }
        return str(self.as_("admin").call(LIMITS, "CreateUserIdentification", request)["name"])

    def add_limiter(self, identifier: str, **limiter: Any) -> dict[str, Any]:
        """A rate limiter, of ten operations in an hour unless it says otherwise."""
        described = {"operation_classes": ["OPERATION_CLASS_USE"], "number": 10, "period": "RATE_PERIOD_HOUR"}
        request = {"parent": ACME, "rate_limiter_id": identifier, "rate_limiter": described | limiter}
        return self.as_("admin").call(LIMITS, "CreateRateLimiter", request)

    def remove_limits(self) -> None:
        """All limiters and user identifications of acme."""
        for kind, items in (("RateLimiter", "rate_limiters"), ("UserIdentification", "user_identifications")):
            listed = self.as_("admin").call(LIMITS, f"List{kind}s", {"parent": ACME})
            for item in listed.get(items, []):
                self.as_("admin").call(LIMITS, f"Delete{kind}", {"name": item["name"]})

    def seal(self, secret: bytes, policy: str = WEB_TLS, **options: Any) -> bytes:
        """What an offline sealer does with bundles fetched before."""
        author, trust = self.as_("author"), [self.parts.signing.fingerprint()]
        bundles = (
            fetch_public_key(author, TenantName("acme")).bundle,
            fetch_policy_document(author, SecretPolicyName.parse(policy)).bundle,
        )
        key, document = (
            Bundle.parse(data).verify(kind, trust=trust, now=self.now)
            for data, kind in zip(bundles, (KeyDocument, PolicyDocument), strict=True)
        )
        return blindfold.seal(secret, key, document, **options)


@contextmanager
def running_kms(
    directory: Path,
    limiter: RateLimiter | None = None,
    make_app: MakeApp | None = None,
    **assembling: Any,
) -> Iterator[RunningKms]:
    """Tenants acme and globex, each with the namespace prod. `assembling` is for `assemble`."""
    initialise(configuration_in(directory), "acme", _no_passphrase)
    with serving(directory, limiter, make_app, **assembling) as kms:
        kms.as_("operator").call(
            "TenantService", "CreateTenant", {"tenant_id": "globex", "tenant": {"description": "others"}}
        )
        for parent, who in ((ACME, "admin"), ("tenants/globex", "stranger")):
            kms.as_(who).call(
                "NamespaceService", "CreateNamespace", {"parent": parent, "namespace_id": "prod"}
            )
        yield kms


def configuration_in(directory: Path) -> Configuration:
    return Configuration(
        directory=directory / "kms",
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="localhost:0",
        enrolment_listen="localhost:0",
        checkpoint_file=directory / "outside" / "checkpoint.json",
    )


@contextmanager
def serving(
    directory: Path,
    limiter: RateLimiter | None = None,
    make_app: MakeApp | None = None,
    **assembling: Any,
) -> Iterator[RunningKms]:
    """What there is in a directory, as `running_kms` makes it."""
    configuration = configuration_in(directory)
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    loop = EventLoop()
    offset, ticks = [timedelta(0)], [0]
    with ExitStack() as contexts:
        contexts.callback(vault.close)
        contexts.callback(loop.close)
        workers = contexts.enter_context(ThreadPoolExecutor(2))
        parts = assemble(vault, workers, clock=lambda: ticks[0], acknowledge=acknowledge, **assembling)
        if make_app is None:
            app = _app(parts, offset, limiter or parts.rate_limits)
        else:
            app = make_app(configuration, parts, lambda: datetime.now(UTC) + offset[0])
        contexts.callback(lambda: loop.run(app.stop(0)))
        ports = loop.run(app.start())
        yield RunningKms(parts, vault, loop, app, ports, directory, contexts, offset, ticks)


def _app(parts: Parts, offset: list[timedelta], limiter: RateLimiter) -> App:
    certificate = _server_certificate(parts)
    main = Listener(
        "localhost:0",
        main_credentials(lambda: certificate),
        [
            TenantServicer(parts.tenants, parts.tenant_life, parts.audit_log.public_key),
            NamespaceServicer(parts.namespaces),
            IdentityServicer(parts.identities, parts.authenticator.leaf),
            JwtIssuerServicer(parts.jwt_issuers),
            TrustedAuthorityServicer(parts.trusted_authorities),
            IdentityAuthorityServicer(parts.identity_authorities),
            SecretPolicyServicer(parts.secret_policies, parts.access_review, parts.simulations),
            KmsPolicyServicer(parts.kms_policies, parts.access_review, parts.simulations),
            PrefixSetServicer(parts.prefix_sets),
            SecretManagementAccessServicer(parts.secret_management_accesses),
            KeyServicer(parts.keys, parts.key_versions),
            ImportServicer(parts.transfers, parts.key_versions),
            CryptoServicer(parts.cryptography, parts.randomness),
            BlindfoldServicer(parts.blindfold_keys, parts.documents, parts.evaluation, lambda name: PROGRESS),
            AuditServicer(parts.audit_log),
            RateLimitServicer(parts.rate_limiters, parts.user_identifications),
            BackupServicer(parts.backups, parts.store_backups, parts.restores),
        ],
        [require_tls_1_3, Authentication(parts.authenticator.authenticate), RateLimit(limiter)],
    )
    enrolment = Listener(
        "localhost:0",
        enrolment_credentials(lambda: certificate),
        [EnrolmentServicer(parts.identities, parts.jwt_enrolment)],
        [require_tls_1_3, RateLimit(limiter)],
    )
    return App(
        main,
        enrolment,
        lambda: datetime.now(UTC) + offset[0],
        lambda: uuid.uuid4().hex,
        Limits(lateness=AT_ONCE),
        count_refused=parts.refusals.count,
    )


def _server_certificate(parts: Parts) -> ServerCertificate:
    pair = generate_key_pair()
    names = ServerNames("kms", ("localhost",), (ip_address("127.0.0.1"),))
    standing = parts.identity_trust.current()
    bundle = standing.issuer.issue_server(verify_csr(pair.csr), names, datetime.now(UTC))
    return ServerCertificate(pair.key_pem, bundle.chain_pem, standing.bundle.to_pem())


def _no_passphrase() -> Any:
    raise AssertionError("a keyfile needs no passphrase")
