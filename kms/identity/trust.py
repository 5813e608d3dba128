"""Which certificate authorities are believed, and for what."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from kms.errors import ConfigError, Unauthenticated
from kms.identity.extension import Attributes
from kms.identity.spiffe import SpiffeId
from kms.model.names import AuthorityWorkloadName, OperatorName

# A root, one intermediate, a leaf: deeper chains are nobody's here.
MAX_INTERMEDIATES = 1
ID_DIGITS = 16
# What `cryptography` raises for a certificate whose fields it reads only when asked.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


Certificate: TypeAlias = x509.Certificate


def pem_of(certificate: Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's DER, as join tokens pin it."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def key_digest(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the public key, by which an authority is known under all its certificates."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def authority_id(key_sha256: bytes) -> str:
    """By which an intermediate of ours is known: `ca-` and 16 hexadecimal digits of its key's SHA-256."""
    return f"ca-{key_sha256.hex()[:ID_DIGITS]}"


def root_id(certificate: x509.Certificate) -> str:
    """By which a root of ours is known: `root-` and 16 hexadecimal digits of its key's SHA-256."""
    return f"root-{key_digest(certificate).hex()[:ID_DIGITS]}"


def load_authorities(pem: str) -> tuple[x509.Certificate, ...]:
    """Certificates that were stored in PEM, none for "". Raises `ConfigError`."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode())) if pem else ()
    except ValueError:
        pass
    raise ConfigError("a stored certificate of an identity authority cannot be read")


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
        """The leaf, an intermediate and a root of this anchor, every signature verified at that time.

        Raises `Unauthenticated`. Only this anchor's own intermediates are tried, and roots certify no leaves.
        """
        leaf_policy = ExtensionPolicy.webpki_defaults_ee()
        try:
            chain = verified_chain(self.bundle, certificate, at, MAX_INTERMEDIATES, leaf_policy)
        except VerificationError:
            chain = []
        if len(chain) != MAX_INTERMEDIATES + 2:
            # The verifier's text can quote whole certificates.
            raise Unauthenticated("the certificate is of no authority this KMS trusts")
        return chain


def verified_chain(
    bundle: TrustBundle,
    certificate: x509.Certificate,
    at: datetime,
    intermediates: int,
    leaf_policy: ExtensionPolicy,
) -> list[x509.Certificate]:
    """The chain to a root through so many intermediates at most (docs/spec/identity.md, "Paths").

    Raises `VerificationError`, also for a leaf whose names cannot be read.
    """
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.roots)))
        .time(at)
        .max_chain_depth(intermediates)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf_policy)
        .build_client_verifier()
    )
    try:
        return verifier.verify(certificate, list(bundle.intermediates)).chain
    except UNREADABLE:
        raise VerificationError("the certificate's fields cannot be read") from None
