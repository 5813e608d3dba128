"""What the offline root signs, and what the server accepts of it: nothing that it would not have written."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from forging import key_usage, names
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidField, LimitExceeded, WrongState
from kms.identity.authority import CertificateAuthority, create_root
from kms.identity.ca_profile import ca_extensions, ca_subject
from kms.identity.csr import MAX_CSR
from kms.identity.rotation import (
    MAX_PEM,
    accept_intermediate,
    accept_root,
    endorse_root,
    prepare_intermediate,
    requested_key_sha256,
    sign_request,
)
from kms.identity.trust import TrustBundle, key_digest

DAY = timedelta(days=1)
DOMAIN = "kms.example"


@pytest.fixture(scope="module")
def csr() -> bytes:
    return prepare_intermediate(DOMAIN)[1]


def accepted(pem: bytes, csr: bytes, now: datetime, *roots: CertificateAuthority) -> x509.Certificate:
    trusted = [root.certificate for root in roots]
    return accept_intermediate(pem, requested_key_sha256(csr), trusted, DOMAIN, now)[0]


def test_what_is_prepared_is_signed_offline_and_accepted(root: CertificateAuthority, now: datetime) -> None:
    key, csr = prepare_intermediate(DOMAIN)
    pem = sign_request(root, csr, requested_key_sha256(csr), now)
    certificate, issuer = accept_intermediate(pem, requested_key_sha256(csr), [root.certificate], DOMAIN, now)
    assert issuer == root.certificate
    assert CertificateAuthority.load(pem, key).trust_domain == DOMAIN
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == 365 * DAY


def test_a_request_says_nothing_but_its_key(csr: bytes) -> None:
    request = x509.load_pem_x509_csr(csr)
    assert list(request.extensions) == []
    assert len(prepare_intermediate(DOMAIN)[0]) > 0


def test_a_request_that_was_exchanged_on_its_way_is_not_signed(
    root: CertificateAuthority, csr: bytes, now: datetime
) -> None:
    named = requested_key_sha256(prepare_intermediate(DOMAIN)[1])
    with pytest.raises(InvalidField, match="do not sign it"):
        sign_request(root, csr, named, now)


def test_only_the_key_of_a_request_counts(root: CertificateAuthority, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = ca_subject("elsewhere.example", "root", key.public_key())
    csr = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    pem = sign_request(root, csr, requested_key_sha256(csr), now)
    assert accepted(pem, csr, now, root).subject == ca_subject(DOMAIN, "intermediate", key.public_key())


@pytest.mark.parametrize("curve", [ec.SECP384R1, ec.SECP256K1])
def test_the_key_of_an_authority_is_on_p256(curve: Any) -> None:
    key = ec.generate_private_key(curve())
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(InvalidField, match="csr"):
        requested_key_sha256(csr.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\n!\n", bytes(MAX_CSR + 1)]
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidField, match="csr"):
        requested_key_sha256(data)


def test_an_expired_root_signs_nothing(root: CertificateAuthority, csr: bytes, now: datetime) -> None:
    with pytest.raises(WrongState, match="expired"):
        sign_request(root, csr, requested_key_sha256(csr), now + 3650 * DAY)


def test_a_certificate_for_another_key_is_refused(
    root: CertificateAuthority, csr: bytes, now: datetime
) -> None:
    other = prepare_intermediate(DOMAIN)[1]
    pem = sign_request(root, other, requested_key_sha256(other), now)
    with pytest.raises(InvalidField, match="another key than the one that was prepared"):
        accepted(pem, csr, now, root)


def test_a_certificate_of_a_root_that_is_not_trusted_is_refused(
    root: CertificateAuthority, csr: bytes, now: datetime
) -> None:
    stranger = create_root(DOMAIN, now)
    pem = sign_request(stranger, csr, requested_key_sha256(csr), now)
    with pytest.raises(InvalidField, match="no root that is trusted"):
        accepted(pem, csr, now, root)
    assert accepted(pem, csr, now, root, stranger)


@dataclass(frozen=True)
class Forged:
    """A certificate for the right key that differs in one thing from what the root signs."""

    name: str
    refusal: str
    replace: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    without: tuple[type[x509.ExtensionType], ...] = ()
    start: timedelta = timedelta(0)
    life: timedelta = 365 * DAY
    subject: str = "intermediate"
    hash: Any = hashes.SHA256
    by_stranger: bool = False


CA_USAGE = key_usage("key_cert_sign", "crl_sign")
FORGED = (
    Forged("no CA", "BasicConstraints", ((x509.BasicConstraints(ca=False, path_length=None), True),)),
    Forged("no path length", "BasicConstraints", ((x509.BasicConstraints(ca=True, path_length=None), True),)),
    Forged("longer path", "BasicConstraints", ((x509.BasicConstraints(ca=True, path_length=1), True),)),
    Forged("not critical", "BasicConstraints", ((x509.BasicConstraints(ca=True, path_length=0), False),)),
    Forged("no constraints", "BasicConstraints", without=(x509.BasicConstraints,)),
    Forged("other usage", "KeyUsage", ((key_usage("digital_signature", "key_cert_sign"), True),)),
    Forged("no usage", "KeyUsage", without=(x509.KeyUsage,)),
    Forged(
        "extended usage",
        "ExtendedKeyUsage",
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),),
    ),
    Forged(
        "name constraints",
        "NameConstraints",
        ((x509.NameConstraints([x509.DNSName("example")], None), True),),
    ),
    Forged("other trust domain", "SubjectAlternativeName", ((names("spiffe://other.example"), False),)),
    Forged("two names", "SubjectAlternativeName", ((names(f"spiffe://{DOMAIN}", "kms.example"), False),)),
    Forged("no name", "SubjectAlternativeName", without=(x509.SubjectAlternativeName,)),
    Forged(
        "unknown extension",
        "UnrecognizedExtension",
        ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), False),),
    ),
    Forged("other issuer key", "AuthorityKeyIdentifier", without=(x509.AuthorityKeyIdentifier,)),
    Forged("subject of a root", "its subject", subject="root"),
    Forged("expired", "expired", start=-365 * DAY, life=365 * DAY),
    Forged("ends within a day", "within a day", life=DAY - timedelta(seconds=1)),
    Forged("begins later", "begins in the future", start=timedelta(seconds=1)),
    Forged("more than a year", "longer than it may be", life=366 * DAY),
    Forged("SHA-512", "not signed", hash=hashes.SHA512),
    Forged("the root's name, another key", "not signed", by_stranger=True),
)


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: forged.name)
def test_what_the_root_would_not_have_signed_is_refused(
    forged: Forged, root: CertificateAuthority, csr: bytes, now: datetime
) -> None:
    key: Any = x509.load_pem_x509_csr(csr).public_key()
    gone = (*forged.without, *(type(value) for value, _ in forged.replace))
    proper = ca_extensions(DOMAIN, 0, key, root.key.public_key())
    builder = x509.CertificateBuilder(
        root.certificate.subject,
        ca_subject(DOMAIN, forged.subject, key),
        key,
        4711,
        now + forged.start,
        now + forged.start + forged.life,
    )
    for value, critical in [item for item in proper if not isinstance(item[0], gone)] + list(forged.replace):
        builder = builder.add_extension(value, critical)
    signer = ec.generate_private_key(ec.SECP256R1()) if forged.by_stranger else root.key
    pem = builder.sign(signer, forged.hash()).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidField, match=forged.refusal):
        accepted(pem, csr, now, root)


def test_an_intermediate_ends_with_its_root(csr: bytes, now: datetime) -> None:
    root = create_root(DOMAIN, now - 3600 * DAY)
    pem = sign_request(root, csr, requested_key_sha256(csr), now)
    assert accepted(pem, csr, now, root).not_valid_after_utc == root.certificate.not_valid_after_utc


def test_a_new_root_is_accepted_with_the_word_of_an_old_one(
    root: CertificateAuthority, now: datetime
) -> None:
    new = create_root(DOMAIN, now)
    pem = endorse_root(root, new.certificate_pem(), now)
    accepted_root, endorsement = accept_root(pem, [root.certificate], DOMAIN, now)
    assert accepted_root == new.certificate
    assert (endorsement.issuer, endorsement.subject) == (root.certificate.subject, new.certificate.subject)
    assert key_digest(endorsement) == key_digest(new.certificate)


Made = Callable[[CertificateAuthority, CertificateAuthority, datetime], bytes]
FOREIGN: dict[str, tuple[Made, str]] = {
    "without endorsement": (lambda old, new, now: new.certificate_pem(), "holds 1 certificates"),
    "endorsed by itself": (lambda old, new, now: new.certificate_pem() * 2, "BasicConstraints|no root"),
    "endorsed by a stranger": (
        lambda old, new, now: endorse_root(create_root(DOMAIN, now), new.certificate_pem(), now),
        "no root that is trusted",
    ),
    "the endorsement of another": (
        lambda old, new, now: (
            new.certificate_pem()
            + TrustBundle.parse(endorse_root(old, create_root(DOMAIN, now).certificate_pem(), now))
            .intermediates[0]
            .public_bytes(Encoding.PEM)
        ),
        "of another root",
    ),
    "an intermediate": (
        lambda old, new, now: sign_request(old, *_prepared(), now) + sign_request(old, *_prepared(), now),
        "its subject",
    ),
}


def _prepared() -> tuple[bytes, bytes]:
    csr = prepare_intermediate(DOMAIN)[1]
    return csr, requested_key_sha256(csr)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_root_that_no_trusted_one_vouches_for_is_refused(
    name: str, root: CertificateAuthority, now: datetime
) -> None:
    make, refusal = FOREIGN[name]
    pem = make(root, create_root(DOMAIN, now), now)
    with pytest.raises(InvalidField, match=refusal):
        accept_root(pem, [root.certificate], DOMAIN, now)


def test_a_root_of_another_trust_domain_is_not_endorsed(root: CertificateAuthority, now: datetime) -> None:
    with pytest.raises(InvalidField, match="its subject"):
        endorse_root(root, create_root("other.example", now).certificate_pem(), now)


def test_a_certificate_of_which_a_name_cannot_be_read_is_refused(
    root: CertificateAuthority, csr: bytes, now: datetime
) -> None:
    signed = x509.load_pem_x509_certificate(sign_request(root, csr, requested_key_sha256(csr), now))
    der = signed.public_bytes(Encoding.DER).replace(b"intermediate ", b"\xff\xfeintermedia")
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
    with pytest.raises(InvalidField, match="holds 0 certificates"):
        accepted(pem, csr, now, root)


def test_too_much_is_refused_by_its_size(root: CertificateAuthority, csr: bytes, now: datetime) -> None:
    with pytest.raises(LimitExceeded):
        accepted(bytes(MAX_PEM + 1), csr, now, root)


@given(st.binary(max_size=300))
def test_random_bytes_raise_the_typed_error(data: bytes) -> None:
    for parse in (requested_key_sha256, lambda pem: accept_root(pem, [], DOMAIN, datetime.max)):
        with pytest.raises(InvalidField):
            parse(data)
