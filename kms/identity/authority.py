"""The identity authority: an offline root, an online intermediate, leaf certificates.

docs/spec/identity.md, "Certificates". Keys are P-256, signatures ECDSA with SHA-256. Nothing is stored here;
the caller wraps the private key it is given.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from blindfold.secret import SecretBytes
from kms.errors import ConfigError, InvalidField, WrongState
from kms.identity.ca_profile import (
    INTERMEDIATE,
    NO_USAGE,
    ROOT,
    CaProfile,
    Extensions,
    ca_extensions,
    ca_subject,
    key_identifiers,
)
from kms.identity.csr import PublicKey
from kms.identity.extension import ATTRIBUTES_OID, encode_attributes
from kms.identity.grant import Grant
from kms.identity.spiffe import SpiffeId, check_dns_name
from kms.model.lock_status import UNLOCK_NAME
from kms.model.names import check_id
from kms.model.validity import whole_seconds

MAX_LEAF_LIFE = timedelta(hours=24)
MIN_LEAF_LIFE = timedelta(minutes=1)
# A locked server issues nothing, so its certificate outlasts a stop; it is good for taking shares alone.
UNLOCK_LIFE = timedelta(days=30)
UNLOCK_SERVER = "unlock"

_LEAF_USAGE = x509.KeyUsage(**{**NO_USAGE, "digital_signature": True})


@dataclass(frozen=True, slots=True)
class ServerNames:
    """Under which names and addresses clients reach the KMS. `name` is the server's id within it."""

    name: str
    dns_names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()

    def __post_init__(self) -> None:
        check_id(self.name, "server name")
        for name in self.dns_names:
            check_dns_name(name, "dns_names")
        if not self.dns_names and not self.addresses:
            raise InvalidField("dns_names", "a server needs a DNS name or an address")


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A CA certificate and its private key. Raises `ConfigError` if they do not belong together."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        if self.key.public_key() != self.certificate.public_key():
            raise ConfigError("the key is not that of the CA certificate")

    @classmethod
    def load(cls, certificate_pem: bytes, key_der: SecretBytes) -> "CertificateAuthority":
        """From what `certificate_pem` and `private_key_der` gave. Raises `ConfigError`."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = load_der_private_key(key_der.reveal(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError("the identity authority's certificate or key cannot be read")
        return cls(certificate, key)

    @classmethod
    def load_offline(
        cls, certificate_pem: bytes, key_pem: SecretBytes, passphrase: SecretBytes | None
    ) -> "CertificateAuthority":
        """A root from the PEM that `private_key_pem` gave. Raises `ConfigError`."""
        password = passphrase.reveal() if passphrase is not None else None
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = load_pem_private_key(key_pem.reveal(), password)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError("the root key cannot be read; is the passphrase right?")
        return cls(certificate, key)

    @property
    def trust_domain(self) -> str:
        """From the CA's own URI, `spiffe://{trust domain}`."""
        names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0].removeprefix("spiffe://")

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def private_key_der(self) -> SecretBytes:
        """PKCS#8, not encrypted: for the caller to wrap at once."""
        return SecretBytes(self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    def private_key_pem(self, passphrase: SecretBytes | None) -> SecretBytes:
        """PKCS#8 as PEM, encrypted unless passphrase is None: for the operator to take offline."""
        protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.reveal())
        return SecretBytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))

    def issue(self, public_key: PublicKey, grant: Grant, ttl: timedelta, now: datetime) -> x509.Certificate:
        """A leaf for an identity, valid from now for ttl (1 minute to 24 hours), never longer than the CA.

        `public_key` is what `verify_csr` returned. Raises `InvalidField` or, if the CA expired, `WrongState`.
        """
        return _issue_with(self, public_key, grant, ttl, now, serial=x509.random_serial_number())

    def issue_server(
        self, public_key: PublicKey, names: ServerNames, ttl: timedelta, now: datetime
    ) -> x509.Certificate:
        """A leaf for the KMS itself, for serverAuth only, so that no one can call with it. As `issue`."""
        extensions = self._server_extensions(names)
        return _sign_leaf(self, public_key, extensions, ttl, now, x509.random_serial_number())

    def issue_unlock_server(self, public_key: PublicKey, now: datetime) -> x509.Certificate:
        """A leaf for the KMS while it is locked, for 30 days, under a name that only who unlocks asks for."""
        extensions = self._server_extensions(ServerNames(UNLOCK_SERVER, (UNLOCK_NAME,)))
        serial = x509.random_serial_number()
        return _sign_leaf(self, public_key, extensions, UNLOCK_LIFE, now, serial, longest=UNLOCK_LIFE)

    def _server_extensions(self, names: ServerNames) -> Extensions:
        uri = f"spiffe://{self.trust_domain}/server/{names.name}"
        alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        alternatives += [x509.DNSName(name) for name in names.dns_names]
        alternatives += [x509.IPAddress(address) for address in names.addresses]
        return _leaf_extensions(alternatives, [ExtendedKeyUsageOID.SERVER_AUTH])


