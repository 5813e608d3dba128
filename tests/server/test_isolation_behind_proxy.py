"""The walk of test_isolation.py on the listener for proxies: whoever is refused is refused there too."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from identity.corporate_ca import Company, certificate_pem
from identity.token_workshop import AUDIENCE, URL, claims, jwk, jwks, token
from server.asking import OK, Outcome, ask, ask_well
from server.kms_harness import ACME, RunningKms
from server.made_requests import attempts
from server.rotation_desk import Desk
from server.server_harness import Authority
from server.tenant_walk import (
    DAY,
    DENIED,
    MISSING,
    OF_NO_TENANT,
    REAL,
    UNAUTHENTICATED,
    UNAVAILABLE,
    admin,
    asked,
    furnish,
    texts,
)
from server.watched_kms import EDGE, WatchedKms, watched_kms

from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.credentials import read_credentials
from kms.client.enrolment import enrol_with_jwt
from kms.identity.grant import Grant
from kms.model.names import OperatorName
from kms.server.forwarded import ENVOY_HEADER

RENEW = "/kms.v1.IdentityService/RenewCertificate"
GET_TENANT = "/kms.v1.TenantService/GetTenant"


@dataclass(frozen=True)
class Behind:
    """A proxy's channel. Each call on it bears what the proxy says of its client."""

    channel: grpc.Channel
    said: tuple[tuple[str, str], ...]

    def __getattr__(self, kind: str) -> Any:
        open_call = getattr(self.channel, kind)

        def calling(*how: Any) -> Any:
            act = open_call(*how)
            return lambda sent, *, metadata, **more: act(sent, metadata=[*metadata, *self.said], **more)

        return calling


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedKms]:
    with watched_kms(tmp_path_factory.mktemp("proxied")) as watched:
        furnish(watched)
        watched.kms.issue(Grant(EDGE), watched.kms.directory / "callers" / "edge")
        yield watched


def of(directory: Path) -> bytes:
    """The leaf in PEM."""
    return b"".join(read_credentials(directory).certificate_pem.partition(b"-----END CERTIFICATE-----\n")[:2])


def forwarded(pem: bytes) -> tuple[str, str]:
    return ENVOY_HEADER, f'Cert="{quote(pem.decode(), safe="")}"'


@contextmanager
def behind(watched: WatchedKms, pem: bytes, proxy: Path | None = None) -> Iterator[Behind]:
    """Calls of who has the certificate, through the edge unless it is another's connection."""
    through = proxy or watched.kms.directory / "callers" / "edge"
    with open_channel(watched.proxy_target, through) as channel:
        yield Behind(channel, (forwarded(pem),))


def get_tenant(watched: WatchedKms, channel: Any) -> Outcome:
    [attempt] = attempts(watched.proxy.methods[GET_TENANT], (ACME,))
    return ask(channel, attempt)


def issued(watched: WatchedKms, grant: Grant, directory: Path, **how: Any) -> bytes:
    watched.kms.issue(grant, directory, **how)
    return of(directory)


def test_it_serves_what_the_main_listener_does_and_nothing_to_enrol(watched: WatchedKms) -> None:
    assert watched.proxy.methods.keys() == watched.main.methods.keys()
    with behind(watched, of(watched.kms.directory / "callers" / "mallory")) as channel:
        for method in watched.enrolment.methods.values():
            [attempt] = attempts(method, ())
            assert ask(channel, attempt).code == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[arg-type]


@pytest.mark.parametrize("identifier", [REAL, MISSING])
def test_an_identity_of_another_tenant_is_denied_everything(watched: WatchedKms, identifier: str) -> None:
    with behind(watched, of(watched.kms.directory / "callers" / "mallory")) as channel:
        outcomes = asked(channel, watched.proxy, identifier)
    told = {name: (item.code, item.text, item.reason) for name, item in outcomes.items()}
    assert told == dict.fromkeys(outcomes, DENIED)


@pytest.mark.parametrize("path", [path for path in OF_NO_TENANT if path != RENEW])
def test_what_names_no_tenant_is_answered(watched: WatchedKms, path: str) -> None:
    [attempt] = attempts(watched.proxy.methods[path], ())
    with behind(watched, of(watched.kms.directory / "callers" / "mallory")) as channel:
        assert ask_well(channel, attempt).code == OK  # type: ignore[arg-type]


Client = Callable[[WatchedKms, Path], bytes]


def expired(watched: WatchedKms, directory: Path) -> bytes:
    return issued(watched, admin("expired"), directory, age=2 * DAY)


def revoked(watched: WatchedKms, directory: Path) -> bytes:
    pem = issued(watched, admin("revoked"), directory)
    with behind(watched, pem) as channel:
        assert get_tenant(watched, channel).code is OK
    name = str(admin("revoked").identity)
    watched.kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": name})
    return pem


def self_signed(watched: WatchedKms, directory: Path) -> bytes:
    return Authority("mallory's own").issue("mallory")[1]


def of_a_company_that_is_not_trusted(watched: WatchedKms, directory: Path) -> bytes:
    return certificate_pem(Company(datetime.now(UTC) - timedelta(hours=1)).leaf())


def an_operator(watched: WatchedKms, directory: Path) -> bytes:
    return issued(watched, Grant(OperatorName("olga"), roles=frozenset({"operator"})), directory)


def the_proxy_itself(watched: WatchedKms, directory: Path) -> bytes:
    return of(watched.kms.directory / "callers" / "edge")


CLIENTS = (expired, revoked, self_signed, of_a_company_that_is_not_trusted, an_operator, the_proxy_itself)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_no_call_for_the_unknown_reaches_a_servicer(
    watched: WatchedKms, client: Client, tmp_path: Path
) -> None:
    pem = client(watched, tmp_path / "client")
    with behind(watched, pem) as channel:
        assert_all_refused(watched, channel)


