"""Certificates of a tenant's own authority: who is admitted, as whom, and what in them has no effect."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given
from hypothesis import strategies as st
from identity.corporate_ca import YEAR, Company, certificate_pem, name
from identity.forging import NOW, URI, key_usage

from kms.errors import InvalidField, LimitExceeded, Unauthenticated
from kms.identity.admission import Admission
from kms.identity.certificates import Authenticator, load_certificate
from kms.identity.corporate import (
    DEFAULT_KEY_TYPES,
    KEY_TYPES,
    MAX_INTERMEDIATES,
    SERIAL_BITS,
    CorporateAuthority,
    key_digest,
    parse_bundle,
)
from kms.identity.extension import ATTRIBUTES_OID, Attributes, encode_attributes
from kms.identity.revocation import DenyList
from kms.identity.trust import AnchorPolicy, TrustAnchor
from kms.model.caller import Caller
from kms.model.names import AuthorityWorkloadName, TrustedAuthorityName

SECOND = timedelta(seconds=1)
COMPANY = Company(NOW)
ROOT_DER = COMPANY.root.public_bytes(Encoding.DER)
# Bytes of it: the number of the version, and of the name of the key's curve (RFC 5280, section 4.1).
AT_VERSION = ROOT_DER.index(b"\xa0\x03\x02\x01\x02") + 4
AT_CURVE = ROOT_DER.index(b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07") + 9
ADMISSION = Admission(
    subjects=("*",),
    claims={"/subject/OU": "Platform"},
    namespace="prod",
    identity="/subject/CN",
    labels={"from": "company", "unit": "/subject/OU"},
    roles=frozenset({"key-user@prod"}),
)
CORP = CorporateAuthority(
    TrustedAuthorityName("acme", "corp"),
    "kms.example",
    parse_bundle(COMPANY.pem.encode()),
    DEFAULT_KEY_TYPES,
    ADMISSION,
)
ADMIN_ATTRIBUTES = x509.UnrecognizedExtension(
    ATTRIBUTES_OID, encode_attributes(Attributes({"app": "db"}, frozenset({"tenant-admin"})))
)


def who(leaf: x509.Certificate, now: Any = NOW, **changed: Any) -> Caller:
    return replace(CORP, **changed).verify(leaf, now)[0]


def test_employees_workload_is_named_after_the_authority() -> None:
    caller = who(COMPANY.leaf())
    assert caller.identity == AuthorityWorkloadName("acme", "prod", "corp", "web")
    assert caller.spiffe_id == "spiffe://kms.example/tenant/acme/authority/corp/ns/prod/sa/web"
    assert (dict(caller.labels), caller.roles) == (
        {"from": "company", "unit": "Platform"},
        {"key-user@prod"},
    )


def test_names_in_the_certificate_are_no_names_of_the_caller() -> None:
    """A policy that allows web.acme.example, or an identity of the KMS's, does not mean these."""
    names = [x509.DNSName("web.acme.example"), x509.UniformResourceIdentifier(URI)]
    caller = who(COMPANY.leaf(names=names))
    assert caller.names == (caller.spiffe_id,)
    assert caller.spiffe_id != URI


def test_forged_labels_and_roles_have_no_effect() -> None:
    caller = who(COMPANY.leaf(more=[(ADMIN_ATTRIBUTES, False)]))
    assert caller == replace(who(COMPANY.leaf()), serial=caller.serial)
    assert "tenant-admin" not in caller.roles
    with pytest.raises(Unauthenticated):
        who(COMPANY.leaf(more=[(ADMIN_ATTRIBUTES, True)]))


@pytest.mark.parametrize(
    ("pointer", "names", "identity"),
    [
        ("/san/dns", [x509.DNSName("db")], "db"),
        ("/san/email", [x509.RFC822Name("x@acme.example")], None),
        ("/san/uri", [x509.UniformResourceIdentifier("urn:web")], None),
        ("/san/dns", [x509.DNSName("a"), x509.DNSName("b")], None),
        ("/san/dns", [], None),
        ("/subject/L", [], None),
        ("/subject", [], None),
    ],
)
def test_identity_is_one_field_to_the_letter(
    pointer: str, names: list[x509.GeneralName], identity: str | None
) -> None:
    rule = replace(ADMISSION, identity=pointer)
    if identity is None:
        with pytest.raises(Unauthenticated):
            who(COMPANY.leaf(names=names), admission=rule)
    else:
        assert who(COMPANY.leaf(names=names), admission=rule).identity == AuthorityWorkloadName(
            "acme", "prod", "corp", identity
        )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"O": "Acme", "OU": "Other", "CN": "web"}, "/subject/OU is not"),
        ({"O": "Acme", "CN": "web"}, "/subject/OU is not"),
        ({"OU": "Platform|Other", "CN": "web"}, "/subject/OU is not"),
        ({"OU": "Other|Platform", "CN": "web"}, "/subject/OU is not"),
        ({"OU": "Platform", "CN": "web|admin"}, "no text at /subject/CN"),
        ({"OU": "Platform"}, "no text at /subject/CN"),
        ({"OU": "Platform", "CN": "Web Server"}, "gives no identity"),
        ({"OU": "Platform", "CN": "web/../admin"}, "gives no identity"),
    ],
)
def test_other_subjects_are_refused(fields: Mapping[str, str], words: str) -> None:
    with pytest.raises(Unauthenticated, match=words):
        who(COMPANY.leaf(name(**fields)))


