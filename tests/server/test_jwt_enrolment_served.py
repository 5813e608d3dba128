"""Service accounts of a cluster over the wire: keys published over HTTPS, rotated, and tokens spent."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from external.https_site import Site, https_site
from identity.token_workshop import AUDIENCE, claims, jwk, jwks, token
from server.kms_harness import ACME, PROD, RunningKms, running_kms

from blindfold.secret import SecretBytes
from kms.client.credentials import read_credentials
from kms.client.enrolment import enrol_with_jwt
from kms.client.errors import CallAlreadyExists, CallDenied, CallFailed, CallInvalid, CallUnauthenticated
from kms.errors import Unauthenticated
from kms.external.https import HttpsReader
from kms.services.issuer_keys import RETRY

SERVICE = "JwtIssuerService"
CLUSTER = f"{ACME}/jwtIssuers/cluster"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What a cluster publishes of itself."""
    with https_site(tmp_path_factory.mktemp("cluster")) as site:
        description = {"issuer": site.url, "jwks_uri": f"{site.url}/openid/v1/jwks"}
        site.pages["/.well-known/openid-configuration"] = (200, json.dumps(description).encode())
        publish(site, "EdDSA")
        yield site


def publish(site: Site, *kinds: str) -> None:
    site.pages["/openid/v1/jwks"] = (200, jwks(*map(jwk, kinds)))


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory, cluster: Site) -> Iterator[RunningKms]:
    hosts = ("localhost",)
    reader = HttpsReader(hosts, cluster.context)
    directory = tmp_path_factory.mktemp("kms")
    with running_kms(directory, issuer_hosts=hosts, fetch=reader) as started:
        create(started, "cluster", settings(cluster))
        yield started


def settings(cluster: Site, **changed: Any) -> dict[str, Any]:
    return {
        "issuer": cluster.url,
        "audience": AUDIENCE,
        "subjects": ["system:serviceaccount:prod:*"],
        "claims": {"/kubernetes.io/namespace": "prod"},
        "namespace": "/kubernetes.io/namespace",
        "identity": "/kubernetes.io/serviceaccount/name",
        "labels": {"from": "cluster"},
        "roles": ["auditor"],
        **changed,
    }


def create(kms: RunningKms, issuer_id: str, made: dict[str, Any], who: str = "admin") -> dict[str, Any]:
    request = {"parent": ACME, "jwt_issuer_id": issuer_id, "jwt_issuer": made}
    return kms.as_(who).call(SERVICE, "CreateJwtIssuer", request)


def account(cluster: Site, kind: str = "EdDSA", **changed: Any) -> SecretBytes:
    return token(claims(datetime.now(UTC), iss=cluster.url, **changed), kind)


def enrol(kms: RunningKms, directory: Any, made: SecretBytes, issuer: str = CLUSTER) -> Any:
    root = kms.parts.identity_trust.current().issuer.root_fingerprint
    return enrol_with_jwt(kms.enrolment_target, root, issuer, made, directory)


def test_service_account_enrols_by_keys_that_the_cluster_publishes(kms, cluster, tmp_path):
    credentials = enrol(kms, tmp_path / "web", account(cluster))
    assert credentials.spiffe_id == "spiffe://kms.test/tenant/acme/ns/prod/sa/web"
    assert read_credentials(tmp_path / "web").spiffe_id == credentials.spiffe_id
    identity = kms.as_("admin").call("IdentityService", "GetIdentity", {"name": f"{PROD}/identities/web"})
    assert (identity["origin"], identity["labels"], identity["roles"]) == (
        CLUSTER,
        {"from": "cluster"},
        ["auditor"],
    )


def test_token_is_spent_and_in_no_event(kms, cluster, tmp_path):
    made = account(cluster, jti="spent")
    enrol(kms, tmp_path / "first", made)
    with pytest.raises(CallUnauthenticated, match="used before"):
        enrol(kms, tmp_path / "second", made)
    assert made.reveal().decode() not in repr(kms.events())


