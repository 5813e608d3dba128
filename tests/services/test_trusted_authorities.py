"""Authorities of tenants: whom they vouch for, until they change, go, or a certificate is revoked."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from identity.corporate_ca import YEAR, Company, certificate_pem, self_signed
from services.conftest import ACME, ADMIN, AUTHOR, OPERATOR, START, Kms, caller
from services.test_identities import token

from kms.errors import Denied, EtagMismatch, InvalidField, KmsError, Unauthenticated, WrongState
from kms.identity.admission import Admission
from kms.identity.grant import Grant
from kms.identity.revocation import DenyList
from kms.model.caller import Caller
from kms.model.names import AuthorityWorkloadName, SiteName, TenantName, TrustedAuthorityName
from kms.services import corporate_trust, trusted_authorities
from kms.services.authority_settings import AuthoritySettings
from kms.services.tenants import Description
from kms.services.trusted_authorities import Revoked

CORP = TrustedAuthorityName("acme", "corp")
WEB = AuthorityWorkloadName("acme", "prod", "corp", "web")
ADMISSION = Admission(
    subjects=("*",),
    claims={},
    namespace="prod",
    identity="/subject/CN",
    labels={"from": "company"},
    roles=frozenset({"key-user@prod"}),
)
COMPANY = Company(START)
SETTINGS = AuthoritySettings(COMPANY.pem, (), ADMISSION)
LEAF = certificate_pem(COMPANY.leaf(serial=0x5A))


def other_tenant(kms: Kms) -> Caller:
    """The administrator of globex."""
    kms.run(kms.parts.tenants.create(kms.call(OPERATOR), TenantName("globex"), Description(), ""))
    return caller("mallory", "tenant-admin", tenant="globex")


def trust(
    kms: Kms,
    settings: AuthoritySettings = SETTINGS,
    name: TrustedAuthorityName = CORP,
    who: Caller = ADMIN,
) -> Any:
    return kms.run(kms.parts.trusted_authorities.create(kms.call(who), name, settings, ""))


def authenticate(kms: Kms, leaf: bytes = LEAF) -> Caller:
    return kms.parts.authenticator.authenticate(leaf, "192.0.2.7", kms.now)


def test_certificate_is_of_a_caller_from_when_its_authority_is_trusted(kms: Kms) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(kms)
    trust(kms)
    who = authenticate(kms)
    assert (who.identity, who.address, dict(who.labels)) == (WEB, "192.0.2.7", {"from": "company"})
    assert who.spiffe_id == "spiffe://kms.test/tenant/acme/authority/corp/ns/prod/sa/web"


def test_certificate_of_an_authority_that_is_removed_is_refused_at_once(kms: Kms) -> None:
    made = trust(kms)
    authenticate(kms)
    kms.run(kms.parts.trusted_authorities.delete(kms.call(ADMIN), CORP, made.etag))
    with pytest.raises(Unauthenticated):
        authenticate(kms)


def test_change_of_an_authority_counts_at_once_for_who_called_before(kms: Kms) -> None:
    made = trust(kms)
    authenticate(kms)
    narrower = replace(SETTINGS, admission=replace(ADMISSION, labels={}, roles=frozenset()))
    changed = kms.run(kms.parts.trusted_authorities.update(kms.call(ADMIN), CORP, narrower, made.etag))
    assert changed.record.create_time == START
    assert (dict(authenticate(kms).labels), authenticate(kms).roles) == ({}, frozenset())
    other = replace(SETTINGS, admission=replace(ADMISSION, subjects=("CN=db,*",)))
    kms.run(kms.parts.trusted_authorities.update(kms.call(ADMIN), CORP, other, ""))
    with pytest.raises(Unauthenticated, match="subject is not admitted"):
        authenticate(kms)
    with pytest.raises(EtagMismatch):
        kms.run(kms.parts.trusted_authorities.update(kms.call(ADMIN), CORP, SETTINGS, made.etag))


@pytest.mark.parametrize("noticed", [True, False])
def test_authority_that_was_removed_and_trusted_anew_is_not_taken_for_the_old_one(
    kms: Kms, monkeypatch: pytest.MonkeyPatch, noticed: bool
) -> None:
    """Whether or not anybody looked between."""
    trust(kms)
    authenticate(kms)
    kms.run(kms.parts.trusted_authorities.delete(kms.call(ADMIN), CORP, ""))
    if not noticed:
        monkeypatch.setattr(corporate_trust.CorporateTrust, "others", lambda *_: [])
    narrower = replace(SETTINGS, admission=replace(ADMISSION, roles=frozenset()))
    made = trust(kms, narrower)
    assert authenticate(kms).roles == frozenset()
    kms.run(kms.parts.trusted_authorities.delete(kms.call(ADMIN), CORP, made.etag))
    trust(kms, replace(SETTINGS, certificates_pem=Company(START).pem))
    with pytest.raises(Unauthenticated):
        authenticate(kms)


def revoke(kms: Kms, serial: str = "", certificate: bytes = b"", who: Caller = ADMIN) -> Any:
    which = Revoked(serial, certificate)
    return kms.run(kms.parts.trusted_authorities.revoke(kms.call(who), CORP, which, "stolen"))


def test_revoked_certificate_is_refused_at_once_and_for_good_and_no_other_is(kms: Kms) -> None:
    trust(kms)
    authenticate(kms)
    other = certificate_pem(COMPANY.leaf(serial=0x5B))
    revoke(kms, "5a")
    for passed in (timedelta(0), 2 * timedelta(days=1), YEAR / 2):
        kms.pass_time(passed)
        with pytest.raises(Unauthenticated, match="revoked"):
            authenticate(kms)
        assert authenticate(kms, other).identity == WEB
        revoke(kms, "99")


def test_revocation_outlives_the_authority_being_removed_and_trusted_again(kms: Kms) -> None:
    trust(kms)
    revoke(kms, "5a")
    kms.run(kms.parts.trusted_authorities.delete(kms.call(ADMIN), CORP, ""))
    trust(kms)
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(kms)


def test_revocation_of_another_authoritys_number_is_of_no_account(kms: Kms) -> None:
    trust(kms)
    other = TrustedAuthorityName("acme", "other")
    trust(kms, replace(SETTINGS, certificates_pem=Company(START).pem), other)
    kms.run(kms.parts.trusted_authorities.revoke(kms.call(ADMIN), other, Revoked("5a"), ""))
    assert authenticate(kms).identity == WEB


@pytest.mark.parametrize("serial", ["0", "05a", "5A", "0x5a", "g", "5a\n", "1" * 41])
def test_what_is_no_serial_number_is_refused(kms: Kms, serial: str) -> None:
    trust(kms)
    with pytest.raises(InvalidField, match="hexadecimal"):
        revoke(kms, serial)


def test_revocations_are_bounded(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted_authorities, "MAX_REVOKED", 2)
    trust(kms)
    for serial in ("1", "2"):
        revoke(kms, serial)
    with pytest.raises(WrongState, match="replace the authority"):
        revoke(kms, "3")


def test_certificate_that_is_revoked_itself_leaves_the_list_when_it_has_expired(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted_authorities, "MAX_REVOKED", 2)
    trust(kms)
    short = certificate_pem(COMPANY.leaf(serial=0x5C, life=timedelta(days=2)))
    authenticate(kms, short)
    revoke(kms, certificate=short)
    assert kms.last_event()["details"]["serial"] == "5c"
    revoke(kms, certificate=LEAF)
    for certificate in (short, LEAF):
        with pytest.raises(Unauthenticated, match="revoked"):
            authenticate(kms, certificate)
    kms.pass_time(timedelta(days=2))
    with pytest.raises(WrongState, match="replace the authority"):
        revoke(kms, "1")
    kms.pass_time(timedelta(seconds=1))
    revoke(kms, "1")
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(kms, short)
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(kms)


def test_number_that_was_revoked_for_good_gets_an_end_from_its_certificate(kms: Kms) -> None:
    trust(kms)
    revoke(kms, "5a")
    revoke(kms, certificate=LEAF)
    [end] = kms.parts.repository.require(DenyList, str(ACME)).record.serials.values()
    assert end == COMPANY.leaf().not_valid_after_utc


def test_only_a_certificate_of_the_authority_that_holds_still_is_revoked_by_itself(kms: Kms) -> None:
    trust(kms)
    expired = certificate_pem(COMPANY.leaf(start=START - YEAR / 2, life=timedelta(days=1)))
    for data, words in (
        (certificate_pem(Company(START).leaf()), "no authority"),
        (expired, "expired"),
        (b"nonsense", "not one X.509 certificate"),
    ):
        with pytest.raises(InvalidField, match=words):
            revoke(kms, certificate=data)
    for serial, data in (("", b""), ("5a", LEAF)):
        with pytest.raises(InvalidField, match="and not both"):
            revoke(kms, serial, data)


def test_certificate_that_is_not_admitted_can_be_revoked(kms: Kms) -> None:
    """It may be admitted by a later change."""
    admission = replace(SETTINGS.admission, subjects=("CN=nobody",))
    trust(kms, replace(SETTINGS, admission=admission))
    revoke(kms, certificate=LEAF)
    assert kms.last_event()["decision"] == "ALLOW"


def test_caller_of_another_authority_renews_nothing_here(kms: Kms) -> None:
    trust(kms)
    with pytest.raises(Unauthenticated, match="of another authority"):
        kms.parts.authenticator.leaf(LEAF, kms.now)


def test_its_identities_are_certified_by_nobody_else(kms: Kms) -> None:
    with pytest.raises(InvalidField, match="authority of the tenant's own"):
        token(kms, Grant(WEB))


def test_an_authority_is_trusted_by_one_tenant_under_one_name(kms: Kms) -> None:
    trust(kms)
    renewed = Company(START + YEAR, root_key=COMPANY.root_key, issuing_key=COMPANY.issuing_key)
    mallory = other_tenant(kms)
    for pem, claimed, who in (
        (COMPANY.pem, TrustedAuthorityName("acme", "again"), ADMIN),
        (COMPANY.pem, TrustedAuthorityName("globex", "corp"), mallory),
        (renewed.pem, TrustedAuthorityName("globex", "corp"), mallory),
    ):
        with pytest.raises(InvalidField, match="trusted already"):
            trust(kms, replace(SETTINGS, certificates_pem=pem), claimed, who)
    kms.run(
        kms.parts.trusted_authorities.update(
            kms.call(ADMIN), CORP, replace(SETTINGS, certificates_pem=renewed.pem), ""
        )
    )


def test_the_kmss_own_authority_cannot_be_claimed(kms: Kms) -> None:
    own = kms.parts.identity_trust.current().issuer
    for certificate in (own.trust.roots[0], own.authority.certificate):
        pem = certificate_pem(COMPANY.root) + certificate_pem(certificate)
        with pytest.raises(InvalidField, match="own authority"):
            trust(kms, replace(SETTINGS, certificates_pem=pem.decode()))


def namesake(subject: x509.Name) -> Company:
    """A company whose issuing authority has that name, and a key of its own."""
    company = Company(START)
    company.issuing = company._authority(subject, company.issuing_key, company.root.subject, company.root_key)
    return company


def respelled(subject: x509.Name) -> x509.Name:
    """The same name to TLS, in other bytes."""
    return x509.Name([x509.NameAttribute(item.oid, f" {item.value.upper()}  ") for item in subject])


def test_authority_that_bears_the_name_of_the_kmss_own_stands_in_for_nobody(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leaves are looked up under our own authority, whose signature they lack."""
    company = namesake(kms.parts.identity_trust.current().issuer.authority.certificate.subject)
    monkeypatch.setattr(trusted_authorities.TrustedAuthorities, "_check", lambda *_: None)
    trust(kms, replace(SETTINGS, certificates_pem=company.pem))
    with pytest.raises(Unauthenticated):
        authenticate(kms, certificate_pem(company.leaf()))


