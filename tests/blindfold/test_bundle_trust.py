"""Who may sign a document, for how long, and what re-issuing a bundle changes: nothing but its dates."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from blindfold import Bundle, Delegation, KeyDocument, PolicyDocument, root_fingerprint
from blindfold._canonical import dump
from blindfold._primitives import ed25519_public_key
from blindfold.bundle import CLOCK_SKEW, DEFAULT_LIFE, parse_time, print_time, signer_public_key
from blindfold.documents import document_exponent
from blindfold.errors import (
    BlindfoldError,
    DocumentExpired,
    DocumentInvalid,
    DocumentMismatch,
    DocumentUntrusted,
)
from testvectors import material
from testvectors.material import DAY, NOW

KEY, POLICY = material.key(), material.policy()
TRUST = (material.trust(),)
SECOND = timedelta(seconds=1)


def verified(bundle: Bundle, now: datetime = NOW, **options: Any) -> PolicyDocument:
    return bundle.verify(PolicyDocument, trust=TRUST, now=now, **options)


def test_bundle_gives_the_document_it_carries() -> None:
    assert verified(material.bundle(POLICY)) == POLICY
    assert material.bundle(KEY).verify(KeyDocument, trust=TRUST, now=NOW) == KEY


def test_bundle_survives_the_wire_and_one_newline_at_its_end() -> None:
    data = material.bundle(POLICY).to_bytes()
    assert Bundle.parse(data).to_bytes() == data
    assert verified(Bundle.parse(data + b"\n")) == POLICY
    with pytest.raises(DocumentInvalid):
        Bundle.parse(data + b"\n\n")


def test_public_key_of_a_signer_is_that_of_rfc_8032() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer_public_key(seed).hex() == public


# A document re-issued.


@pytest.mark.parametrize("days", [1, 30, 80])
def test_reissued_bundle_changes_neither_digest_nor_exponent(days: int) -> None:
    start = NOW + days * DAY
    first, second = material.bundle(POLICY), material.bundle(POLICY, issued_at=start, not_after=start + DAY)
    assert first.to_bytes() != second.to_bytes()
    before, after = verified(first), verified(second, now=start)
    assert (before.digest, before.to_bytes()) == (after.digest, after.to_bytes())
    assert document_exponent(KEY, before) == document_exponent(KEY, after)


def test_reissued_by_another_signer_and_root_changes_neither_digest_nor_exponent() -> None:
    root, signer = b"\x01" * 32, b"\x02" * 32
    delegation = Delegation.sign(
        root,
        type_=POLICY.TYPE,
        tenant="acme",
        key=ed25519_public_key(signer),
        not_before=NOW,
        not_after=NOW + DAY,
    )
    bundle = material.bundle(POLICY, by=delegation, signer=signer, not_after=NOW + DAY)
    document = bundle.verify(PolicyDocument, trust=[root_fingerprint(ed25519_public_key(root))], now=NOW)
    assert document_exponent(KEY, document) == document_exponent(KEY, POLICY)


# X.509 signers: a workload, the enrolment authority, a corporate authority.


@dataclass(frozen=True)
class Certified:
    """A key with an X.509 certificate, and how it would pass for a signer of documents."""

    public: bytes
    sign: Callable[[bytes], bytes]
    certificate: bytes


def certificate_for(
    key: "ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey", common_name: str, *, authority: bool
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + 30 * DAY).add_extension(
        x509.BasicConstraints(ca=authority, path_length=None), critical=True
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def certified_ed25519(common_name: str, *, authority: bool) -> Certified:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(common_name.encode()).digest())
    return Certified(
        key.public_key().public_bytes_raw(), key.sign, certificate_for(key, common_name, authority=authority)
    )


def certified_p256(common_name: str, *, authority: bool) -> Certified:
    key = ec.derive_private_key(int.from_bytes(common_name.encode(), "big"), ec.SECP256R1())

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    public = key.public_key().public_numbers().x.to_bytes(32, "big")
    return Certified(public, sign, certificate_for(key, common_name, authority=authority))


SIGNERS = {
    "a workload's certificate, P-256": certified_p256("workload", authority=False),
    "a workload's certificate, Ed25519": certified_ed25519("workload", authority=False),
    "the enrolment authority, P-256": certified_p256("enrolment authority", authority=True),
    "the enrolment authority, Ed25519": certified_ed25519("enrolment authority", authority=True),
    "a corporate authority, P-256": certified_p256("corporate authority", authority=True),
    "a corporate authority, Ed25519": certified_ed25519("corporate authority", authority=True),
}


def signed_by(signer: Certified, delegation: Delegation) -> Bundle:
    start, end = print_time(NOW), print_time(NOW + DAY)
    message = Bundle.signed_bytes(POLICY.TYPE, start, end, POLICY.to_bytes())
    return Bundle(POLICY.to_bytes(), start, end, delegation, signer.sign(message))


def delegated_by(signer: Certified, key: bytes) -> Delegation:
    start, end = print_time(NOW - DAY), print_time(NOW + 90 * DAY)
    message = Delegation.signed_bytes(POLICY.TYPE, "acme", key, start, end)
    return Delegation(POLICY.TYPE, "acme", key, start, end, signer.public, signer.sign(message))


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_x509_identity_cannot_sign_a_document(signer: Certified) -> None:
    with pytest.raises(DocumentUntrusted):
        verified(signed_by(signer, material.delegation(POLICY.TYPE)))


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_x509_identity_cannot_delegate(signer: Certified) -> None:
    own = signed_by(signer, delegated_by(signer, signer.public))
    forged = replace(delegated_by(signer, signer.public), root=ed25519_public_key(material.root_seed()))
    for bundle in (own, signed_by(signer, forged)):
        with pytest.raises(DocumentUntrusted):
            verified(bundle)


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
def test_pinned_fingerprint_of_a_certificate_or_bare_key_admits_nothing(signer: Certified) -> None:
    prints = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (signer.certificate, signer.public)]
    with pytest.raises(DocumentUntrusted):
        signed_by(signer, delegated_by(signer, signer.public)).verify(PolicyDocument, trust=prints, now=NOW)


def test_signature_over_a_certificate_is_not_one_over_a_delegation() -> None:
    signer = SIGNERS["the enrolment authority, Ed25519"]
    certificate = x509.load_der_x509_certificate(signer.certificate)
    delegation = replace(delegated_by(signer, signer.public), signature=certificate.signature)
    with pytest.raises(DocumentUntrusted):
        signed_by(signer, delegation).verify(PolicyDocument, trust=[root_fingerprint(signer.public)], now=NOW)


# Delegations and what they are for.


def test_delegation_for_another_type_is_refused() -> None:
    bundle = material.bundle(POLICY, by=material.delegation(KEY.TYPE))
    with pytest.raises(DocumentUntrusted):
        verified(bundle)


def test_document_asked_for_as_another_type_is_refused() -> None:
    with pytest.raises(DocumentUntrusted):
        material.bundle(POLICY).verify(KeyDocument, trust=TRUST, now=NOW)


def test_delegation_for_another_tenant_is_refused() -> None:
    bundle = material.bundle(POLICY, by=material.delegation(POLICY.TYPE, tenant="acme2"))
    with pytest.raises(DocumentMismatch):
        verified(bundle)


def test_no_pinned_root_trusts_nobody() -> None:
    with pytest.raises(DocumentUntrusted, match="is not pinned"):
        material.bundle(POLICY).verify(PolicyDocument, trust=(), now=NOW)


@pytest.mark.parametrize("field", ["document", "issued_at", "not_after"])
def test_every_signed_field_of_a_bundle_is_covered(field: str) -> None:
    other = material.bundle(material.policy(revision=2), issued_at=NOW - SECOND, not_after=NOW + 5 * DAY)
    bundle = replace(material.bundle(POLICY), **{field: getattr(other, field)})
    with pytest.raises(DocumentUntrusted, match="signature of the bundle"):
        verified(bundle)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", KEY.TYPE),
        ("tenant", "acme2"),
        ("key", bytes(32)),
        ("not_before", print_time(NOW - 9 * DAY)),
        ("not_after", print_time(NOW + 900 * DAY)),
        ("signature", bytes(64)),
    ],
)
def test_every_field_of_a_delegation_is_covered(field: str, value: Any) -> None:
    bundle = material.bundle(POLICY)
    with pytest.raises(DocumentUntrusted, match="signature of the delegation"):
        verified(replace(bundle, delegation=replace(bundle.delegation, **{field: value})))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_length_sign_nothing(size: int) -> None:
    bundle = material.bundle(POLICY)
    root = bytes(size)
    with pytest.raises(DocumentUntrusted, match="signature of the delegation"):
        replace(bundle, delegation=replace(bundle.delegation, root=root)).verify(
            PolicyDocument, trust=[root_fingerprint(root)], now=NOW
        )


# Dates.


def test_default_life_is_seven_days() -> None:
    assert timedelta(days=7) == DEFAULT_LIFE


@dataclass(frozen=True)
class Moment:
    comment: str
    now: datetime
    error: type[BlindfoldError] | None


MOMENTS = [
    Moment("the moment of issue", NOW, None),
    Moment("a clock that is late within the skew", NOW - CLOCK_SKEW, None),
    Moment("a clock that is later still", NOW - CLOCK_SKEW - SECOND, DocumentExpired),
    Moment("the last second", NOW + 7 * DAY - SECOND, None),
    Moment("the end", NOW + 7 * DAY, DocumentExpired),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.comment)
def test_bundle_is_good_from_its_issue_to_before_its_end(moment: Moment) -> None:
    bundle = material.bundle(POLICY)
    if moment.error is None:
        assert verified(bundle, now=moment.now) == POLICY
    else:
        with pytest.raises(moment.error):
            verified(bundle, now=moment.now)


def test_expired_bundle_passes_only_on_request() -> None:
    late = NOW + 365 * DAY
    assert verified(material.bundle(POLICY), now=late, allow_expired=True) == POLICY
    with pytest.raises(DocumentExpired, match="expired at 2026-01-22T12:00:00Z"):
        verified(material.bundle(POLICY), now=late)


def test_request_for_expired_documents_does_not_admit_those_of_the_future() -> None:
    with pytest.raises(DocumentExpired, match="in the future"):
        verified(material.bundle(POLICY), now=NOW - DAY, allow_expired=True)


@pytest.mark.parametrize(
    ("issued_at", "not_after"),
    [
        (NOW - 2 * DAY, NOW + DAY),
        (NOW, NOW + 91 * DAY),
        (NOW + DAY, NOW + DAY),
        (NOW + DAY, NOW),
    ],
    ids=["before the delegation", "after it", "no life", "a negative life"],
)
def test_dates_outside_the_delegation_are_refused(issued_at: datetime, not_after: datetime) -> None:
    bundle = material.bundle(POLICY, issued_at=issued_at, not_after=not_after)
    with pytest.raises(DocumentUntrusted, match="dates"):
        verified(bundle, now=issued_at, allow_expired=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-15",
        "2026-01-15T12:00:00",
        "2026-01-15t12:00:00z",
        "2026-01-15T12:00:00+00:00",
        "2026-01-15T12:00:00.5Z",
        "2026-1-15T12:00:00Z",
        "2026-01-15T12:00:60Z",
        "2026-02-30T12:00:00Z",
        "٢٠٢٦-01-15T12:00:00Z",
        " 2026-01-15T12:00:00Z",
        "2026-01-15T12:00:00Z\n",
    ],
)
def test_time_has_one_spelling(text: str) -> None:
    with pytest.raises(DocumentInvalid):
        parse_time(text, "issued_at")


# The form.


def altered(**changes: Any) -> bytes:
    return dump(json.loads(material.bundle(POLICY).to_bytes()) | changes)


def with_delegation(**changes: Any) -> bytes:
    delegation = json.loads(material.bundle(POLICY).to_bytes())["delegation"]
    return altered(delegation=delegation | changes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        altered(extra=1),
        altered(document=7),
        altered(document="A"),
        altered(document="AB=="),
        altered(document="AB"),
        altered(signature="AAAA"),
        altered(issued_at="yesterday"),
        altered(delegation=[]),
        with_delegation(extra=1),
        with_delegation(type="blindfold/v1 certificate"),
        with_delegation(tenant="Acme"),
        with_delegation(key="AAAA"),
        with_delegation(root="AAAA"),
        with_delegation(not_after=7),
    ],
)
def test_bundle_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        Bundle.parse(data)


def test_unknown_member_is_named_without_its_control_characters() -> None:
    with pytest.raises(DocumentInvalid) as caught:
        Bundle.parse(altered(**{"\x1b[2Jextra": 1}))
    assert "extra" in str(caught.value)
    assert str(caught.value).isprintable()
