"""What the server shows of itself: its certificate, and what a locked server has in its place on the disk."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kms.client.credentials import generate_key_pair, parse_credentials, read_credentials, write_credentials
from kms.crypto.root_of_trust.shamir import Shamir
from kms.identity.csr import PublicKey, verify_csr
from kms.identity.issued import CertificateBundle
from kms.main.configuration import Configuration
from kms.main.parts import Parts
from kms.model.validity import Validity
from kms.server.tls import ServerCertificate

DIRECTORY = "locked"
SERVE = "serve"
UNLOCK = "unlock"


class ServerCertificates:
    """The server's own certificate, and whose it accepts.

    Issued anew at two thirds of its life, and when the KMS's authorities change.
    """

    def __init__(self, configuration: Configuration, parts: Parts, now: Callable[[], datetime]) -> None:
        self._names = configuration.server_names
        self._directory = configuration.directory / DIRECTORY
        self._vault = parts.vault
        self._own = parts.identity_trust
        self._trust = parts.corporate_trust
        self._now = now
        self._others = self._trust.certificates_pem()
        self._standing = self._own.current()
        self._certificate, self._validity = self._issue()

    def __call__(self) -> ServerCertificate:
        """The one to show now; the same object until it is replaced."""
        others, self._others = self._others, self._trust.certificates_pem()
        standing = self._own.current()
        if self._is_due(self._now()) or standing is not self._standing:
            self._standing = standing
            self._certificate, self._validity = self._issue()
            self.keep()
        elif others is not self._others:
            self._certificate = replace(self._certificate, client_authorities_pem=self._authorities())
        return self._certificate

    def _is_due(self, now: datetime) -> bool:
        """Also if it was issued while the clock ran ahead: nobody takes it before its time has come."""
        return self._validity.renewal_due(now) or now < self._validity.not_before

    def keep(self, root_of_trust: str = "") -> None:
        """Put what a locked server shows on the disk, for a root of trust of shares; for others, remove it.

        By default it is the one in force. A locked server has no key to issue with. Raises `OSError`.
        """
        if (root_of_trust or self._vault.provider) != Shamir.provider:
            shutil.rmtree(self._directory, ignore_errors=True)
            return
        issuer = self._standing.issuer
        self._write(SERVE, lambda key: issuer.issue_server(key, self._names, self._now()))
        self._write(UNLOCK, lambda key: issuer.issue_unlock_server(key, self._now()))

    def _write(self, name: str, issue: Callable[[PublicKey], CertificateBundle]) -> None:
        pair = generate_key_pair()
        bundle = issue(verify_csr(pair.csr))
        own_pem = self._standing.bundle.to_pem()
        credentials = parse_credentials(pair.key_pem, bundle.chain_pem, own_pem)
        write_credentials(self._directory / name, credentials)

    def _authorities(self) -> bytes:
        """What client certificates may come from: our own authorities, and those of tenants."""
        return self._standing.bundle.to_pem() + self._others

    def _issue(self) -> tuple[ServerCertificate, Validity]:
        pair = generate_key_pair()
        bundle = self._standing.issuer.issue_server(verify_csr(pair.csr), self._names, self._now())
        certificate = ServerCertificate(pair.key_pem, bundle.chain_pem, self._authorities())
        return certificate, Validity(bundle.issued.not_before, bundle.issued.not_after)


def locked_certificate(directory: Path, name: str) -> tuple[ServerCertificate, Validity]:
    """What `ServerCertificates.keep` has put there. Raises `ConfigError`."""
    kept = read_credentials(directory / DIRECTORY / name)
    return ServerCertificate(kept.key_pem, kept.certificate_pem, kept.ca_pem), kept.validity