def assert_all_refused(watched: WatchedKms, channel: Any) -> None:
    walked = [item for method in watched.proxy.methods.values() for item in attempts(method, texts(REAL))]
    watched.proxy.reached.clear()
    assert {ask(channel, attempt).code for attempt in walked} == {UNAUTHENTICATED}
    assert watched.proxy.reached == []


def test_nobody_is_believed_but_the_proxy(watched: WatchedKms) -> None:
    victim = of(watched.kms.credentials("admin"))
    with behind(watched, victim, watched.kms.directory / "callers" / "mallory") as channel:
        assert_all_refused(watched, channel)


def test_a_proxy_says_for_whom(watched: WatchedKms) -> None:
    with open_channel(watched.proxy_target, watched.kms.directory / "callers" / "edge") as channel:
        assert_all_refused(watched, channel)


def test_without_a_certificate_there_is_no_connection(watched: WatchedKms) -> None:
    root = read_credentials(watched.kms.credentials("admin")).ca_pem
    with open_enrolment_channel(watched.proxy_target, root) as channel:
        told = Behind(channel, (forwarded(of(watched.kms.credentials("admin"))),))
        assert get_tenant(watched, told).code == UNAVAILABLE


def test_a_renewal_needs_a_connection_of_ones_own(watched: WatchedKms) -> None:
    [attempt] = attempts(watched.proxy.methods[RENEW], ())
    with behind(watched, of(watched.kms.credentials("admin"))) as channel:
        assert ask(channel, attempt).code == UNAUTHENTICATED


def test_who_enrolled_by_a_token_of_an_issuer_calls_through_a_proxy(
    watched: WatchedKms, tmp_path: Path
) -> None:
    kms = watched.kms
    issuer = {
        "issuer": URL,
        "audience": AUDIENCE,
        "jwks": jwks(jwk("EdDSA")).decode(),
        "subjects": ["*"],
        "namespace": "prod",
        "identity": "from-jwt",
        "roles": ["tenant-admin"],
    }
    request = {"parent": ACME, "jwt_issuer_id": "cluster", "jwt_issuer": issuer}
    kms.as_("admin").call("JwtIssuerService", "CreateJwtIssuer", request)
    root = kms.parts.identity_trust.current().issuer.root_fingerprint
    enrol_with_jwt(
        kms.enrolment_target,
        root,
        f"{ACME}/jwtIssuers/cluster",
        token(claims(kms.now), "EdDSA"),
        tmp_path / "web",
    )
    with behind(watched, of(tmp_path / "web")) as channel:
        assert get_tenant(watched, channel).code is OK
        name = f"{ACME}/namespaces/prod/identities/from-jwt"
        kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": name})
        assert get_tenant(watched, channel).code is UNAUTHENTICATED


def test_who_has_a_certificate_of_the_tenant_s_own_authority_calls_through_a_proxy(
    watched: WatchedKms,
) -> None:
    company, kms = Company(datetime.now(UTC) - timedelta(hours=1)), watched.kms
    made = {
        "certificates_pem": company.pem,
        "subjects": ["*"],
        "namespace": "prod",
        "identity": "/subject/CN",
        "roles": ["tenant-admin"],
    }
    request = {"parent": ACME, "trusted_authority_id": "corp", "trusted_authority": made}
    kms.as_("admin").call("TrustedAuthorityService", "CreateTrustedAuthority", request)
    name = f"{ACME}/trustedAuthorities/corp"
    first, second = (certificate_pem(company.leaf(serial=serial)) for serial in (7, 8))
    with behind(watched, first) as one, behind(watched, second) as two:
        assert get_tenant(watched, one).code is get_tenant(watched, two).code is OK
        event = last(kms, "GetTenant")
        assert (event["caller"].endswith("/authority/corp/ns/prod/sa/web"), event["details"]["via"]) == (
            True,
            "spiffe://kms.test/tenant/globex/ns/prod/sa/edge",
        )
        revocation = {"name": name, "serial_number": "7"}
        kms.as_("admin").call("TrustedAuthorityService", "RevokeCertificate", revocation)
        assert get_tenant(watched, one).code is UNAUTHENTICATED
        assert get_tenant(watched, two).code is OK
        kms.as_("admin").call("TrustedAuthorityService", "DeleteTrustedAuthority", {"name": name})
        assert get_tenant(watched, two).code is UNAUTHENTICATED


def last(kms: RunningKms, action: str) -> dict[str, Any]:
    return [event for event in kms.events() if event["action"] == action][-1]


def test_who_hangs_on_a_retired_authority_is_refused_behind_a_proxy_and_so_is_the_proxy(
    watched: WatchedKms, tmp_path: Path
) -> None:
    """The last of this module: all that it began with is of the authority that is retired."""
    client = issued(watched, admin("late"), tmp_path / "late")
    desk = Desk(watched.kms)
    first = desk.trust()["authorities"][0]["name"]
    desk.activate()
    desk.renew("operator")
    renewed_edge = tmp_path / "edge"
    watched.kms.issue(Grant(EDGE), renewed_edge)
    early = issued(watched, admin("early"), tmp_path / "early")
    with (
        behind(watched, client, renewed_edge) as left_behind,
        behind(watched, early, renewed_edge) as renewed,
        behind(watched, early) as by_an_old_proxy,
    ):
        assert {get_tenant(watched, who).code for who in (left_behind, renewed, by_an_old_proxy)} == {OK}
        desk.retire(first, force=True)
        assert get_tenant(watched, left_behind).code is UNAUTHENTICATED
        assert get_tenant(watched, renewed).code is OK
        assert get_tenant(watched, by_an_old_proxy).code is UNAUTHENTICATED
