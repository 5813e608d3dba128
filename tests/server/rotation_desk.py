"""A KMS whose authorities are replaced, and the offline root's keeper beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.kms_harness import ACME, RunningKms

from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.enrolment import enrol, renew
from kms.identity.authority import CertificateAuthority, create_root
from kms.identity.rotation import endorse_root, sign_request
from kms.main.initialising import IDENTITY_ROOT
from kms.model.names import IdentityName, NamespaceName

SERVICE = "IdentityAuthorityService"


@dataclass
class Desk:
    """`roots` are those whose keys lie here, the newest last; all calls to the server are of its operator."""

    kms: RunningKms
    roots: list[CertificateAuthority] = field(default_factory=list)

    def __post_init__(self) -> None:
        pem = (self.kms.directory / "kms" / IDENTITY_ROOT).read_bytes()
        self.roots.append(CertificateAuthority.load_offline(pem, SecretBytes(pem), None))

    def call(self, method: str, **request: Any) -> dict[str, Any]:
        return self.kms.as_("operator").call(SERVICE, method, request)

    def trust(self) -> dict[str, Any]:
        return self.call("GetIdentityTrust")

    def states(self) -> list[str]:
        return [item["state"].removeprefix("STATE_") for item in self.trust()["authorities"]]

    def prepare(self) -> dict[str, Any]:
        return self.call("PrepareIdentityAuthority")

    def signed(self, prepared: Mapping[str, Any], root: CertificateAuthority | None = None) -> str:
        """The certificate, by the newest root unless it says another."""
        key_sha256 = bytes.fromhex(prepared["key_sha256"].removeprefix("sha256:"))
        by = root or self.roots[-1]
        return sign_request(by, prepared["csr_pem"].encode(), key_sha256, datetime.now(UTC)).decode()

    def activate(self, root: CertificateAuthority | None = None) -> dict[str, Any]:
        """A new intermediate that issues."""
        prepared = self.prepare()
        certificate = self.signed(prepared, root)
        return self.call("ActivateIdentityAuthority", name=prepared["name"], certificate_pem=certificate)

    def new_root(self) -> str:
        """The newest root, kept here, and its certificates as they are published."""
        made = create_root(self.roots[-1].trust_domain, datetime.now(UTC))
        pem = endorse_root(self.roots[-1], made.certificate_pem(), datetime.now(UTC))
        self.roots.append(made)
        return pem.decode()

    def publish(self) -> dict[str, Any]:
        return self.call("PublishIdentityRoot", certificates_pem=self.new_root())

    def retire(self, name: str, *, force: bool = False) -> dict[str, Any]:
        kind = "IdentityRoot" if name.startswith("identityRoots/") else "IdentityAuthority"
        return self.call(f"Retire{kind}", name=name, force=force)

    def renew(self, *people: str) -> None:
        """Their certificates, by the active intermediate; they call on new connections."""
        for who in people:
            renewed(self.kms, self.kms.credentials(who))
            self.kms.channels.pop(who).close()


def ask(api: Api) -> None:
    """Something that tenant-admins may."""
    assert api.call("TenantService", "GetTenant", {"name": ACME})["name"] == ACME


def renewed(kms: RunningKms, directory: Path) -> None:
    with open_channel(kms.target, directory) as channel:
        renew(Api(channel), directory)


def join_token(kms: RunningKms, name: str) -> str:
    identity = str(IdentityName("acme", "prod", name))
    request = {
        "parent": str(NamespaceName("acme", "prod")),
        "join_token": {"identity": identity, "roles": ["tenant-admin"]},
    }
    return str(kms.as_("admin").call("IdentityService", "CreateJoinToken", request)["token"])


def enrolled(kms: RunningKms, name: str, token: str = "") -> Path:
    """The credentials of a new administrator of acme."""
    directory = kms.directory / "enrolled" / name
    enrol(kms.enrolment_target, token or join_token(kms, name), directory)
    return directory
