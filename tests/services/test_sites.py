"""Sites: they enrol workloads of their own, of what they have themselves, until they are revoked."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ADMIN, PROD, Kms, caller
from services.test_identities import authenticate, enrol, identities, leaf_pem, token

from kms.client.credentials import generate_key_pair
from kms.errors import Denied, InvalidField, KmsError, Unauthenticated
from kms.identity.grant import Grant
from kms.identity.issued import CertificateBundle
from kms.model.caller import Caller
from kms.model.names import IdentityName, OperatorName, SiteName, SiteWorkloadName

LISBON, PORTO = SiteName("acme", "lisbon"), SiteName("acme", "porto")
CAMERA = SiteWorkloadName("acme", "prod", "lisbon", "camera")
SITE = Grant(
    LISBON,
    ("lisbon.test",),
    {"app": "web", "zone": "pt"},
    frozenset({"enroller@prod", "key-user@prod", "auditor"}),
)
SECOND = timedelta(seconds=1)


def site(kms: Kms, grant: Grant = SITE) -> Caller:
    """The site as it calls, freshly enrolled by the administrator."""
    return authenticate(kms, enrol(kms, token(kms, grant)))


def workload(kms: Kms, who: Caller, **fields: Any) -> CertificateBundle:
    return enrol(kms, token(kms, Grant(CAMERA, **fields), who))


def revoke(kms: Kms, name: Any, serial: str = "") -> None:
    kms.run(identities(kms).revoke(kms.call(ADMIN), name, serial, ""))


def test_site_enrols_a_workload_that_is_named_after_it(kms: Kms) -> None:
    granted = {
        "dns_names": ("cam.lisbon.test",),
        "labels": {"zone": "pt"},
        "roles": frozenset({"auditor@prod"}),
    }
    who = authenticate(kms, workload(kms, site(kms), **granted))
    assert who.identity == CAMERA
    assert who.spiffe_id == "spiffe://kms.test/tenant/acme/site/lisbon/ns/prod/sa/camera"
    assert who.names[1:] == ("cam.lisbon.test",)
    assert (dict(who.labels), who.roles) == ({"zone": "pt"}, {"auditor@prod"})


@pytest.mark.parametrize(
    "grant",
    [
        Grant(CAMERA),
        Grant(CAMERA, ("lisbon.test",)),
        Grant(CAMERA, labels=SITE.labels),
        Grant(CAMERA, roles=frozenset({"key-user@prod", "auditor"})),
    ],
)
def test_site_grants_what_it_has(kms: Kms, grant: Grant) -> None:
    assert token(kms, grant, site(kms))


@pytest.mark.parametrize(
    ("grant", "error"),
    [
        (Grant(IdentityName("acme", "prod", "web")), Denied),
        (Grant(replace(CAMERA, site="porto")), Denied),
        (Grant(replace(CAMERA, namespace="system")), Denied),
        (Grant(replace(CAMERA, tenant="globex")), Denied),
        (Grant(LISBON), Denied),
        (Grant(PORTO), Denied),
        (Grant(OperatorName("root"), roles=frozenset({"operator"})), Denied),
        (Grant(CAMERA, ("porto.test",)), Denied),
        (Grant(CAMERA, ("evil-lisbon.test",)), Denied),
        (Grant(CAMERA, labels={"app": "db"}), Denied),
        (Grant(CAMERA, labels={"tier": "front"}), Denied),
        (Grant(CAMERA, roles=frozenset({"tenant-admin"})), Denied),
        (Grant(CAMERA, roles=frozenset({"key-user"})), Denied),
        (Grant(CAMERA, roles=frozenset({"key-user@system"})), Denied),
        (Grant(CAMERA, roles=frozenset({"enroller@prod"})), InvalidField),
        (Grant(CAMERA, roles=frozenset({"operator"})), InvalidField),
    ],
)
def test_site_grants_nothing_else(kms: Kms, grant: Grant, error: type[KmsError]) -> None:
    who = site(kms)
    with pytest.raises(error):
        token(kms, grant, who)
    assert kms.last_event()["action"] == "CreateJoinToken"


def test_site_without_the_role_enrols_nobody(kms: Kms) -> None:
    with pytest.raises(Denied):
        token(kms, Grant(CAMERA), site(kms, Grant(LISBON, labels={"app": "web"})))


def test_site_that_administers_the_tenant_still_enrols_its_own_alone(kms: Kms) -> None:
    who = site(kms, Grant(LISBON, roles=frozenset({"tenant-admin"})))
    assert token(kms, Grant(CAMERA, roles=frozenset({"tenant-admin"})), who)
    with pytest.raises(Denied):
        token(kms, Grant(IdentityName("acme", "prod", "web")), who)


@pytest.mark.parametrize("identity", [IdentityName("acme", "prod", "ci"), CAMERA, OperatorName("root")])
def test_the_role_is_for_sites_alone(kms: Kms, identity: Any) -> None:
    with pytest.raises((InvalidField, Denied)):
        token(kms, Grant(identity, roles=frozenset({"enroller"})))
    with pytest.raises(Denied):
        token(kms, Grant(CAMERA), replace(caller("ci", "enroller"), identity=identity))


def test_administrator_enrols_a_sites_workload_too(kms: Kms) -> None:
    grant = Grant(CAMERA, labels={"app": "db"}, roles=frozenset({"key-user@prod"}))
    assert authenticate(kms, enrol(kms, token(kms, grant))).identity == CAMERA


def test_workloads_of_a_site_are_listed_with_their_namespace(kms: Kms) -> None:
    workload(kms, site(kms))
    listed = kms.run(identities(kms).list(kms.call(ADMIN), PROD, "", 10)).items
    assert [item.name for item in listed] == [str(CAMERA)]


def test_revoking_a_site_stops_its_workloads_with_the_next_call_and_no_others(kms: Kms) -> None:
    lisbon, porto = site(kms), site(kms, replace(SITE, identity=PORTO, dns_names=()))
    camera = workload(kms, lisbon)
    other = enrol(kms, token(kms, Grant(replace(CAMERA, site="porto")), porto))
    revoke(kms, LISBON)
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(kms, camera)
    with pytest.raises(Unauthenticated, match="revoked"):
        kms.parts.authenticator.leaf(leaf_pem(camera), kms.now)
    assert authenticate(kms, other)


def test_revoked_sites_workload_cannot_renew(kms: Kms) -> None:
    camera = workload(kms, site(kms))
    who, leaf = authenticate(kms, camera), kms.parts.authenticator.leaf(leaf_pem(camera), kms.now)
    assert kms.run(identities(kms).renew(kms.call(who), leaf, generate_key_pair().csr))
    revoke(kms, LISBON)
    kms.pass_time(SECOND)
    with pytest.raises(Unauthenticated, match="revoked"):
        kms.run(identities(kms).renew(kms.call(who), leaf, generate_key_pair().csr))


def made_before(kms: Kms, name: Any) -> Callable[[], Any]:
    join_token = token(kms, Grant(CAMERA), site(kms))
    revoke(kms, name)
    kms.pass_time(SECOND)
    return lambda: enrol(kms, join_token)


def test_revoking_a_site_voids_the_tokens_it_made(kms: Kms) -> None:
    with pytest.raises(Unauthenticated, match="unknown, used or expired"):
        made_before(kms, LISBON)()


def test_revoking_an_identity_voids_the_tokens_made_for_it(kms: Kms) -> None:
    workload(kms, site(kms))
    with pytest.raises(Unauthenticated, match="unknown, used or expired"):
        made_before(kms, CAMERA)()


def test_revoked_site_makes_no_more_tokens_even_in_a_call_under_way(kms: Kms) -> None:
    who = site(kms)
    revoke(kms, LISBON)
    with pytest.raises(Unauthenticated, match="revoked"):
        token(kms, Grant(CAMERA), who)


def test_site_that_enrolled_again_enrols_workloads_again(kms: Kms) -> None:
    old = workload(kms, site(kms))
    revoke(kms, LISBON)
    kms.pass_time(SECOND)
    new = workload(kms, site(kms))
    assert authenticate(kms, new).identity == CAMERA
    with pytest.raises(Unauthenticated):
        authenticate(kms, old)


def test_revoking_one_certificate_of_a_site_leaves_its_workloads(kms: Kms) -> None:
    bundle = enrol(kms, token(kms, SITE))
    camera = workload(kms, authenticate(kms, bundle))
    revoke(kms, LISBON, bundle.issued.serial)
    assert authenticate(kms, camera).identity == CAMERA


def test_renewal_and_revocation_of_the_site_at_once_leave_no_certificate_behind(kms: Kms) -> None:
    camera = workload(kms, site(kms))
    who, leaf = authenticate(kms, camera), kms.parts.authenticator.leaf(leaf_pem(camera), kms.now)
    revoked = kms.call(ADMIN)
    kms.pass_time(SECOND)

    async def both() -> list[Any]:
        acts = [
            identities(kms).revoke(revoked, LISBON, "", ""),
            identities(kms).renew(kms.call(who), leaf, generate_key_pair().csr),
        ]
        return await asyncio.gather(*acts, return_exceptions=True)

    _, renewed = kms.run(both())
    assert isinstance(renewed, Exception)
