"""A company's authority: a root, an intermediate, and leaves that say what companies say in them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from identity.forging import key_usage

YEAR = timedelta(days=365)
Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def name(**fields: str) -> x509.Name:
    """Of the fields O, OU and CN, in this order; several values of one separated by |."""
    oids = {"O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": NameOID.COMMON_NAME}
    return x509.Name(
        [x509.NameAttribute(oids[key], text) for key, texts in fields.items() for text in texts.split("|")]
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def self_signed(subject: x509.Name, key_id_of: Any, now: datetime | None = None) -> x509.Certificate:
    """An authority of that name with a new key, which bears the identifier of another key, or none."""
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.now(UTC) if now is None else now
    builder = x509.CertificateBuilder(
        subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        begin - timedelta(days=1),
        begin + YEAR,
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    if key_id_of is not None:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key_id_of.public_key())
        builder = builder.add_extension(identifier, False)
    return builder.sign(key, hashes.SHA256())


@dataclass
class Company:
    """`root` signs `issuing`, which signs leaves."""

    now: datetime
    organisation: str = "Acme"
    root_key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    issuing_key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        root, below = name(O=self.organisation, CN="Root"), name(O=self.organisation, CN="Issuing")
        self.root = self._authority(root, self.root_key, root, self.root_key)
        self.issuing = self._authority(below, self.issuing_key, root, self.root_key)

    @property
    def pem(self) -> str:
        return (certificate_pem(self.root) + certificate_pem(self.issuing)).decode()

    def leaf(
        self,
        subject: x509.Name | None = None,
        *,
        names: Sequence[x509.GeneralName] = (),
        key: Any = None,
        serial: int = 5,
        start: datetime | None = None,
        life: timedelta = YEAR,
        usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        more: Extensions = (),
    ) -> x509.Certificate:
        """For `CN=web,OU=Platform,O=Acme` and a year, unless told otherwise."""
        public = (key or ec.generate_private_key(ec.SECP256R1())).public_key()
        begin = start or self.now
        builder = x509.CertificateBuilder(
            self.issuing.subject,
            name(O="Acme", OU="Platform", CN="web") if subject is None else subject,
            public,
            serial,
            begin,
            begin + life,
        )
        extensions: list[tuple[Any, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage("digital_signature"), True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.issuing_key.public_key()), False),
        ]
        if usages:
            extensions.append((x509.ExtendedKeyUsage(usages), False))
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        kinds = {type(value) for value, _ in more}
        for value, critical in [item for item in extensions if type(item[0]) not in kinds] + list(more):
            builder = builder.add_extension(value, critical)
        return builder.sign(self.issuing_key, hashes.SHA256())

    def _authority(
        self, subject: x509.Name, key: Any, issuer: x509.Name, issuer_key: Any
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer,
            subject,
            key.public_key(),
            x509.random_serial_number(),
            self.now - timedelta(days=1),
            self.now + 10 * YEAR,
        )
        for value, critical in (
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (key_usage("key_cert_sign", "crl_sign"), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
        ):
            builder = builder.add_extension(value, critical)
        return builder.sign(issuer_key, hashes.SHA256())
