"""A served KMS with a listener for proxies, and the identities that tests speak as."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kms.audit.authenticated_store import open_store
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.credentials import generate_key_pair
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.identity.authority import ServerNames
from kms.identity.csr import verify_csr
from kms.identity.grant import Grant
from kms.main.configuration import FILE, Configuration
from kms.main.initialising import first_credentials, initialise
from kms.main.parts import Parts, assemble
from kms.model.names import IdentityName, OperatorName
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.sqlite import Settings

NGINX_HEADER = "x-client-cert"
EDGE = IdentityName("acme", "system", "edge")
SPIFFE_EDGE = "spiffe://kms.test/tenant/acme/ns/system/sa/edge"
PEOPLE = {
    "edge": Grant(EDGE),
    "web": Grant(IdentityName("acme", "system", "web"), roles=frozenset({"key-admin"})),
    "auditor": Grant(IdentityName("acme", "system", "auditor"), roles=frozenset({"auditor"})),
    "admin": Grant(IdentityName("acme", "system", "root"), roles=frozenset({"tenant-admin"})),
    "operator": Grant(OperatorName("olga"), roles=frozenset({"operator"})),
}


@dataclass(frozen=True)
class Site:
    """An initialised KMS, and a directory of credentials for each of `PEOPLE`, and a server's for nginx."""

    configuration: Configuration
    directory: Path

    def credentials(self, who: str) -> Path:
        return self.directory / "people" / who

    def certificate(self, who: str) -> str:
        """The leaf in PEM."""
        chain = (self.credentials(who) / "cert.pem").read_text()
        return chain[: chain.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"


@dataclass(frozen=True)
class Addresses:
    """Where the served KMS listens."""

    main: str
    proxy: str
    monitoring: str


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("site")
    configuration = Configuration(
        directory=directory / "kms",
        trust_domain="kms.test",
        root_of_trust="keyfile",
        listen="127.0.0.1:0",
        enrolment_listen="127.0.0.1:0",
        checkpoint_file=directory / "outside" / "checkpoint.json",
        proxy_listen="127.0.0.1:0",
        proxy_identities=(SPIFFE_EDGE,),
        proxy_addresses=("127.0.0.0/8",),
        proxy_certificate_header=NGINX_HEADER,
        monitoring_listen="127.0.0.1:0",
    )
    initialise(configuration, "acme", lambda: None)  # type: ignore[arg-type, return-value]
    settings = Settings(CheckpointFile(configuration.checkpoint_file))
    vault = open_store(configuration.store_path, settings, Keyfile(configuration.keyfile_path))
    try:
        with ThreadPoolExecutor(1) as workers:
            parts = assemble(vault, workers)
            (directory / "people").mkdir()
            for name, grant in PEOPLE.items():
                first_credentials(parts, grant, directory / "people" / name, "Test", datetime.now(UTC))
            write_server_certificate(parts, directory)
    finally:
        vault.close()
    return Site(configuration, directory)


def write_server_certificate(parts: Parts, directory: Path) -> None:
    """`server.key`, `server.pem` and the roots of clients, `clients.pem`."""
    pair = generate_key_pair()
    names = ServerNames("edge", ("localhost",))
    standing = parts.identity_trust.current()
    bundle = standing.issuer.issue_server(verify_csr(pair.csr), names, datetime.now(UTC))
    (directory / "server.key").touch(mode=0o600)
    (directory / "server.key").write_bytes(pair.key_pem.reveal())
    (directory / "server.pem").write_bytes(bundle.chain_pem)
    (directory / "clients.pem").write_bytes(standing.issuer.trust.to_pem())


@contextmanager
def served(site: Site, **changes: Any) -> Iterator[Addresses]:
    """With settings changed for this run."""
    configuration = replace(site.configuration, **changes)
    (configuration.directory / FILE).write_text(configuration.to_toml())
    program = Path(sys.executable).parent / "kms"
    command = [program, "serve", "--json", "--data", configuration.directory]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            yield Addresses(said["listen"], said["proxy_listen"], said["monitoring_listen"])
        finally:
            process.terminate()
            process.wait(30)


def last_event(target: str, site: Site, action: str) -> dict[str, Any]:
    """The tenant's newest audit event of that action."""
    with open_channel(target, site.credentials("auditor"), "localhost") as channel:
        request = {"parent": "tenants/acme", "page_size": 1000}
        found = Api(channel).call("AuditService", "ListAuditEvents", request)["audit_events"]
    return [event for event in found if event["action"] == action][-1]