@pytest.mark.parametrize(
    ("subject", "admitted"),
    [("CN=web,OU=Platform,O=Acme", True), ("CN=web,*", True), ("CN=we", False), ("O=Acme*", False)],
)
def test_subjects_are_told_as_rfc_4514_writes_them(subject: str, admitted: bool) -> None:
    rule = replace(ADMISSION, subjects=(subject,))
    if admitted:
        assert who(COMPANY.leaf(), admission=rule)
    else:
        with pytest.raises(Unauthenticated, match="subject is not admitted"):
            who(COMPANY.leaf(), admission=rule)


KEYS = {
    "P256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ED25519": ed25519.Ed25519PrivateKey.generate,
    "RSA_2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA_3072": lambda: rsa.generate_private_key(65537, 3072),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_are_of_the_types_that_are_allowed(kind: str) -> None:
    leaf = COMPANY.leaf(key=KEYS[kind]())
    for allowed in KEY_TYPES:
        if allowed == kind or (allowed, kind) == ("RSA_2048", "RSA_3072"):
            assert who(leaf, key_types=(allowed,))
        else:
            with pytest.raises(Unauthenticated):
                who(leaf, key_types=(allowed,))


@pytest.mark.parametrize(
    "changed",
    [
        {"usages": ()},
        {"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)},
        {"more": [(x509.BasicConstraints(ca=True, path_length=None), True)]},
        {"more": [(key_usage("key_agreement"), True)]},
        {"more": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
    ],
    ids=str,
)
def test_certificate_that_is_no_clients_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        who(COMPANY.leaf(**changed))


@pytest.mark.parametrize(
    ("passed", "words"),
    [(-60 * SECOND, ""), (-61 * SECOND, "not valid before"), (YEAR, ""), (YEAR + SECOND, "expired")],
)
def test_dates_are_those_of_the_certificate(passed: timedelta, words: str) -> None:
    leaf = COMPANY.leaf()
    if words:
        with pytest.raises(Unauthenticated, match=words):
            who(leaf, NOW + passed)
    else:
        assert who(leaf, NOW + passed)


@pytest.mark.parametrize("impostor", [Company(NOW), Company(NOW, "Other")])
def test_another_authority_of_the_same_or_another_name_is_refused(impostor: Company) -> None:
    with pytest.raises(Unauthenticated, match="no authority this KMS trusts"):
        who(impostor.leaf())


def test_only_intermediates_that_are_configured_count() -> None:
    root_alone = parse_bundle(certificate_pem(COMPANY.root))
    with pytest.raises(Unauthenticated, match="no authority"):
        who(COMPANY.leaf(), bundle=root_alone)


def test_serial_numbers_of_authorities_do_not_meet_in_a_deny_list() -> None:
    other = replace(CORP, name=TrustedAuthorityName("acme", "other"))
    serials = {CORP.serial(5), CORP.serial(6), other.serial(5), who(COMPANY.leaf(serial=5)).serial}
    assert len(serials) == 3
    assert max(serials).bit_length() <= SERIAL_BITS


@pytest.mark.parametrize("pem", [b"", b"nonsense", certificate_pem(COMPANY.issuing)])
def test_bundle_without_a_root_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidField, match="no root"):
        parse_bundle(pem)


def test_bundles_hold_authorities_alone_and_few() -> None:
    with pytest.raises(InvalidField, match="no authority's"):
        parse_bundle(COMPANY.pem.encode() + certificate_pem(COMPANY.leaf()))
    with pytest.raises(LimitExceeded, match="8 certificates"):
        parse_bundle(certificate_pem(COMPANY.root) * 9)
    with pytest.raises(LimitExceeded, match="bytes"):
        parse_bundle(bytes(70_000))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(3, 2048),
        rsa.generate_private_key(65537, 1024),  # noqa: S505
        ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
    ],
    ids=["exponent", "short", "curve", "kind"],
)
def test_authorities_have_keys_that_can_be_verified_with_quickly(key: Any) -> None:
    subject = name(CN="slow")
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW, NOW + YEAR)
    signed_by = None if isinstance(key, ed448.Ed448PrivateKey) else hashes.SHA256()
    root = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, signed_by)
    with pytest.raises(InvalidField, match="no authority's"):
        parse_bundle(certificate_pem(root))