@pytest.mark.parametrize("spelled", [lambda subject: subject, respelled])
def test_no_authority_is_trusted_under_the_names_of_the_kmss_own(kms: Kms, spelled: Any) -> None:
    own = kms.parts.identity_trust.current().issuer
    for certificate in (own.trust.roots[0], own.authority.certificate):
        company = namesake(spelled(certificate.subject))
        with pytest.raises(InvalidField, match="name of the KMS's own"):
            trust(kms, replace(SETTINGS, certificates_pem=company.pem))


@pytest.mark.parametrize(
    ("key_id", "is_trusted"),
    [(COMPANY.issuing_key, False), (None, False), (ec.generate_private_key(ec.SECP256R1()), True)],
)
def test_no_authority_hides_one_of_another_tenant(kms: Kms, key_id: Any, is_trusted: bool) -> None:
    """Namesakes happen, as in Kubernetes; who has the key identifier too, or none, would be taken for it."""
    trust(kms)
    hostile = certificate_pem(self_signed(respelled(COMPANY.issuing.subject), key_id)).decode()
    settings = replace(SETTINGS, certificates_pem=hostile)
    mallory = other_tenant(kms)
    if is_trusted:
        trust(kms, settings, TrustedAuthorityName("globex", "corp"), mallory)
    else:
        with pytest.raises(InvalidField, match="cannot tell"):
            trust(kms, settings, TrustedAuthorityName("globex", "corp"), mallory)
    assert authenticate(kms).identity == WEB


