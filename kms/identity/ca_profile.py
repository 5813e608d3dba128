"""What certificates of our own authorities say, exactly (docs/spec/identity.md, "Certificates")."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kms.errors import InvalidField
from kms.identity.csr import PublicKey
from kms.model.validity import whole_seconds

Extensions = list[tuple[x509.ExtensionType, bool]]

NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)
_CA_USAGE = x509.KeyUsage(**{**NO_USAGE, "key_cert_sign": True, "crl_sign": True})


@dataclass(frozen=True, slots=True)
class CaProfile:
    """One kind of authority: the role in its name, how many authorities may follow it, how long it lives."""

    role: str
    path_length: int
    life: timedelta


# Below a root there is room for another root that it endorses, and that one's intermediate.
ROOT = CaProfile("root", 2, timedelta(days=3650))
ENDORSED_ROOT = CaProfile("root", 1, ROOT.life)
INTERMEDIATE = CaProfile("intermediate", 0, timedelta(days=365))


def ca_subject(trust_domain: str, role: str, key: ec.EllipticCurvePublicKey) -> x509.Name:
    # The key's digest in it keeps the names of an old and a new CA apart while both are trusted.
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()[:8]
    name = f"{role} {digest}"
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def ca_extensions(
    trust_domain: str, path_length: int, key: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePublicKey
) -> Extensions:
    uri = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_CA_USAGE, True),
        (x509.SubjectAlternativeName([uri]), False),
        *key_identifiers(key, issuer_key),
    ]


def key_identifiers(key: PublicKey, issuer_key: ec.EllipticCurvePublicKey) -> Extensions:
    return [
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False),
    ]


def check_ca(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    profile: CaProfile,
    trust_domain: str,
    now: datetime,
) -> ec.EllipticCurvePublicKey:
    """The key of a certificate that is what the issuer's key signs here, and holds for a day at least.

    What this software would not have written, such as name constraints, is refused. Raises `InvalidField`.
    """
    key, issuer_key = _p256(certificate), _p256(issuer)
    if certificate.subject != ca_subject(trust_domain, profile.role, key):
        raise _refusal(f"its subject is not that of a key for a {profile.role} of {trust_domain}")
    expected = _set(ca_extensions(trust_domain, profile.path_length, key, issuer_key))
    _check_extensions(certificate, expected)
    _check_signature(certificate, issuer)
    _check_dates(certificate, issuer, profile.life, now)
    return key


def _p256(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refusal("its key is not on P-256")
    return key


def _set(extensions: Extensions) -> dict[x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]]:
    return {value.oid: (value, critical) for value, critical in extensions}


def _check_extensions(
    certificate: x509.Certificate, expected: dict[x509.ObjectIdentifier, tuple[x509.ExtensionType, bool]]
) -> None:
    try:
        found = {item.oid: (item.value, item.critical) for item in certificate.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise _refusal("its extensions cannot be read") from None
    for oid in sorted({*expected, *found}, key=lambda item: item.dotted_string):
        if expected.get(oid) != found.get(oid):
            kind = type((expected.get(oid) or found[oid])[0]).__name__
            raise _refusal(f"its extension {kind} ({oid.dotted_string}) is not as it has to be")


def _check_signature(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
        is_valid = isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        is_valid = False
    if not is_valid:
        raise _refusal("it is not signed by the root that it has to be of")


def _check_dates(
    certificate: x509.Certificate, issuer: x509.Certificate, life: timedelta, now: datetime
) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if start > whole_seconds(now):
        raise _refusal("it begins in the future; is the clock right of the machine that signed it?")
    if end < now + timedelta(days=1):
        raise _refusal("it has expired, or will within a day")
    if end - start > life or end > issuer.not_valid_after_utc:
        raise _refusal("it is for longer than it may be")


def _refusal(problem: str) -> InvalidField:
    return InvalidField("certificate_pem", problem)
