"""Certificates of a tenant's own authorities (docs/spec/identity.md, "Authorities of tenants").

The KMS issues none of them. What they are granted is said by the tenant's administrator; a labels-and-roles
extension in them has no effect.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from cryptography.x509.verification import Criticality, ExtensionPolicy, VerificationError

from kms.errors import ConfigError, InvalidField, LimitExceeded, Unauthenticated
from kms.identity.admission import Admission
from kms.identity.certificates import find_extension, load_certificate
from kms.identity.csr import MAX_RSA_BITS, RSA_EXPONENT
from kms.identity.spiffe import SpiffeId
from kms.identity.trust import UNREADABLE, TrustBundle, key_digest, verified_chain
from kms.model.caller import Caller
from kms.model.names import AuthorityWorkloadName, TrustedAuthorityName
from kms.model.validity import Validity

MAX_BUNDLE = 64 * 1024
MAX_CERTIFICATES = 8
# In a path: all that could be one are tried, and their number grows with a power of this.
MAX_INTERMEDIATES = 4
SERIAL_BITS = 159

Certificate: TypeAlias = x509.Certificate


def _is_rsa(bits: int) -> Callable[[object], bool]:
    def fits(key: object) -> bool:
        return (
            isinstance(key, rsa.RSAPublicKey)
            and bits <= key.key_size <= MAX_RSA_BITS
            and key.public_numbers().e == RSA_EXPONENT
        )

    return fits


def _is_on(curve: type[ec.EllipticCurve]) -> Callable[[object], bool]:
    return lambda key: isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, curve)


# What leaves of an authority may have for keys, as far as it is told so.
_FITS: Mapping[str, Callable[[object], bool]] = MappingProxyType(
    {
        "ED25519": lambda key: isinstance(key, ed25519.Ed25519PublicKey),
        "P256": _is_on(ec.SECP256R1),
        "P384": _is_on(ec.SECP384R1),
        "RSA_2048": _is_rsa(2048),
        "RSA_3072": _is_rsa(3072),
    }
)
KEY_TYPES = tuple(_FITS)
# Of authorities. A key that is slow to verify with would keep everybody waiting.
_AUTHORITY_FITS = (*_FITS.values(), _is_on(ec.SECP521R1))
DEFAULT_KEY_TYPES = ("ED25519", "P256", "P384", "RSA_3072")

# Fields of subjects, by the short names that people know them by.
_ATTRIBUTES: Mapping[str, ObjectIdentifier] = MappingProxyType(
    {
        "C": NameOID.COUNTRY_NAME,
        "CN": NameOID.COMMON_NAME,
        "L": NameOID.LOCALITY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "SERIALNUMBER": NameOID.SERIAL_NUMBER,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "UID": NameOID.USER_ID,
    }
)
_ALTERNATIVES: Mapping[str, type[x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier]] = (
    MappingProxyType({"dns": x509.DNSName, "email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier})
)


@dataclass(frozen=True, slots=True)
class Mark:
    """By what TLS finds a leaf's issuer, before it looks at the signature: a name and, if any, a key id.

    It finds one, and no other one with the same mark. Names are equal to it whatever their case, white space
    and string types (RFC 5280, section 7.1).
    """

    name: tuple[frozenset[tuple[str, str | bytes]], ...]
    key_id: bytes | None

    def hides(self, other: "Mark") -> bool:
        """Whether leaves of the other may be looked up under this one."""
        return self.name == other.name and (
            None in (self.key_id, other.key_id) or self.key_id == other.key_id
        )


@dataclass(frozen=True, slots=True)
class CorporateAuthority:
    """An authority, the keys that its leaves may have, and whom it admits."""

    name: TrustedAuthorityName
    trust_domain: str
    bundle: TrustBundle
    key_types: tuple[str, ...]
    admission: Admission

    @property
    def issuers(self) -> frozenset[bytes]:
        """In DER, the names that issuers of its leaves have."""
        return frozenset(item.subject.public_bytes() for item in self._certificates)

    @property
    def keys(self) -> frozenset[bytes]:
        """SHA-256 of its public keys."""
        return frozenset(map(key_digest, self._certificates))

    @property
    def marks(self) -> frozenset[Mark]:
        """What TLS takes its certificates for."""
        return frozenset(map(mark, self._certificates))

    @property
    def _certificates(self) -> tuple[x509.Certificate, ...]:
        return (*self.bundle.roots, *self.bundle.intermediates)

    def serial(self, serial: int) -> int:
        """What stands in deny lists, where all authorities are together, for one of its serial numbers."""
        digest = hashlib.sha256(f"{self.name}/{serial:x}".encode()).digest()
        return int.from_bytes(digest, "big") >> (256 - SERIAL_BITS)

    def revocable(self, data: bytes, now: datetime) -> tuple[int, datetime]:
        """The serial number of one of its certificates, PEM or DER, and when that ends by itself.

        Whom it admits is not asked: that may change. Raises `Unauthenticated`, also for one that has ended.
        """
        certificate = load_certificate(data)
        self._path(certificate, now)
        return certificate.serial_number, certificate.not_valid_after_utc

    def verify(self, certificate: x509.Certificate, now: datetime) -> tuple[Caller, Validity]:
        """Who holds the certificate, and how long its path holds.

        Raises `Unauthenticated`; saying what is wrong only once the path is verified.
        """
        start, chain = self._path(certificate, now)
        admitted = self.admission.admit(self._claims(certificate))
        name = AuthorityWorkloadName(
            self.name.tenant, admitted.namespace, self.name.authority, admitted.identity
        )
        spiffe_id = str(SpiffeId(self.trust_domain, name))
        end = min(item.not_valid_after_utc for item in chain)
        caller = Caller(
            identity=name,
            spiffe_id=spiffe_id,
            # Its DNS names are the authority's word alone, so no policy reads them.
            names=(spiffe_id,),
            labels=admitted.attributes.labels,
            roles=admitted.attributes.roles,
            serial=self.serial(certificate.serial_number),
            issued_at=start,
        )
        return caller, Validity(start, end)

    def _claims(self, certificate: x509.Certificate) -> Mapping[str, object]:
        try:
            extensions, key = certificate.extensions, certificate.public_key()
            claims = _claims(certificate, extensions)
        except UNREADABLE:
            raise Unauthenticated("the certificate's fields cannot be read") from None
        _check_profile(extensions)
        if not any(_FITS[name](key) for name in self.key_types):
            raise Unauthenticated("the certificate's key is of no type that its authority is trusted for")
        return claims

    def _path(self, certificate: x509.Certificate, now: datetime) -> tuple[datetime, list[x509.Certificate]]:
        """When the certificate begins, and its path."""
        try:
            validity = Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        except InvalidField:
            raise Unauthenticated("the certificate's dates cannot be read") from None
        validity.check(now)
        start = validity.not_before
        leaf_policy = ExtensionPolicy.webpki_defaults_ee().may_be_present(
            x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
        )
        depth = min(len(self.bundle.intermediates), MAX_INTERMEDIATES)
        try:
            # The verifier knows no skew; `check` does.
            return start, verified_chain(self.bundle, certificate, max(now, start), depth, leaf_policy)
        except VerificationError:
            raise Unauthenticated("the certificate is of no authority this KMS trusts") from None


def parse_bundle(pem: bytes) -> TrustBundle:
    """The authorities of a tenant's own: roots, and what lies between them and their leaves.

    Raises `InvalidField`, and `LimitExceeded` above 64 KiB or 8 certificates.
    """
    if len(pem) > MAX_BUNDLE:
        raise LimitExceeded("certificates_pem", f"{len(pem)} bytes, at most {MAX_BUNDLE} are allowed")
    try:
        bundle = TrustBundle.parse(pem)
    except (ConfigError, ValueError, TypeError, x509.InvalidVersion):
        raise InvalidField("certificates_pem", "holds no root certificate in PEM") from None
    certificates = (*bundle.roots, *bundle.intermediates)
    if len(certificates) > MAX_CERTIFICATES:
        raise LimitExceeded("certificates_pem", f"at most {MAX_CERTIFICATES} certificates are allowed")
    if not all(map(_is_authority, certificates)):
        raise InvalidField("certificates_pem", "holds a certificate that is no authority's, or unreadable")
    return bundle


def mark(certificate: x509.Certificate) -> Mark:
    key_id = find_extension(certificate.extensions, x509.SubjectKeyIdentifier)
    name = tuple(
        frozenset((item.oid.dotted_string, _folded(item.value)) for item in rdn)
        for rdn in certificate.subject.rdns
    )
    return Mark(name, None if key_id is None else key_id.digest)


def _folded(value: str | bytes) -> str | bytes:
    return " ".join(value.casefold().split()) if isinstance(value, str) else value


def _is_authority(certificate: x509.Certificate) -> bool:
    """Whether it is one, and all that is asked of it later can be read."""
    try:
        _ = key_digest(certificate), mark(certificate)
        key = certificate.public_key()
        constraints = find_extension(certificate.extensions, x509.BasicConstraints)
    except UNREADABLE:
        return False
    if not any(fits(key) for fits in _AUTHORITY_FITS) or certificate.serial_number <= 0:
        return False
    return constraints is not None and constraints.ca


def _check_profile(extensions: x509.Extensions) -> None:
    """For a client, and no authority's. Raises `Unauthenticated`."""
    usages = find_extension(extensions, x509.ExtendedKeyUsage)
    if usages is None or ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise Unauthenticated("the certificate's extended key usage lacks clientAuth")
    usage = find_extension(extensions, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise Unauthenticated("the certificate's key usage lacks digitalSignature")
    constraints = find_extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise Unauthenticated("the certificate is a certificate authority's, not an identity's")


def _claims(certificate: x509.Certificate, extensions: x509.Extensions) -> Mapping[str, object]:
    """What the certificate says, as claims. A field that occurs twice says nothing."""
    subject = {
        short: fields[0].value
        for short, oid in _ATTRIBUTES.items()
        if len(fields := certificate.subject.get_attributes_for_oid(oid)) == 1
    }
    alternatives = list(find_extension(extensions, x509.SubjectAlternativeName) or ())
    san = {
        short: values[0]
        for short, kind in _ALTERNATIVES.items()
        if len(values := [item.value for item in alternatives if isinstance(item, kind)]) == 1
    }
    return {"sub": certificate.subject.rfc4514_string(), "subject": subject, "san": san}
