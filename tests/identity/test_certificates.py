"""What is checked of a presented certificate, at the first call and at every call."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from forging import URI, key_usage, names
from hypothesis import given
from hypothesis import strategies as st
from presenting import authenticator, pem

from kms.errors import Unauthenticated
from kms.identity.authority import CertificateAuthority, ServerNames, create_intermediate
from kms.identity.certificates import Authenticator, load_certificate
from kms.identity.extension import ATTRIBUTES_OID, Attributes, encode_attributes
from kms.identity.grant import Grant
from kms.identity.revocation import DenyList
from kms.identity.spiffe import SpiffeId
from kms.identity.trust import AnchorPolicy, TrustAnchor, TrustBundle
from kms.model.names import IdentityName, OperatorName, SiteName

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_an_issued_certificate_becomes_a_caller(leaf: bytes, anchor: TrustAnchor, now: datetime) -> None:
    caller = authenticator(anchor).authenticate(leaf, "192.0.2.7", now)
    assert caller.identity == IdentityName("acme", "prod", "web")
    assert caller.tenant == "acme"
    assert caller.spiffe_id == URI
    assert caller.names == (URI, "web.acme.example")
    assert caller.labels == {"app": "web", "tier": "front"}
    assert caller.roles == {"key-user@prod", "secret-sealer"}
    assert caller.address == "192.0.2.7"


@pytest.mark.parametrize(
    ("identity", "uri", "tenant"),
    [
        (SiteName("acme", "munich"), "spiffe://kms.example/tenant/acme/site/munich", "acme"),
        (OperatorName("alice"), "spiffe://kms.example/operator/alice", None),
    ],
)
def test_sites_and_operators_are_callers(
    authority: CertificateAuthority,
    anchor: TrustAnchor,
    key: Any,
    now: datetime,
    identity: Any,
    uri: str,
    tenant: Any,
) -> None:
    certificate = authority.issue(key.public_key(), Grant(identity), HOUR, now)
    caller = authenticator(anchor).authenticate(pem(certificate), "::1", now)
    assert (caller.identity, caller.spiffe_id, caller.tenant) == (identity, uri, tenant)
    assert (caller.labels, caller.roles) == ({}, frozenset())


@pytest.mark.parametrize(
    "make_key",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 3072),
    ],
    ids=["P-384", "Ed25519", "RSA-3072"],
)
def test_every_key_type_authenticates(
    authority: CertificateAuthority,
    anchor: TrustAnchor,
    grant: Grant,
    now: datetime,
    make_key: Callable[[], Any],
) -> None:
    certificate = authority.issue(make_key().public_key(), grant, HOUR, now)
    assert authenticator(anchor).authenticate(pem(certificate), "::1", now).spiffe_id == URI


def test_a_certificate_for_more_than_a_day_is_refused(forge: Any, anchor: TrustAnchor, now: datetime) -> None:
    """The deny list could forget its identity while it still holds."""
    assert authenticator(anchor).authenticate(forge(life=24 * HOUR), "::1", now).spiffe_id == URI
    with pytest.raises(Unauthenticated, match="more than 24 hours"):
        authenticator(anchor).authenticate(forge(life=24 * HOUR + SECOND), "::1", now)


def test_the_caller_has_its_certificate_s_serial_number_and_date(
    forge: Any, anchor: TrustAnchor, now: datetime
) -> None:
    caller = authenticator(anchor).authenticate(forge(), "::1", now)
    assert (caller.serial, caller.issued_at) == (4711, now)


def test_der_is_taken_as_well(leaf: bytes, anchor: TrustAnchor, now: datetime) -> None:
    der = x509.load_pem_x509_certificate(leaf).public_bytes(Encoding.DER)
    assert authenticator(anchor).authenticate(der, "::1", now).spiffe_id == URI


@dataclass(frozen=True)
class Refusal:
    """Extensions that replace the proper ones, and the words of the refusal."""

    name: str
    words: str
    replace: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    without: tuple[type[x509.ExtensionType], ...] = ()


def usages(*oids: x509.ObjectIdentifier) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((x509.ExtendedKeyUsage(oids), False),)


CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
EMPTY_ATTRIBUTES = x509.UnrecognizedExtension(ATTRIBUTES_OID, encode_attributes(Attributes()))
REFUSALS = (
    Refusal("two SPIFFE ids", "2 URIs", ((names(URI, URI + "2"), True),)),
    Refusal("a second URI", "2 URIs", ((names(URI, "https://acme.example"), True),)),
    Refusal("no URI", "0 URIs", ((names("web.acme.example"), True),)),
    Refusal("no names", "0 URIs", without=(x509.SubjectAlternativeName,)),
    Refusal("an unknown path", "must be spiffe", ((names("spiffe://kms.example/ns/prod/sa/web"), True),)),
    Refusal("a server's path", "must be spiffe", ((names("spiffe://kms.example/server/kms"), True),)),
    Refusal("a trailing slash", "must be spiffe", ((names(URI + "/"), True),)),
    Refusal("a query", "must be spiffe", ((names(URI + "?x"), True),)),
    Refusal("an upper-case path", "must be spiffe", ((names(URI.replace("acme", "Acme")), True),)),
    Refusal("an escaped path", "must be spiffe", ((names(URI.replace("acme", "%61cme")), True),)),
    Refusal("an upper-case scheme", "must be spiffe", ((names(URI.replace("spiffe", "SPIFFE")), True),)),
    Refusal("a port", "DNS name", ((names(URI.replace("kms.example", "kms.example:1")), True),)),
    Refusal("a wildcard", "DNS name", ((names(URI, "*.acme.example"), True),)),
    Refusal("17 DNS names", "17 DNS names", ((names(URI, *(f"n{i}.example" for i in range(17))), True),)),
    Refusal(
        "an address",
        "besides one URI",
        ((x509.SubjectAlternativeName([*names(URI), x509.IPAddress(ip_address("192.0.2.1"))]), True),),
    ),
    Refusal(
        "another trust domain",
        "trust domain other.example",
        ((names(URI.replace("kms.example", "other.example")), True),),
    ),
    Refusal("an unknown critical extension", "1.3.6.1.4.1.99999.1", ((UNKNOWN, True),)),
    Refusal("critical labels and roles", "critical extension 2.25", ((EMPTY_ATTRIBUTES, True),)),
    Refusal(
        "labels and roles that are not canonical",
        "labels-and-roles",
        ((x509.UnrecognizedExtension(ATTRIBUTES_OID, b"\x30\x81\x03\x02\x01\x01"), False),),
    ),
    Refusal("a CA certificate", "certificate authority", ((x509.BasicConstraints(True, None), True),)),
    Refusal("no key usage", "digitalSignature", without=(x509.KeyUsage,)),
    Refusal("no digitalSignature", "digitalSignature", ((key_usage("key_agreement"), True),)),
    Refusal("keyCertSign", "keyCertSign", ((key_usage("digital_signature", "key_cert_sign"), True),)),
    Refusal("cRLSign", "cRLSign", ((key_usage("digital_signature", "crl_sign"), True),)),
    Refusal("no extended key usage", "lacks clientAuth", without=(x509.ExtendedKeyUsage,)),
    Refusal("serverAuth only", "lacks clientAuth", usages(SERVER)),
    Refusal("code signing", "more than", usages(CLIENT, ExtendedKeyUsageOID.CODE_SIGNING)),
    Refusal("any usage", "more than", usages(CLIENT, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)),
)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_a_certificate_of_our_own_authority_is_refused_with(
    case: Refusal, forge: Callable[..., bytes], anchor: TrustAnchor, now: datetime
) -> None:
    certificate = forge(replace=case.replace, without=case.without)
    with pytest.raises(Unauthenticated, match=case.words):
        authenticator(anchor).authenticate(certificate, "::1", now)


def test_a_plain_leaf_passes_so_that_the_refusals_above_mean_something(
    forge: Callable[..., bytes], anchor: TrustAnchor, now: datetime
) -> None:
    certificate = forge(replace=[(names(URI, "Web.ACME.example"), True), (UNKNOWN, False)])
    caller = authenticator(anchor).authenticate(certificate, "::1", now)
    assert caller.names == (URI, "web.acme.example")


@pytest.mark.parametrize("which", ["root", "authority"])
def test_a_ca_certificate_is_nobody(
    which: str, request: pytest.FixtureRequest, anchor: TrustAnchor, now: datetime
) -> None:
    certificate = request.getfixturevalue(which).certificate
    with pytest.raises(Unauthenticated, match="certificate authority"):
        authenticator(anchor).authenticate(pem(certificate), "::1", now)


def test_the_server_certificate_cannot_call(
    authority: CertificateAuthority, anchor: TrustAnchor, key: Any, now: datetime
) -> None:
    certificate = authority.issue_server(key.public_key(), ServerNames("kms", ("localhost",)), HOUR, now)
    with pytest.raises(Unauthenticated, match="clientAuth"):
        authenticator(anchor).authenticate(pem(certificate), "::1", now)


def test_time_is_looked_at_in_every_call(leaf: bytes, anchor: TrustAnchor, now: datetime) -> None:
    known = authenticator(anchor)
    known.authenticate(leaf, "::1", now)
    known.authenticate(leaf, "::1", now + HOUR)
    with pytest.raises(Unauthenticated, match="expired at 2026-03-01T13:00:00Z"):
        known.authenticate(leaf, "::1", now + HOUR + timedelta(microseconds=1))


def test_a_certificate_may_begin_a_minute_ahead_of_our_clock_but_no_more(
    leaf: bytes, anchor: TrustAnchor, now: datetime
) -> None:
    assert authenticator(anchor).authenticate(leaf, "::1", now - 60 * SECOND).spiffe_id == URI
    with pytest.raises(Unauthenticated, match="not valid before 2026-03-01T12:00:00Z"):
        authenticator(anchor).authenticate(leaf, "::1", now - 61 * SECOND)


def test_an_expired_certificate_is_not_remembered_into_life(
    leaf: bytes, anchor: TrustAnchor, now: datetime
) -> None:
    fresh = authenticator(anchor)
    with pytest.raises(Unauthenticated, match="expired"):
        fresh.authenticate(leaf, "::1", now + 2 * HOUR)


def test_a_leaf_ends_with_the_intermediate_that_signed_it(
    forge: Callable[..., bytes], root: CertificateAuthority, now: datetime
) -> None:
    short = create_intermediate(root, now - timedelta(days=364, hours=23))
    certificate = forge(issuer=short, life=5 * HOUR)
    bundle = TrustBundle((root.certificate,), (short.certificate,))
    known = authenticator(TrustAnchor(bundle, AnchorPolicy("kms.example")))
    assert known.authenticate(certificate, "::1", now).spiffe_id == URI
    with pytest.raises(Unauthenticated, match="expired at 2026-03-01T13:00:00Z"):
        known.authenticate(certificate, "::1", now + 2 * HOUR)


def test_revocation_is_looked_at_in_every_call(leaf: bytes, anchor: TrustAnchor, now: datetime) -> None:
    lists = {"acme": DenyList()}
    anchors = (anchor,)
    known = Authenticator(lambda: anchors, lambda tenant: lists[str(tenant)])
    serial = known.leaf(leaf, now).serial
    known.authenticate(leaf, "::1", now)
    lists["acme"] = DenyList().with_serial(serial, now + HOUR)
    with pytest.raises(Unauthenticated, match="revoked"):
        known.authenticate(leaf, "::1", now)
    with pytest.raises(Unauthenticated, match="revoked"):
        known.leaf(leaf, now)


def test_a_revoked_identity_enrols_again_with_a_later_certificate(
    leaf: bytes,
    authority: CertificateAuthority,
    anchor: TrustAnchor,
    grant: Grant,
    key: Any,
    now: datetime,
) -> None:
    revoked = DenyList().with_identity(SpiffeId.parse(URI), now + timedelta(milliseconds=900))
    known = authenticator(anchor, deny_list=revoked)
    with pytest.raises(Unauthenticated, match="revoked"):
        known.authenticate(leaf, "::1", now + SECOND)
    later = pem(authority.issue(key.public_key(), grant, HOUR, now + SECOND))
    assert known.authenticate(later, "::1", now + SECOND).spiffe_id == URI


def test_a_new_intermediate_with_the_same_key_does_not_lift_a_revocation(
    leaf: bytes, root: CertificateAuthority, authority: CertificateAuthority, now: datetime
) -> None:
    old = authority.certificate
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), 99, now + 2 * SECOND, now + timedelta(days=30)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    renewed = builder.sign(root.key, old.signature_hash_algorithm)  # type: ignore[arg-type]
    anchor = TrustAnchor(TrustBundle((root.certificate,), (renewed,)), AnchorPolicy("kms.example"))
    revoked = DenyList().with_identity(SpiffeId.parse(URI), now + SECOND)
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticator(anchor, deny_list=revoked).authenticate(leaf, "::1", now + 3 * SECOND)


def test_an_operator_is_looked_up_in_the_platforms_deny_list(
    authority: CertificateAuthority, anchor: TrustAnchor, key: Any, now: datetime
) -> None:
    asked: list[str | None] = []

    def deny_list(tenant: str | None) -> DenyList:
        asked.append(tenant)
        return DenyList()

    certificate = authority.issue(key.public_key(), Grant(OperatorName("alice")), HOUR, now)
    anchors = (anchor,)
    Authenticator(lambda: anchors, deny_list).authenticate(pem(certificate), "::1", now)
    assert asked == [None]


def test_an_authority_of_the_same_names_but_another_key_forges_nothing(
    authority: CertificateAuthority, forge: Callable[..., bytes], anchor: TrustAnchor, now: datetime
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = authority.certificate
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, key.public_key(), 99, old.not_valid_before_utc, old.not_valid_after_utc
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    forger = CertificateAuthority(builder.sign(key, old.signature_hash_algorithm), key)  # type: ignore[arg-type]
    attributes = x509.UnrecognizedExtension(
        ATTRIBUTES_OID, encode_attributes(Attributes(roles=frozenset({"tenant-admin"})))
    )
    certificate = forge(issuer=forger, replace=[(attributes, False)])
    with pytest.raises(Unauthenticated, match="no authority this KMS trusts"):
        authenticator(anchor).authenticate(certificate, "::1", now)


def test_the_cache_forgets_the_least_recently_used(
    forge: Callable[..., bytes], anchor: TrustAnchor, now: datetime
) -> None:
    anchors = (anchor,)
    known = Authenticator(lambda: anchors, lambda _tenant: DenyList(), entries=2)
    first, second, third = (forge() for _ in range(3))
    for certificate in (first, second, first, third):
        known.authenticate(certificate, "::1", now)
    assert list(known._entries) == [first, third]


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n!\n", bytes(40_000)])
def test_what_is_no_certificate_is_refused(data: bytes, anchor: TrustAnchor, now: datetime) -> None:
    with pytest.raises(Unauthenticated):
        authenticator(anchor).authenticate(data, "::1", now)


def test_two_certificates_at_once_are_refused(leaf: bytes, anchor: TrustAnchor, now: datetime) -> None:
    with pytest.raises(Unauthenticated, match="not one"):
        authenticator(anchor).authenticate(leaf + leaf, "::1", now)


@given(st.binary(max_size=300))
def test_random_bytes_raise_the_typed_error(data: bytes) -> None:
    with pytest.raises(Unauthenticated):
        load_certificate(data)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(position=st.integers(0, 4095), bit=st.integers(0, 7))
def test_a_certificate_with_one_signed_bit_flipped_is_refused(
    anchor: TrustAnchor, authority: CertificateAuthority, key: Any, now: datetime, position: int, bit: int
) -> None:
    grant = Grant(IdentityName("acme", "prod", "web"), ("web.acme.example",), {"app": "web"})
    certificate = authority.issue(key.public_key(), grant, HOUR, now)
    der, signed = certificate.public_bytes(Encoding.DER), certificate.tbs_certificate_bytes
    changed = bytearray(signed)
    changed[position % len(signed)] ^= 1 << bit
    with pytest.raises(Unauthenticated):
        authenticator(anchor).authenticate(der.replace(signed, changed), "::1", now)


def test_trust_and_revocation_are_looked_at_anew_when_their_revision_is_another(
    leaf: bytes, anchor: TrustAnchor, now: datetime
) -> None:
    asked: list[str | None] = []
    revisions, anchors = [1], (anchor,)

    def deny_list(tenant: str | None) -> DenyList:
        asked.append(tenant)
        return DenyList() if revisions[-1] < 3 else DenyList().with_identity(SpiffeId.parse(URI), now + HOUR)

    known = Authenticator(lambda: anchors, deny_list, revision=lambda: revisions[-1])
    first = known.authenticate(leaf, "::1", now)
    assert known.authenticate(leaf, "::1", now) is first
    assert known.authenticate(leaf, "::2", now).address == "::2"
    assert asked == ["acme"]
    with pytest.raises(Unauthenticated, match="expired"):
        known.authenticate(leaf, "::1", now + 2 * HOUR)
    revisions.append(2)
    known.authenticate(leaf, "::1", now)
    assert asked == ["acme"] * 2
    revisions.append(3)
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="revoked"):
            known.authenticate(leaf, "::1", now)


def test_a_revision_that_comes_while_a_certificate_is_admitted_is_not_taken_for_seen(
    leaf: bytes, anchor: TrustAnchor, now: datetime
) -> None:
    revisions, anchors = [1], (anchor,)
    lists = [DenyList()]

    def deny_list(tenant: str | None) -> DenyList:
        current = lists[-1]
        if revisions[-1] == 1:
            revisions.append(2)
            lists.append(DenyList().with_identity(SpiffeId.parse(URI), now + HOUR))
        return current

    known = Authenticator(lambda: anchors, deny_list, revision=lambda: revisions[-1])
    known.authenticate(leaf, "::1", now)
    with pytest.raises(Unauthenticated, match="revoked"):
        known.authenticate(leaf, "::1", now)
