"""Enrolment by the token of an issuer: as whom, once, and as long as the issuer is trusted."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from identity.token_workshop import AUDIENCE, URL, claims, jwk, jwks
from identity.token_workshop import token as signed
from services.conftest import ACME, ADMIN, AUTHOR, OPERATOR, PROD, START, Kms, caller
from services.test_identities import authenticate, enrol, leaf_pem, token

from blindfold.secret import SecretBytes
from kms.client.credentials import generate_key_pair
from kms.errors import (
    AlreadyExists,
    Denied,
    EtagMismatch,
    InvalidField,
    KmsError,
    NotFound,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from kms.identity.admission import Admission
from kms.identity.grant import Grant
from kms.identity.issued import CertificateBundle
from kms.identity.web_tokens import Jwks, parse_jwks
from kms.model.names import IdentityName, JwtIssuerName, SiteName
from kms.model.tenant_lifecycle import TenantVerb
from kms.services.jwt_enrolment import JwtEnrolment
from kms.services.jwt_issuers import MAX_ISSUERS, IssuerSettings

CLUSTER = JwtIssuerName("acme", "cluster")
WEB = IdentityName("acme", "prod", "web")
ADMISSION = Admission(
    subjects=("system:serviceaccount:*",),
    claims={},
    namespace="/kubernetes.io/namespace",
    identity="/kubernetes.io/serviceaccount/name",
    labels={"from": "cluster"},
    roles=frozenset({"key-user@prod"}),
)
SETTINGS = IssuerSettings(URL, AUDIENCE, jwks(jwk("EdDSA"), jwk("RS256")).decode(), (), ADMISSION)
SECOND = timedelta(seconds=1)


def trust(
    kms: Kms, name: JwtIssuerName = CLUSTER, settings: IssuerSettings = SETTINGS, who: Any = ADMIN
) -> Any:
    return kms.run(kms.parts.jwt_issuers.create(kms.call(who), name, settings, ""))


def use(
    kms: Kms, made: SecretBytes | None = None, issuer: JwtIssuerName = CLUSTER, csr: bytes | None = None
) -> CertificateBundle:
    return kms.run(
        kms.parts.jwt_enrolment.enrol(
            issuer,
            made or fresh(kms),
            csr or generate_key_pair().csr,
            address="192.0.2.7",
            request_id="e",
            now=kms.now,
        )
    )


def fresh(kms: Kms, **changed: Any) -> SecretBytes:
    return signed(claims(kms.now, **changed), "EdDSA")


def account(name: str, namespace: str = "prod") -> Mapping[str, Any]:
    return {"kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name}}}


def revoke(kms: Kms, name: IdentityName = WEB) -> None:
    kms.run(kms.parts.identities.revoke(kms.call(ADMIN), name, "", ""))


def renew(kms: Kms, bundle: CertificateBundle) -> CertificateBundle:
    who, leaf = authenticate(kms, bundle), kms.parts.authenticator.leaf(leaf_pem(bundle), kms.now)
    return kms.run(kms.parts.identities.renew(kms.call(who), leaf, generate_key_pair().csr))


def test_service_account_becomes_the_identity_that_its_claims_name(kms: Kms) -> None:
    trust(kms)
    who = authenticate(kms, use(kms))
    assert who.identity == WEB
    assert (dict(who.labels), who.roles) == ({"from": "cluster"}, {"key-user@prod"})
    record = kms.run(kms.parts.identities.get(kms.call(ADMIN), WEB)).record
    assert record.origin == str(CLUSTER)
    event = kms.events()[-2]
    assert (event["action"], event["resource"], event["caller"]) == ("Enrol", str(WEB), who.spiffe_id)
    assert event["details"]["issuer"] == str(CLUSTER)


def test_bad_signing_request_leaves_the_token_usable(kms: Kms) -> None:
    trust(kms)
    made = fresh(kms)
    with pytest.raises(InvalidField):
        use(kms, made, csr=b"no request")
    assert use(kms, made)


@pytest.mark.parametrize("name", [JwtIssuerName("acme", "other"), JwtIssuerName("globex", "cluster")])
def test_issuer_that_is_not_there_and_signature_that_is_not_right_get_one_answer(
    kms: Kms, name: JwtIssuerName
) -> None:
    trust(kms)
    texts = set()
    for made, issuer in ((fresh(kms), name), (signed(claims(kms.now), "ES256"), CLUSTER)):
        with pytest.raises(Unauthenticated) as caught:
            use(kms, made, issuer)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_namespace_that_is_not_there_is_refused(kms: Kms) -> None:
    trust(kms)
    with pytest.raises(Unauthenticated, match="no namespace"):
        use(kms, fresh(kms, **account("web", "nowhere")))


def test_tenant_that_is_stopped_takes_nobody_in(kms: Kms) -> None:
    trust(kms)
    change = kms.parts.tenant_life.change
    kms.run(change(kms.call(OPERATOR), ACME, TenantVerb.DISABLE, ""))
    with pytest.raises(Unauthenticated, match="no namespace"):
        use(kms)
    kms.run(change(kms.call(OPERATOR), ACME, TenantVerb.ENABLE, ""))
    assert use(kms).identity == str(WEB)


def test_issuer_takes_no_identity_over_that_came_another_way(kms: Kms) -> None:
    trust(kms)
    enrol(kms, token(kms, Grant(WEB, roles=frozenset({"tenant-admin"}))))
    with pytest.raises(WrongState, match="other means"):
        use(kms)
    assert kms.last_event()["reason"] == "WRONG_STATE"
    other = JwtIssuerName("acme", "other")
    trust(kms, other)
    use(kms, fresh(kms, **account("api")))
    with pytest.raises(WrongState, match="other means"):
        use(kms, fresh(kms, **account("api"), jti="2"), other)


def test_administrator_takes_an_identity_over_by_a_join_token_once_he_has_revoked_it(kms: Kms) -> None:
    """Or who came by the issuer would renew into what the administrator grants somebody else."""
    trust(kms)
    old = use(kms)
    admins = Grant(WEB, roles=frozenset({"key-admin"}))
    with pytest.raises(WrongState, match="other means"):
        enrol(kms, token(kms, admins))
    revoke(kms)
    kms.pass_time(SECOND)
    assert authenticate(kms, enrol(kms, token(kms, admins))).roles == {"key-admin"}
    with pytest.raises(Unauthenticated, match="revoked"):
        renew(kms, old)
    with pytest.raises(WrongState, match="other means"):
        use(kms, fresh(kms, jti="2"))


def test_revoked_identity_is_not_enrolled_by_its_issuer_until_it_is_deleted(kms: Kms) -> None:
    trust(kms)
    old = use(kms)
    with pytest.raises(WrongState, match="not revoked"):
        kms.run(kms.parts.identities.delete(kms.call(ADMIN), WEB, ""))
    revoke(kms)
    kms.pass_time(SECOND)
    with pytest.raises(WrongState, match="is revoked"):
        use(kms, fresh(kms))
    with pytest.raises(EtagMismatch):
        kms.run(kms.parts.identities.delete(kms.call(ADMIN), WEB, "99"))
    kms.run(kms.parts.identities.delete(kms.call(ADMIN), WEB, ""))
    assert authenticate(kms, use(kms, fresh(kms, jti="3"))).identity == WEB
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(kms, old)


def test_identity_renews_while_its_issuer_is_trusted_and_no_longer(kms: Kms) -> None:
    trust(kms)
    bundle = renew(kms, use(kms))
    kms.run(kms.parts.jwt_issuers.delete(kms.call(ADMIN), CLUSTER, ""))
    with pytest.raises(Unauthenticated, match="is gone"):
        renew(kms, bundle)
    with pytest.raises(Unauthenticated):
        use(kms, fresh(kms, jti="2"))


def test_change_of_an_issuer_counts_from_the_next_token_on(kms: Kms) -> None:
    made = trust(kms)
    old = use(kms)
    narrower = replace(SETTINGS, admission=replace(ADMISSION, labels={"from": "new"}, roles=frozenset()))
    changed = kms.run(kms.parts.jwt_issuers.update(kms.call(ADMIN), CLUSTER, narrower, made.etag))
    assert (changed.record.create_time, changed.record.roles) == (START, ())
    assert dict(authenticate(kms, renew(kms, old)).labels) == {"from": "cluster"}
    assert dict(authenticate(kms, use(kms, fresh(kms, jti="2"))).labels) == {"from": "new"}
    with pytest.raises(EtagMismatch):
        kms.run(kms.parts.jwt_issuers.update(kms.call(ADMIN), CLUSTER, SETTINGS, made.etag))


def test_issuer_that_is_replaced_while_its_keys_are_fetched_enrols_by_what_it_is_then(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trust(kms)
    replaced = [made]

    async def replace_meanwhile(self: JwtEnrolment, settings: IssuerSettings, key_id: str) -> Jwks:
        for old in replaced[:]:
            replaced.remove(old)
            narrower = replace(SETTINGS, admission=replace(ADMISSION, roles=frozenset()))
            await kms.parts.jwt_issuers.delete(kms.call(ADMIN), CLUSTER, old.etag)
            await kms.parts.jwt_issuers.create(kms.call(ADMIN), CLUSTER, narrower, "")
        return parse_jwks(settings.jwks.encode())

    monkeypatch.setattr(JwtEnrolment, "_keys_of", replace_meanwhile)
    assert authenticate(kms, use(kms)).roles == frozenset()


def test_issuers_are_read_listed_and_bounded_in_number(kms: Kms) -> None:
    for index in range(MAX_ISSUERS):
        trust(kms, JwtIssuerName("acme", f"i{index}"))
    with pytest.raises(WrongState, match="32"):
        trust(kms)
    listed = kms.run(kms.parts.jwt_issuers.list(kms.call(ADMIN), ACME, "", 100)).items
    assert len(listed) == MAX_ISSUERS
    first = kms.run(kms.parts.jwt_issuers.get(kms.call(ADMIN), JwtIssuerName("acme", "i0"))).record
    assert IssuerSettings.of(first) == replace(SETTINGS, admission=replace(ADMISSION))
    with pytest.raises(AlreadyExists):
        trust(kms, JwtIssuerName("acme", "i0"))
    with pytest.raises(NotFound):
        kms.run(kms.parts.jwt_issuers.delete(kms.call(ADMIN), CLUSTER, ""))


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
        (ADMIN, ("enroller@prod",), InvalidField),
    ],
)
def test_nobody_trusts_an_issuer_beyond_his_reach(
    kms: Kms, who: Any, roles: tuple[str, ...], error: type[KmsError]
) -> None:
    settings = replace(SETTINGS, admission=replace(ADMISSION, roles=frozenset(roles)))
    with pytest.raises(error):
        trust(kms, settings=settings, who=who)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"issuer": "http://oidc.example"}, "issuer"),
        ({"issuer": "https://"}, "issuer"),
        ({"issuer": "https://a@oidc.example"}, "issuer"),
        ({"issuer": "https://oidc.example?x"}, "issuer"),
        ({"issuer": "https://oidc.example#"}, "issuer"),
        ({"issuer": "https://oidc.example:x"}, "issuer"),
        ({"issuer": "https://oidc.example:0"}, "issuer"),
        ({"issuer": "https://[oidc"}, "issuer"),
        ({"issuer": "https://oidc.example/" + "x" * 256}, "issuer"),
        ({"audience": ""}, "audience"),
        ({"jwks": "{}"}, "jwks"),
        ({"algorithms": ("HS256",)}, "algorithms"),
        ({"algorithms": ("none",)}, "algorithms"),
    ],
)
def test_settings_that_would_admit_anything_vague_are_refused(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        replace(SETTINGS, **changed)
    assert caught.value.field == field


def test_keys_are_discovered_from_the_operators_hosts_alone(kms: Kms) -> None:
    with pytest.raises(InvalidField, match="does not let keys be fetched"):
        trust(kms, settings=replace(SETTINGS, jwks=""))


def test_namespace_with_enrolled_identities_keeps_them(kms: Kms) -> None:
    trust(kms)
    use(kms)
    with pytest.raises(WrongState, match="identities"):
        kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), PROD, ""))


def test_issuer_whose_keys_cannot_be_had_is_unavailable_and_the_token_unspent(kms: Kms) -> None:
    made = trust(kms)
    record = replace(made.record, jwks="")
    event = kms.call(ADMIN).event("Test", "", "ALLOW")
    kms.vault.store.commit([made.put(record)], [event]).result()
    text = fresh(kms)
    with pytest.raises(Unavailable) as caught:
        use(kms, text)
    assert caught.value.message == "the issuer's keys cannot be had now; try again later"
    loaded = kms.run(kms.parts.jwt_issuers.get(kms.call(ADMIN), CLUSTER))
    kms.vault.store.commit([loaded.put(made.record)], [event]).result()
    assert use(kms, text)