@pytest.mark.parametrize(("levels", "is_found"), [(MAX_INTERMEDIATES, True), (MAX_INTERMEDIATES + 1, False)])
def test_paths_are_so_long_and_no_longer(levels: int, is_found: bool) -> None:
    company = Company(NOW)
    chain = [company.root]
    above, above_key = company.root.subject, company.root_key
    for level in range(levels - 1):
        key, subject = ec.generate_private_key(ec.SECP256R1()), name(CN=f"level {level}")
        chain.append(company._authority(subject, key, above, above_key))
        above, above_key = subject, key
    chain.append(company._authority(company.issuing.subject, company.issuing_key, above, above_key))
    bundle = parse_bundle(b"".join(map(certificate_pem, chain)))
    if is_found:
        assert who(company.leaf(), bundle=bundle).identity
    else:
        with pytest.raises(Unauthenticated, match="no authority"):
            who(company.leaf(), bundle=bundle)


def test_an_authority_is_known_by_its_keys_whatever_its_certificates() -> None:
    renewed = Company(NOW + YEAR, root_key=COMPANY.root_key, issuing_key=COMPANY.issuing_key)
    assert renewed.root != COMPANY.root
    assert CORP.keys == {key_digest(renewed.root), key_digest(renewed.issuing)}


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(position=st.integers(0, 4095), bit=st.integers(0, 7))
def test_certificate_with_one_signed_bit_flipped_is_refused(position: int, bit: int) -> None:
    leaf = COMPANY.leaf(key=COMPANY.issuing_key, names=[x509.DNSName("web")])
    der, signed = leaf.public_bytes(Encoding.DER), leaf.tbs_certificate_bytes
    changed = bytearray(signed)
    changed[position % len(signed)] ^= 1 << bit
    with pytest.raises(Unauthenticated):
        who(load_certificate(der.replace(signed, changed)))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(position=st.integers(0, 4095), value=st.integers(0, 255))
@example(position=AT_VERSION, value=3)
@example(position=AT_CURVE, value=0)
def test_damaged_authority_is_refused_or_can_be_read_for_good(position: int, value: int) -> None:
    """What is asked of it later, for all tenants at once, does not fail then."""
    changed = bytearray(ROOT_DER)
    changed[position % len(changed)] = value
    body = base64.encodebytes(changed).decode()
    try:
        bundle = parse_bundle(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode())
    except InvalidField:
        return
    readable = replace(CORP, bundle=bundle)
    assert readable.keys
    assert readable.marks
    assert readable.issuers
    assert all(certificate.serial_number > 0 for certificate in bundle.roots)


def test_leaf_with_an_extension_twice_is_refused() -> None:
    usage, extended_usage = b"\x06\x03\x55\x1d\x0f", b"\x06\x03\x55\x1d\x25"
    doubled = COMPANY.leaf().public_bytes(Encoding.DER).replace(usage, extended_usage)
    with pytest.raises(Unauthenticated, match="cannot be read"):
        CORP._claims(load_certificate(doubled))


def test_leaf_whose_subject_cannot_be_read_is_of_no_authority() -> None:
    """The verifier's refusal of its usages would quote the subject."""
    der = COMPANY.leaf(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)).public_bytes(Encoding.DER)
    as_bits = der.replace(b"\x0c\x03web", b"\x03\x03\x00eb")
    assert as_bits != der
    with pytest.raises(Unauthenticated, match="of no authority"):
        who(load_certificate(as_bits))


def test_leaf_whose_issuer_cannot_be_read_is_refused() -> None:
    der = COMPANY.leaf().public_bytes(Encoding.DER)
    as_bits = der.replace(b"\x06\x03\x55\x04\x0a\x0c", b"\x06\x03\x55\x04\x0a\x03")
    anchor = TrustAnchor(CORP.bundle, AnchorPolicy("kms.example"))
    with pytest.raises(Unauthenticated, match="issuer cannot be read"):
        Authenticator([anchor], lambda _tenant: DenyList()).authenticate(as_bits, "", NOW)
