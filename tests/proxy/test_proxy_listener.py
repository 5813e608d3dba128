"""The listener for proxies: for whom a proxy may speak, and who may not speak for anybody."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from identity.corporate_ca import Company
from identity.token_workshop import jwk, jwks
from proxy.conftest import NGINX_HEADER, SPIFFE_EDGE, Addresses, Site, last_event, served

from kms.client.channel import open_channel
from kms.client.errors import CallDenied, CallFailed, from_rpc_error
from kms.server.call import Call
from kms.server.interceptors.forwarding import UnbelievedHeaders
from protos.kms.v1.identity_service_pb2 import (
    CreateJoinTokenRequest,
    RenewCertificateRequest,
    RenewCertificateResponse,
)
from protos.kms.v1.jwt_issuer_service_pb2 import CreateJwtIssuerRequest
from protos.kms.v1.key_service_pb2 import ListKeysRequest, ListKeysResponse
from protos.kms.v1.trusted_authority_service_pb2 import CreateTrustedAuthorityRequest

PARENT = "tenants/acme/namespaces/system"
ADMITTED = {"subjects": ["*"], "namespace": "prod", "identity": "/sub"}
JWT_ISSUER = {
    "issuer": "https://oidc.example",
    "audience": "kms",
    "jwks": jwks(jwk("EdDSA")).decode(),
    **ADMITTED,
}
AUTHORITY = {"certificates_pem": Company(datetime.now(UTC)).pem, **ADMITTED}
Metadata = Sequence[tuple[str, str]]


@pytest.fixture(scope="module")
def kms(site: Site) -> Iterator[Addresses]:
    with served(site) as addresses:
        yield addresses


@pytest.fixture
def forwarded(site: Site) -> Callable[..., list[tuple[str, str]]]:
    """What the edge sends for a client at an address."""

    def metadata(who: str, address: str = "192.0.2.7") -> list[tuple[str, str]]:
        escaped = quote(site.certificate(who), safe="")
        return [(NGINX_HEADER, escaped), ("x-forwarded-for", address)]

    return metadata


def list_keys(site: Site, target: str, connects_as: str, metadata: Metadata = ()) -> ListKeysResponse:
    return call(
        site,
        target,
        connects_as,
        metadata,
        ListKeysRequest(parent=PARENT),
        ListKeysResponse,
        "KeyService/ListKeys",
    )


def call(
    site: Site, target: str, who: str, metadata: Metadata, request: Any, answer: Any, method: str
) -> Any:
    with open_channel(target, site.credentials(who), "localhost") as channel:
        act = channel.unary_unary(
            f"/kms.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return act(request, metadata=tuple(metadata), timeout=20)
        except grpc.RpcError as error:
            failure = from_rpc_error(error)
    raise failure


def test_a_proxy_speaks_for_its_client_and_the_audit_says_so(site, kms, forwarded):
    list_keys(site, kms.proxy, "edge", forwarded("web", "203.0.113.1, 192.0.2.7, 127.0.0.1"))
    event = last_event(kms.main, site, "ListKeys")
    assert event["caller"].endswith("/sa/web")
    assert event["details"] == {"address": "192.0.2.7", "via": SPIFFE_EDGE}


def test_who_connects_himself_has_no_proxy_in_his_events(site, kms):
    list_keys(site, kms.main, "web")
    assert last_event(kms.main, site, "ListKeys")["details"] == {"address": "127.0.0.1"}


def test_on_the_main_listener_the_headers_change_nothing(site, kms, forwarded):
    with pytest.raises(CallFailed) as caught:
        list_keys(site, kms.main, "edge", forwarded("web"))
    assert caught.value.reason == "DENIED"
    event = last_event(kms.main, site, "ListKeys")
    assert (event["caller"], event["details"]) == (SPIFFE_EDGE, {"address": "127.0.0.1"})


@pytest.mark.parametrize("connects_as", ["web", "auditor", "operator"])
def test_who_is_no_proxy_is_refused_whatever_he_sends(site, kms, forwarded, connects_as):
    for metadata in ([], forwarded("web"), forwarded("auditor")):
        with pytest.raises(CallFailed, match="this listener is for proxies") as caught:
            list_keys(site, kms.proxy, connects_as, metadata)
        assert caught.value.reason == "UNAUTHENTICATED"


def test_a_proxy_without_a_client_is_refused(site, kms, forwarded):
    certificate, address = forwarded("web")
    for metadata in ([], [address], [certificate, certificate], [(NGINX_HEADER, "junk")]):
        with pytest.raises(CallFailed, match=NGINX_HEADER):
            list_keys(site, kms.proxy, "edge", metadata)


def test_another_header_than_the_configured_one_is_not_believed(site, kms, forwarded):
    escaped = forwarded("web")[0][1]
    with pytest.raises(CallFailed, match="one x-client-cert header, not 0"):
        list_keys(site, kms.proxy, "edge", [("x-forwarded-client-cert", f'Cert="{escaped}"')])


@pytest.mark.parametrize("who", ["operator", "edge"])
def test_a_proxy_does_not_speak_for_operators_or_proxies(site, kms, forwarded, who):
    with pytest.raises(CallFailed, match="operators and proxies connect themselves"):
        list_keys(site, kms.proxy, "edge", forwarded(who))


def test_a_certificate_of_another_authority_is_refused(site, kms, forwarded):
    other = quote(
        (site.directory / "clients.pem").read_text().split("-----END")[0] + "-----END CERTIFICATE-----\n",
        safe="",
    )
    with pytest.raises(CallFailed) as caught:
        list_keys(site, kms.proxy, "edge", [(NGINX_HEADER, other)])
    assert caught.value.reason == "UNAUTHENTICATED"


def test_a_renewal_needs_a_connection_of_ones_own(site, kms, forwarded):
    """Or a proxy could get itself certificates in its clients' names that outlive its own."""
    request = RenewCertificateRequest(csr=b"csr")
    method = "IdentityService/RenewCertificate"
    with pytest.raises(CallFailed, match="not through a proxy"):
        call(site, kms.proxy, "edge", forwarded("web"), request, RenewCertificateResponse, method)


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        (
            "IdentityService/CreateJoinToken",
            CreateJoinTokenRequest(parent=PARENT, join_token={"identity": f"{PARENT}/identities/door"}),
        ),
        (
            "JwtIssuerService/CreateJwtIssuer",
            CreateJwtIssuerRequest(parent="tenants/acme", jwt_issuer_id="door", jwt_issuer=JWT_ISSUER),
        ),
        (
            "TrustedAuthorityService/CreateTrustedAuthority",
            CreateTrustedAuthorityRequest(
                parent="tenants/acme", trusted_authority_id="door", trusted_authority=AUTHORITY
            ),
        ),
    ],
)
def test_nobody_is_let_in_through_a_proxy(site, kms, forwarded, method, request_message):
    """Or it could make itself an identity, in an administrator's name, that outlives its own."""
    with pytest.raises(CallDenied):
        call(site, kms.proxy, "edge", forwarded("admin"), request_message, Empty, method)
    event = last_event(kms.main, site, method.partition("/")[2])
    assert (event["decision"], event["reason"]) == ("DECISION_DENY", "THROUGH_A_PROXY")
    call(site, kms.main, "admin", (), request_message, Empty, method)


def test_unbelieved_headers_are_counted_for_the_audit():
    counted: list[tuple[str, str, str]] = []
    layer = UnbelievedHeaders(lambda *what: counted.append(what), NGINX_HEADER)
    for metadata in (
        [("user-agent", "x")],
        [("x-forwarded-for", "192.0.2.7")],
        [("x-client-cert", "x")],
        [("x-forwarded-client-cert", "x")],
    ):
        call_ = Call("/a/b", "id", datetime.now(UTC), "127.0.0.1", [], metadata=metadata)
        assert layer(call_) is call_
    assert counted == [("", "127.0.0.1", "FORWARDED_HEADER_IGNORED")] * 3
