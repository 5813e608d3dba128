"""What replaces an authority: what the server asks for, the offline root signs, and the server accepts.

docs/spec/identity.md, "Replacing an authority".
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from blindfold.secret import SecretBytes
from kms.errors import InvalidField, LimitExceeded
from kms.identity.authority import CertificateAuthority, certify_authority
from kms.identity.ca_profile import ENDORSED_ROOT, INTERMEDIATE, ROOT, ca_subject, check_ca
from kms.identity.csr import verify_csr
from kms.identity.trust import key_digest

MAX_PEM = 64 * 1024


def prepare_intermediate(trust_domain: str) -> tuple[SecretBytes, bytes]:
    """A new key (PKCS#8 in DER, to be wrapped at once), and the request for its certificate (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = ca_subject(trust_domain, INTERMEDIATE.role, key.public_key())
    request = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SecretBytes(private), request.public_bytes(Encoding.PEM)


def requested_key_sha256(csr_pem: bytes) -> bytes:
    """SHA-256 of the SPKI, in DER, that a certificate is asked for. Raises `InvalidField`."""
    spki = _requested(csr_pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def sign_request(root: CertificateAuthority, csr_pem: bytes, key_sha256: bytes, now: datetime) -> bytes:
    """The intermediate's certificate, in PEM, for a year or until the root ends.

    `key_sha256` is what the server said of the key that it made: whoever carried the request could have put
    another in its place. Nothing else in the request counts. Raises `InvalidField`, `WrongState`.
    """
    if requested_key_sha256(csr_pem) != key_sha256:
        raise InvalidField("csr", "its key is not the one that was named; do not sign it")
    return certify_authority(root, INTERMEDIATE, _requested(csr_pem), now).public_bytes(Encoding.PEM)


def endorse_root(old: CertificateAuthority, new_pem: bytes, now: datetime) -> bytes:
    """The new root's certificate, then its endorsement: the same name and key, certified by the old one. PEM.

    Raises `InvalidField` for what is no root of the same trust domain, `WrongState`.
    """
    [new] = _certificates(new_pem, 1)
    key = check_ca(new, new, ROOT, old.trust_domain, now)
    endorsement = certify_authority(old, ENDORSED_ROOT, key, now)
    return new.public_bytes(Encoding.PEM) + endorsement.public_bytes(Encoding.PEM)


def accept_intermediate(
    pem: bytes, key_sha256: bytes, roots: Sequence[x509.Certificate], trust_domain: str, now: datetime
) -> tuple[x509.Certificate, x509.Certificate]:
    """The certificate that was signed for the key, and the root that signed it. Raises `InvalidField`."""
    [certificate] = _certificates(pem, 1)
    issuer = _issuer(certificate, roots)
    check_ca(certificate, issuer, INTERMEDIATE, trust_domain, now)
    if key_digest(certificate) != key_sha256:
        raise InvalidField("certificate_pem", "it is for another key than the one that was prepared")
    return certificate, issuer


def accept_root(
    pem: bytes, roots: Sequence[x509.Certificate], trust_domain: str, now: datetime
) -> tuple[x509.Certificate, x509.Certificate]:
    """A new root, and its endorsement by one of the roots that are trusted. Raises `InvalidField`."""
    new, endorsement = _certificates(pem, 2)
    check_ca(new, new, ROOT, trust_domain, now)
    check_ca(endorsement, _issuer(endorsement, roots), ENDORSED_ROOT, trust_domain, now)
    if key_digest(new) != key_digest(endorsement):
        raise InvalidField("certificate_pem", "the endorsement is of another root")
    return new, endorsement


def accept_adopted_root(pem: bytes, trust_domain: str, now: datetime) -> x509.Certificate:
    """A root that nobody endorses, of who holds the store and its root of trust. Raises `InvalidField`."""
    [new] = _certificates(pem, 1)
    check_ca(new, new, ROOT, trust_domain, now)
    return new


def _requested(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    key = verify_csr(csr_pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidField("csr", "the key of an authority is on P-256")
    return key


def _certificates(pem: bytes, count: int) -> list[x509.Certificate]:
    if len(pem) > MAX_PEM:
        raise LimitExceeded("certificate_pem", f"{len(pem)} bytes, at most {MAX_PEM} are allowed")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for item in certificates:
            # These are read when they are asked for.
            _ = item.subject, item.issuer, item.not_valid_before_utc, item.not_valid_after_utc
    except (ValueError, TypeError, x509.InvalidVersion):
        certificates = []
    if len(certificates) != count:
        raise InvalidField("certificate_pem", f"holds {len(certificates)} certificates in PEM, not {count}")
    return certificates


def _issuer(certificate: x509.Certificate, roots: Sequence[x509.Certificate]) -> x509.Certificate:
    for root in roots:
        if root.subject == certificate.issuer:
            return root
    raise InvalidField("certificate_pem", "it is of no root that is trusted here")