def create_root(trust_domain: str, now: datetime) -> CertificateAuthority:
    """A new root for ten years. Raises `InvalidField`."""
    check_dns_name(trust_domain, "trust_domain")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = ca_subject(trust_domain, ROOT.role, key.public_key())
    end = whole_seconds(now) + ROOT.life
    builder = _builder(subject, key.public_key(), subject, now, end, x509.random_serial_number())
    extensions = ca_extensions(trust_domain, ROOT.path_length, key.public_key(), key.public_key())
    return CertificateAuthority(_sign(builder, extensions, key), key)


def create_intermediate(root: CertificateAuthority, now: datetime) -> CertificateAuthority:
    """A new intermediate for a year, or until its root ends. Raises `WrongState` if the root expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    return CertificateAuthority(certify_authority(root, INTERMEDIATE, key.public_key(), now), key)


def certify_authority(
    root: CertificateAuthority, profile: CaProfile, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.Certificate:
    """A certificate of that profile for another authority's key. Raises as `create_intermediate`."""
    subject = ca_subject(root.trust_domain, profile.role, key)
    end = _end_within(root, now, profile.life)
    builder = _builder(subject, key, root.certificate.subject, now, end, x509.random_serial_number())
    extensions = ca_extensions(root.trust_domain, profile.path_length, key, root.key.public_key())
    return _sign(builder, extensions, root.key)


def _issue_with(
    authority: CertificateAuthority,
    public_key: PublicKey,
    grant: Grant,
    ttl: timedelta,
    now: datetime,
    *,
    serial: int,
) -> x509.Certificate:
    uri = str(SpiffeId(authority.trust_domain, grant.identity))
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    names += [x509.DNSName(name) for name in grant.dns_names]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    attributes = x509.UnrecognizedExtension(ATTRIBUTES_OID, encode_attributes(grant.attributes))
    extensions = [*_leaf_extensions(names, usages), (attributes, False)]
    return _sign_leaf(authority, public_key, extensions, ttl, now, serial)


def _leaf_extensions(names: list[x509.GeneralName], usages: list[x509.ObjectIdentifier]) -> Extensions:
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_LEAF_USAGE, True),
        (x509.ExtendedKeyUsage(usages), False),
        # Critical, because the subject is empty (RFC 5280, section 4.2.1.6).
        (x509.SubjectAlternativeName(names), True),
    ]


def _sign_leaf(
    authority: CertificateAuthority,
    public_key: PublicKey,
    extensions: Extensions,
    ttl: timedelta,
    now: datetime,
    serial: int,
    *,
    longest: timedelta = MAX_LEAF_LIFE,
) -> x509.Certificate:
    if not MIN_LEAF_LIFE <= ttl <= longest:
        raise InvalidField("ttl", f"must be from {MIN_LEAF_LIFE} to 24:00:00")
    end = _end_within(authority, now, ttl)
    issuer = authority.certificate.subject
    builder = _builder(x509.Name([]), public_key, issuer, now, end, serial)
    return _sign(builder, extensions + key_identifiers(public_key, authority.key.public_key()), authority.key)


def _end_within(issuer: CertificateAuthority, now: datetime, life: timedelta) -> datetime:
    """When a certificate issued now for that life ends: no later than its issuer."""
    start = whole_seconds(now)
    end = min(start + life, issuer.certificate.not_valid_after_utc)
    if end <= start:
        raise WrongState("the issuing certificate authority has expired; make a new one from its root")
    return end


def _builder(
    subject: x509.Name,
    public_key: PublicKey,
    issuer: x509.Name,
    now: datetime,
    end: datetime,
    serial: int,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=serial,
        not_valid_before=whole_seconds(now),
        not_valid_after=end,
    )


def _sign(
    builder: x509.CertificateBuilder, extensions: Extensions, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(key, hashes.SHA256())
