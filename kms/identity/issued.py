"""Certificates as they are handed out, and what is remembered of each."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kms.errors import StoreTampered
from kms.identity.authority import MAX_LEAF_LIFE, CertificateAuthority, ServerNames
from kms.identity.certificates import Leaf
from kms.identity.csr import PublicKey
from kms.identity.grant import Grant
from kms.identity.renewal import renew
from kms.identity.revocation import DenyList
from kms.identity.trust import TrustBundle, authority_id, fingerprint, key_digest


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate by its serial number in lower-case hexadecimal, its dates in UTC, and its issuer's id."""

    serial: str
    not_before: datetime
    not_after: datetime
    authority: str

    def to_text(self) -> str:
        """One line for the identity's record."""
        start, end = int(self.not_before.timestamp()), int(self.not_after.timestamp())
        return f"{self.serial} {start} {end} {self.authority}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `to_text`. Raises `StoreTampered`."""
        try:
            serial, start, end, authority = text.split(" ")
            not_before, not_after = (datetime.fromtimestamp(int(time), UTC) for time in (start, end))
            return cls(serial, not_before, not_after, authority)
        except (ValueError, OverflowError, OSError):
            raise StoreTampered("a stored certificate entry cannot be read") from None


@dataclass(frozen=True, slots=True)
class CertificateBundle:
    """What an enrolment answers: the chain (leaf first) and the roots to trust, in PEM.

    `identity` is the resource name that the leaf speaks for, "" for the KMS itself.
    """

    identity: str
    issued: IssuedCertificate
    chain_pem: bytes
    trust_bundle_pem: bytes


@dataclass(frozen=True, slots=True)
class Issuer:
    """The authority that issues now, and the roots that clients are told to trust, its own the first.

    `endorsements` certify its root by another one of them, for who knows only that.
    """

    authority: CertificateAuthority
    trust: TrustBundle
    endorsements: tuple[x509.Certificate, ...] = ()

    @property
    def root_fingerprint(self) -> bytes:
        """SHA-256 of the root, as join tokens pin it."""
        return fingerprint(self.trust.roots[0])

    def issue(self, public_key: PublicKey, grant: Grant, now: datetime) -> CertificateBundle:
        """A leaf for 24 hours with its chain. Raises as `CertificateAuthority.issue`."""
        certificate = self.authority.issue(public_key, grant, MAX_LEAF_LIFE, now)
        return self._bundle(str(grant.identity), certificate)

    def renew(
        self, leaf: Leaf, grant: Grant, public_key: PublicKey, now: datetime, deny_list: DenyList
    ) -> CertificateBundle:
        """As `kms.identity.renewal.renew`, for 24 hours, with the chain."""
        certificate = renew(self.authority, leaf, grant, public_key, MAX_LEAF_LIFE, now, deny_list)
        return self._bundle(str(grant.identity), certificate)

    def issue_server(self, public_key: PublicKey, names: ServerNames, now: datetime) -> CertificateBundle:
        """For the KMS itself. Its chain goes up to the root, for clients that know only its digest."""
        return self._server_bundle(self.authority.issue_server(public_key, names, MAX_LEAF_LIFE, now))

    def issue_unlock_server(self, public_key: PublicKey, now: datetime) -> CertificateBundle:
        """For the KMS while it is locked: as `issue_server`, and `CertificateAuthority` says for how long."""
        return self._server_bundle(self.authority.issue_unlock_server(public_key, now))

    def _server_bundle(self, certificate: x509.Certificate) -> CertificateBundle:
        bundle = self._bundle("", certificate)
        return replace(bundle, chain_pem=bundle.chain_pem + self.trust.to_pem())

    def _bundle(self, identity: str, certificate: x509.Certificate) -> CertificateBundle:
        issued = IssuedCertificate(
            f"{certificate.serial_number:x}",
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            authority_id(key_digest(self.authority.certificate)),
        )
        # One that ends before the leaf would be in the way of who needs none.
        end = certificate.not_valid_after_utc
        endorsements = (item for item in self.endorsements if item.not_valid_after_utc >= end)
        chain = (certificate, self.authority.certificate, *endorsements)
        chain_pem = b"".join(item.public_bytes(Encoding.PEM) for item in chain)
        return CertificateBundle(identity, issued, chain_pem, self.trust.to_pem())
