"""Who has the offline root's key, and an operator's word with the services."""

from dataclasses import dataclass, field
from pathlib import Path

from services.conftest import ADMIN, OPERATOR, Kms

from blindfold.secret import SecretBytes
from kms.identity.admission import Admission
from kms.identity.authority import CertificateAuthority, create_root
from kms.identity.rotation import endorse_root, requested_key_sha256, sign_request
from kms.main.initialising import IDENTITY_ROOT
from kms.model.caller import Caller
from kms.model.identity_authorities import AuthorityEntry, RootEntry
from kms.model.names import IdentityAuthorityName, TrustedAuthorityName
from kms.services.authority_settings import AuthoritySettings


@dataclass
class RootKeeper:
    """`first` is the id of the intermediate that the KMS began with; `roots` are kept, the newest last."""

    kms: Kms
    directory: Path
    roots: list[CertificateAuthority] = field(default_factory=list)
    first: str = ""

    def __post_init__(self) -> None:
        pem = (self.directory / IDENTITY_ROOT).read_bytes()
        self.roots.append(CertificateAuthority.load_offline(pem, SecretBytes(pem), None))
        self.first = self.kms.parts.identity_trust.current().row.record.active.id

    def sign(self, entry: AuthorityEntry) -> bytes:
        csr = entry.csr_pem.encode()
        return sign_request(self.roots[-1], csr, requested_key_sha256(csr), self.kms.now)

    def activate(self) -> AuthorityEntry:
        """A new intermediate."""
        authorities = self.kms.parts.identity_authorities
        entry = self.kms.run(authorities.prepare(self.kms.call(OPERATOR)))
        name = IdentityAuthorityName(entry.id)
        return self.kms.run(authorities.activate(self.kms.call(OPERATOR), name, self.sign(entry)))

    def retire(self, identifier: str, *, force: bool = False, who: Caller = OPERATOR) -> AuthorityEntry:
        name = IdentityAuthorityName(identifier)
        return self.kms.run(self.kms.parts.identity_authorities.retire(self.kms.call(who), name, force=force))

    def new_root(self) -> bytes:
        """Kept here; its certificates as they are published."""
        made = create_root("kms.test", self.kms.now)
        pem = endorse_root(self.roots[-1], made.certificate_pem(), self.kms.now)
        self.roots.append(made)
        return pem

    def publish(self) -> RootEntry:
        publishing = self.kms.parts.identity_authorities.publish_root(
            self.kms.call(OPERATOR), self.new_root()
        )
        return self.kms.run(publishing)

    def claim(self, pem: str) -> None:
        """A tenant trusts it as its own."""
        admission = Admission(("*",), {}, "prod", "/subject/CN", {}, frozenset())
        name, settings = TrustedAuthorityName("acme", "corp"), AuthoritySettings(pem, (), admission)
        self.kms.run(self.kms.parts.trusted_authorities.create(self.kms.call(ADMIN), name, settings, ""))
