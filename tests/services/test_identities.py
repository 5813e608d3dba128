"""Identities: granted by token, enrolled once, renewed by themselves, revoked at once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ACME, ADMIN, AUDITOR, OPERATOR, PROD, WEB, Kms, caller

from kms.client.credentials import generate_key_pair
from kms.errors import Denied, InvalidField, KmsError, NotFound, Unauthenticated, WrongState
from kms.identity.grant import Grant
from kms.identity.issued import CertificateBundle
from kms.model.join_token import JoinToken
from kms.model.names import IdentityName, OperatorName, SiteName
from kms.services.identities import MAX_CERTIFICATES, Identities

API = IdentityName("acme", "prod", "api")
GRANT = Grant(API, ("api.acme.test",), {"app": "web"}, frozenset({"key-user"}))
HOUR = timedelta(hours=1)
CSR = generate_key_pair().csr


def identities(kms: Kms) -> Identities:
    return kms.parts.identities


def token(kms: Kms, grant: Grant = GRANT, who: Any = ADMIN) -> JoinToken:
    made, _ = kms.run(identities(kms).create_join_token(kms.call(who), grant, timedelta(minutes=10)))
    return made


def enrol(kms: Kms, join_token: JoinToken) -> CertificateBundle:
    csr = generate_key_pair().csr
    return kms.run(identities(kms).enrol(join_token, csr, address="192.0.2.7", request_id="e", now=kms.now))


def leaf_pem(bundle: CertificateBundle) -> bytes:
    """The first certificate of the chain, as a connection presents it."""
    end = b"-----END CERTIFICATE-----\n"
    return bundle.chain_pem.partition(end)[0] + end


def authenticate(kms: Kms, bundle: CertificateBundle) -> Any:
    return kms.parts.authenticator.authenticate(leaf_pem(bundle), "192.0.2.7", kms.now)


def test_enrolled_identity_is_what_the_token_grants(kms: Kms) -> None:
    who = authenticate(kms, enrol(kms, token(kms)))
    assert who.identity == API
    assert who.names == ("spiffe://kms.test/tenant/acme/ns/prod/sa/api", "api.acme.test")
    assert (dict(who.labels), who.roles) == ({"app": "web"}, {"key-user"})
    record = kms.run(identities(kms).get(kms.call(ADMIN), API)).record
    assert (record.roles, len(record.certificates)) == (("key-user",), 1)


def test_token_enrols_once(kms: Kms) -> None:
    join_token = token(kms)
    enrol(kms, join_token)
    with pytest.raises(Unauthenticated, match="unknown, used or expired"):
        enrol(kms, join_token)


def test_two_enrolments_race_for_one_token_and_one_wins(kms: Kms) -> None:
    join_token = token(kms)

    async def race() -> list[Any]:
        both = [
            identities(kms).enrol(join_token, generate_key_pair().csr, address="", request_id="", now=kms.now)
            for _ in range(2)
        ]
        return await asyncio.gather(*both, return_exceptions=True)

    outcomes = kms.run(race())
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CertificateBundle", "Unauthenticated"]


def test_expired_and_unknown_tokens_get_the_same_answer(kms: Kms) -> None:
    expired = token(kms)
    kms.pass_time(timedelta(minutes=10))
    unknown = JoinToken(bytes(16), expired.secret, expired.ca_fingerprint)
    texts = set()
    for join_token in (expired, unknown):
        with pytest.raises(Unauthenticated) as caught:
            enrol(kms, join_token)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_store_keeps_no_token(kms: Kms) -> None:
    join_token = token(kms)
    with join_token.secret as secret:
        needle = secret.reveal()
        everything = kms.vault.store.get("joinTokens", join_token.token_id.hex())
        assert everything is not None
        assert needle not in everything.body
        assert needle.hex().encode() not in everything.body


def test_renewal_gives_what_the_record_grants_now(kms: Kms) -> None:
    first = enrol(kms, token(kms))
    kms.pass_time(HOUR)
    enrol(kms, token(kms, Grant(API, (), {"app": "batch"}, frozenset())))
    who = authenticate(kms, first)
    leaf = kms.parts.authenticator.leaf(leaf_pem(first), kms.now)
    csr = generate_key_pair().csr
    renewed = authenticate(kms, kms.run(identities(kms).renew(kms.call(who), leaf, csr)))
    assert (dict(renewed.labels), renewed.roles) == ({"app": "batch"}, frozenset())


def test_revoked_identity_is_refused_at_once_and_cannot_renew(kms: Kms) -> None:
    bundle = enrol(kms, token(kms))
    who, leaf = authenticate(kms, bundle), kms.parts.authenticator.leaf(leaf_pem(bundle), kms.now)
    kms.run(identities(kms).revoke(kms.call(ADMIN), API, "", "stolen"))
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(kms, bundle)
    with pytest.raises(Unauthenticated):
        kms.run(identities(kms).renew(kms.call(who), leaf, generate_key_pair().csr))
    kms.pass_time(HOUR)
    assert authenticate(kms, enrol(kms, token(kms))).identity == API


def renewed(kms: Kms, bundle: CertificateBundle) -> CertificateBundle:
    who, leaf = authenticate(kms, bundle), kms.parts.authenticator.leaf(leaf_pem(bundle), kms.now)
    return kms.run(identities(kms).renew(kms.call(who), leaf, CSR))


def test_identity_cannot_renew_until_its_certificates_cannot_be_revoked_singly(kms: Kms) -> None:
    first = enrol(kms, token(kms))
    serials = {first.issued.serial} | {renewed(kms, first).issued.serial for _ in range(MAX_CERTIFICATES - 1)}
    with pytest.raises(WrongState, match="64 certificates"):
        renewed(kms, first)
    event = kms.last_event()
    assert (event["action"], event["decision"], event["reason"]) == (
        "RenewCertificate",
        "FAIL",
        "WRONG_STATE",
    )
    record = kms.run(identities(kms).get(kms.call(ADMIN), API)).record
    assert {text.split()[0] for text in record.certificates} == serials
    kms.run(identities(kms).revoke(kms.call(ADMIN), API, first.issued.serial, ""))
    with pytest.raises(Unauthenticated):
        authenticate(kms, first)


def test_full_identity_leaves_the_token_usable_and_has_room_once_certificates_expire(kms: Kms) -> None:
    first = enrol(kms, token(kms))
    for _ in range(MAX_CERTIFICATES - 1):
        renewed(kms, first)
    kms.pass_time(timedelta(hours=23, minutes=55))
    join_token = token(kms)
    with pytest.raises(WrongState):
        enrol(kms, join_token)
    assert kms.last_event()["action"] == "Enrol"
    kms.pass_time(timedelta(minutes=6))
    enrol(kms, join_token)
    assert len(kms.run(identities(kms).get(kms.call(ADMIN), API)).record.certificates) == 1


def test_one_certificate_can_be_revoked_by_its_serial_number(kms: Kms) -> None:
    first, second = enrol(kms, token(kms)), enrol(kms, token(kms))
    kms.run(identities(kms).revoke(kms.call(ADMIN), API, first.issued.serial, ""))
    with pytest.raises(Unauthenticated):
        authenticate(kms, first)
    assert authenticate(kms, second).identity == API
    with pytest.raises(InvalidField, match="serial_number"):
        kms.run(identities(kms).revoke(kms.call(ADMIN), API, "abc", ""))


def test_certificate_ends_after_a_day(kms: Kms) -> None:
    bundle = enrol(kms, token(kms))
    kms.pass_time(timedelta(hours=24, seconds=1))
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(kms, bundle)


def test_nobody_is_granted_the_server_s_own_name(kms: Kms) -> None:
    """Its holder, on the way to the KMS, could pose as the KMS and collect join tokens."""
    assert token(kms, Grant(API, ("other.test",)))
    with pytest.raises(InvalidField, match="the KMS's own name"):
        token(kms, Grant(API, ("other.test", "kms.acme.test")))


BOUND_ADMIN = caller("bound", "tenant-admin@prod")


@pytest.mark.parametrize(
    ("who", "grant", "error"),
    [
        (ADMIN, Grant(API, roles=frozenset({"operator"})), InvalidField),
        (ADMIN, Grant(IdentityName("acme", "nowhere", "api")), NotFound),
        (ADMIN, Grant(IdentityName("globex", "prod", "api")), Denied),
        (ADMIN, Grant(OperatorName("mallory"), roles=frozenset({"operator"})), Denied),
        (WEB, GRANT, Denied),
        (AUDITOR, GRANT, Denied),
        (OPERATOR, GRANT, Denied),
        (BOUND_ADMIN, Grant(API, roles=frozenset({"tenant-admin"})), Denied),
        (BOUND_ADMIN, Grant(API, roles=frozenset({"key-user@dev"})), Denied),
        (BOUND_ADMIN, Grant(IdentityName("acme", "system", "api")), Denied),
        (BOUND_ADMIN, Grant(SiteName("acme", "lisbon")), Denied),
    ],
)
def test_nobody_grants_beyond_his_reach(kms: Kms, who: Any, grant: Grant, error: type[KmsError]) -> None:
    with pytest.raises(error):
        token(kms, grant, who)
    assert kms.last_event()["action"] == "CreateJoinToken"
    assert kms.last_event()["decision"] in ("DENY", "FAIL")


def test_administrator_of_a_namespace_grants_its_roles(kms: Kms) -> None:
    grant = Grant(API, roles=frozenset({"policy-author@prod"}))
    assert authenticate(kms, enrol(kms, token(kms, grant, BOUND_ADMIN))).roles == {"policy-author@prod"}


def test_site_enrols_under_its_tenant(kms: Kms) -> None:
    site = SiteName("acme", "lisbon")
    assert authenticate(kms, enrol(kms, token(kms, Grant(site)))).identity == site


def test_identities_are_listed_by_namespace(kms: Kms) -> None:
    enrol(kms, token(kms))
    listed = kms.run(identities(kms).list(kms.call(ADMIN), PROD, "", 10)).items
    assert [item.name for item in listed] == [str(API)]
    everywhere = kms.run(identities(kms).list(kms.call(ADMIN), ACME, "", 10)).items
    assert {item.name for item in everywhere} > {str(API)}


@pytest.mark.parametrize("csr", [b"", b"-----BEGIN", b"\x30\x00", b"x" * 17_000])
def test_bad_request_leaves_the_token_usable(kms: Kms, csr: bytes) -> None:
    join_token = token(kms)
    with pytest.raises(InvalidField):
        kms.run(identities(kms).enrol(join_token, csr, address="", request_id="", now=kms.now))
    assert authenticate(kms, enrol(kms, join_token)).identity == API


def test_token_is_taken_back_by_revoking_who_was_to_enrol_by_it(kms: Kms) -> None:
    made, again = token(kms), token(kms)
    revoked = kms.run(identities(kms).revoke(kms.call(ADMIN), API, "", "sent to the wrong place"))
    assert (revoked.record.revoke_time, revoked.record.certificates) == (kms.now, ())
    for lost in (made, again):
        with pytest.raises(Unauthenticated, match="unknown, used or expired"):
            enrol(kms, lost)
    kms.pass_time(timedelta(seconds=1))
    assert authenticate(kms, enrol(kms, token(kms))).identity == API


def test_who_is_not_invited_either_is_not_there_to_be_revoked(kms: Kms) -> None:
    token(kms)
    kms.pass_time(timedelta(minutes=10))
    with pytest.raises(NotFound):
        kms.run(identities(kms).revoke(kms.call(ADMIN), API, "", ""))
