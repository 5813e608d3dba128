"""Which certificate authorities are believed, and for what."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from kms.errors import ConfigError, Unauthenticated
from kms.identity.extension import Attributes
from kms.identity.spiffe import SpiffeId
from kms.model.names import AuthorityWorkloadName, OperatorName

# A root, one intermediate, a leaf: deeper chains are nobody's here.
MAX_INTERMEDIATES = 1


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's DER, as join tokens pin it."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """Roots, and intermediates below them. While a CA is replaced, the old and the new are both in it."""

    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()

    def __post_init__(self) -> None:
        if not self.roots:
            raise ConfigError("a trust bundle needs a root certificate")

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """From PEM, roots being the certificates that name themselves as issuer. Raises `ConfigError`."""
        try:
            certificates = x509.load_pem_x509_certificates(pem)
        except ValueError:
            certificates = []
        roots = tuple(item for item in certificates if item.issuer == item.subject)
        return cls(roots, tuple(item for item in certificates if item.issuer != item.subject))

    def to_pem(self) -> bytes:
        return b"".join(item.public_bytes(Encoding.PEM) for item in (*self.roots, *self.intermediates))

    def with_authority(self, certificate: x509.Certificate) -> "TrustBundle":
        """The bundle with one CA more: the first step of replacing one. Adding twice changes nothing."""
        if certificate in (*self.roots, *self.intermediates):
            return self
        if certificate.issuer == certificate.subject:
            return TrustBundle((*self.roots, certificate), self.intermediates)
        return TrustBundle(self.roots, (*self.intermediates, certificate))

    def without_expired(self, now: datetime) -> "TrustBundle":
        """The last step of replacing a CA. Raises `ConfigError` when no root is left."""
        return TrustBundle(
            tuple(item for item in self.roots if item.not_valid_after_utc >= now),
            tuple(item for item in self.intermediates if item.not_valid_after_utc >= now),
        )


@dataclass(frozen=True, slots=True)
class AnchorPolicy:
    """What the authorities of an anchor may say.

    `tenant`, if set, is the only tenant whose identities they may name, and then no operators.
    `attributes`: whether their labels-and-roles extension counts; where it does not, it must be absent.
    """

    trust_domain: str
    tenant: str | None = None
    attributes: bool = True

    def admit(self, spiffe_id: SpiffeId, attributes: Attributes | None) -> None:
        """Raises `Unauthenticated` for an identity that this anchor may not name."""
        if spiffe_id.trust_domain != self.trust_domain:
            raise Unauthenticated(
                f"the certificate is of the trust domain {spiffe_id.trust_domain}, not {self.trust_domain}"
            )
        identity = spiffe_id.identity
        if isinstance(identity, AuthorityWorkloadName):
            raise Unauthenticated("identities of other authorities are not named in certificates")
        if self.tenant is not None and (isinstance(identity, OperatorName) or identity.tenant != self.tenant):
            raise Unauthenticated(f"its authority may only name identities of the tenant {self.tenant}")
        if attributes is not None and not self.attributes:
            raise Unauthenticated("its authority may not grant labels and roles")


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """Authorities, and what they may say."""

    bundle: TrustBundle
    policy: AnchorPolicy

    def has_authority(self, name: bytes) -> bool:
        """Whether one of the authorities has the name, in DER."""
        return any(
            name == item.subject.public_bytes() for item in (*self.bundle.roots, *self.bundle.intermediates)
        )

    def chain(self, certificate: x509.Certificate, at: datetime) -> list[x509.Certificate]:
        """The chain from the leaf to a root of this anchor, every signature verified at that time.

        Raises `Unauthenticated`. Only this anchor's own intermediates are tried.
        """
        leaf_policy = ExtensionPolicy.webpki_defaults_ee()
        try:
            return verified_chain(self.bundle, certificate, at, MAX_INTERMEDIATES, leaf_policy)
        except VerificationError:
            # Its text can quote whole certificates.
            raise Unauthenticated("the certificate is of no authority this KMS trusts") from None


def verified_chain(
    bundle: TrustBundle,
    certificate: x509.Certificate,
    at: datetime,
    intermediates: int,
    leaf_policy: ExtensionPolicy,
) -> list[x509.Certificate]:
    """The chain to a root through so many intermediates at most (docs/spec/identity.md, "Paths").

    Raises `VerificationError`.
    """
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.roots)))
        .time(at)
        .max_chain_depth(intermediates)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf_policy)
        .build_client_verifier()
    )
    return verifier.verify(certificate, list(bundle.intermediates)).chain