def test_rotated_key_is_found_as_soon_as_a_token_names_it(kms, cluster, tmp_path):
    enrol(kms, tmp_path / "old", account(cluster, jti="old"))
    publish(cluster, "EdDSA", "ES256")
    kms.ticks[0] += RETRY
    assert enrol(kms, tmp_path / "new", account(cluster, "ES256"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"aud": ["https://kubernetes.default.svc"]}, "audience"),
        ({"sub": "system:serviceaccount:dev:web"}, "subject"),
        ({"exp": 1}, "expired"),
        ({"iat": int(datetime.now(UTC).timestamp()) + 3600}, "not valid yet"),
    ],
)
def test_token_that_is_not_for_this_is_refused_and_counted(kms, cluster, tmp_path, changed, words):
    with pytest.raises(CallUnauthenticated, match=words):
        enrol(kms, tmp_path / "x", account(cluster, **changed))
    assert not (tmp_path / "x").exists()


def test_unsigned_token_is_refused(kms, cluster, tmp_path):
    signed = account(cluster).reveal()
    body = signed.split(b".")[1]
    for head in (b"eyJhbGciOiJub25lIiwia2lkIjoiRWREU0EifQ", signed.split(b".")[0]):
        with pytest.raises(CallUnauthenticated, match="not one of this issuer"):
            enrol(kms, tmp_path / "x", SecretBytes(head + b"." + body + b"."))


def test_server_of_another_authority_never_gets_the_token(kms, cluster, tmp_path):
    with pytest.raises(Unauthenticated, match="do not send it the token"):
        enrol_with_jwt(kms.enrolment_target, bytes(32), CLUSTER, account(cluster), tmp_path / "x")


def test_name_that_is_no_issuer_is_told_so(kms, cluster, tmp_path):
    with pytest.raises(CallInvalid):
        enrol(kms, tmp_path / "x", account(cluster), "cluster")


def test_issuers_are_managed_by_the_administrator(kms, cluster):
    admin, name = kms.as_("admin"), f"{ACME}/jwtIssuers/ci"
    made = create(kms, "ci", settings(cluster, jwks=jwks(jwk("RS256")).decode(), algorithms=["RS256"]))
    assert admin.call(SERVICE, "GetJwtIssuer", {"name": name}) == made
    with pytest.raises(CallAlreadyExists):
        create(kms, "ci", settings(cluster))
    changed = settings(cluster, name=name, etag=made["etag"], subjects=["ci"])
    updated = admin.call(SERVICE, "UpdateJwtIssuer", {"jwt_issuer": changed})
    assert (updated["subjects"], "jwks" in updated) == (["ci"], False)
    listed = admin.call(SERVICE, "ListJwtIssuers", {"parent": ACME})["jwt_issuers"]
    assert [item["name"] for item in listed] == [name, CLUSTER]
    with pytest.raises(CallFailed):
        admin.call(SERVICE, "DeleteJwtIssuer", {"name": name, "etag": made["etag"]})
    admin.call(SERVICE, "DeleteJwtIssuer", {"name": name})
    assert len(admin.call(SERVICE, "ListJwtIssuers", {"parent": ACME})["jwt_issuers"]) == 1


@pytest.mark.parametrize("who", ["author", "batch", "stranger", "operator"])
def test_nobody_else_manages_issuers(kms, cluster, who):
    with pytest.raises(CallDenied):
        create(kms, "x", settings(cluster), who)
    for method in ("GetJwtIssuer", "DeleteJwtIssuer"):
        with pytest.raises(CallDenied):
            kms.as_(who).call(SERVICE, method, {"name": CLUSTER})


def test_revoked_identity_is_deleted_and_its_name_free(kms, cluster, tmp_path):
    name = {"name": f"{PROD}/identities/gone"}
    made = {"kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "gone"}}}
    enrol(kms, tmp_path / "gone", account(cluster, **made))
    admin = kms.as_("admin")
    with pytest.raises(CallFailed, match="not revoked"):
        admin.call("IdentityService", "DeleteIdentity", name)
    admin.call("IdentityService", "RevokeIdentity", name)
    with pytest.raises(CallFailed, match="is revoked"):
        enrol(kms, tmp_path / "again", account(cluster, jti="2", **made))
    admin.call("IdentityService", "DeleteIdentity", name)
    assert enrol(kms, tmp_path / "again", account(cluster, jti="3", **made))