def test_certificate_that_two_tenants_vouch_for_is_of_nobody(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes two administrators at the same moment, or a restored backup."""
    trust(kms)
    monkeypatch.setattr(corporate_trust.CorporateTrust, "others", lambda *_: [])
    mallory = other_tenant(kms)
    trust(kms, SETTINGS, TrustedAuthorityName("globex", "corp"), mallory)
    with pytest.raises(Unauthenticated, match="trusted by two tenants"):
        authenticate(kms)


def test_two_authorities_of_one_name_are_told_apart_by_their_keys(kms: Kms) -> None:
    trust(kms)
    namesake = Company(START)
    trust(kms, replace(SETTINGS, certificates_pem=namesake.pem), TrustedAuthorityName("acme", "sake"))
    assert authenticate(kms).identity == WEB
    assert authenticate(kms, certificate_pem(namesake.leaf())).identity == replace(WEB, authority="sake")


def test_authorities_that_appear_unheard_are_found_by_looking_again(kms: Kms) -> None:
    ticks = [0]
    seen = corporate_trust.CorporateTrust(kms.parts.repository, "kms.test", lambda: ticks[0])
    assert seen.certificates_pem() == b""
    trust(kms)
    assert seen.certificates_pem() == b""
    ticks[0] += corporate_trust.LOOK_AGAIN
    first = seen.certificates_pem()
    assert first.count(b"BEGIN CERTIFICATE") == 2
    ticks[0] += corporate_trust.LOOK_AGAIN
    assert seen.certificates_pem() is first


SITE = replace(caller("site", "tenant-admin"), identity=SiteName("acme", "lisbon"))


@pytest.mark.parametrize(
    ("who", "roles", "error"),
    [
        (AUTHOR, (), Denied),
        (OPERATOR, (), Denied),
        (SITE, (), Denied),
        (caller("bound", "tenant-admin@prod"), (), Denied),
        (caller("admin", "tenant-admin", tenant="globex"), (), Denied),
        (ADMIN, ("operator",), InvalidField),
        (ADMIN, ("enroller",), InvalidField),
    ],
)
def test_nobody_trusts_an_authority_beyond_his_reach(
    kms: Kms, who: Caller, roles: tuple[str, ...], error: type[KmsError]
) -> None:
    with pytest.raises(error):
        trust(kms, replace(SETTINGS, admission=replace(ADMISSION, roles=frozenset(roles))), who=who)


def test_authorities_are_listed_and_few(kms: Kms) -> None:
    for index in range(trusted_authorities.MAX_AUTHORITIES):
        trust(
            kms, replace(SETTINGS, certificates_pem=Company(START).pem), replace(CORP, authority=f"a{index}")
        )
    with pytest.raises(WrongState, match="8 trustedAuthorities"):
        trust(kms)
    listed = kms.run(kms.parts.trusted_authorities.list(kms.call(ADMIN), ACME, "", 100)).items
    assert [item.name for item in listed] == [f"{ACME}/trustedAuthorities/a{index}" for index in range(8)]


def test_unknown_key_types_are_refused() -> None:
    with pytest.raises(InvalidField) as caught:
        replace(SETTINGS, key_types=("DSA",))
    assert caught.value.field == "key_types"
