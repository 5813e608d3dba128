"""What a call passes on its way to the servicer, and what the servicer learns."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import grpc
import pytest
from server_harness import NOW, accept

from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.errors import CallExhausted, CallInternal, CallUnauthenticated, from_rpc_error
from kms.errors import RateLimited, Unauthenticated
from kms.model.rate_limit import OperationClass
from kms.server.call import Call, current_call, service_call
from kms.server.interceptors.authentication import peer_address, require_tls_1_3
from kms.server.interceptors.rate_limit import RateLimit, operation_class
from protos.kms.v1 import audit_service_pb2 as audit
from protos.kms.v1 import blindfold_service_pb2 as blindfold
from protos.kms.v1 import (
    crypto_batch_pb2,
    crypto_service_pb2,
    identity_service_pb2,
    import_service_pb2,
    jwt_issuer_service_pb2,
    key_service_pb2,
    kms_policy_service_pb2,
    namespace_service_pb2,
    prefix_set_service_pb2,
    rate_limit_service_pb2,
    secret_management_access_service_pb2,
    secret_policy_service_pb2,
    status_service_pb2,
    trusted_authority_service_pb2,
)
from protos.kms.v1 import enrolment_service_pb2 as enrolment
from protos.kms.v1 import tenant_service_pb2 as tenants
from protos.kms.v1.audit_service_pb2_grpc import (
    AuditServiceServicer,
    AuditServiceStub,
    add_AuditServiceServicer_to_server,
)
from protos.kms.v1.blindfold_service_pb2_grpc import (
    BlindfoldServiceServicer,
    BlindfoldServiceStub,
    add_BlindfoldServiceServicer_to_server,
)
from protos.kms.v1.enrolment_service_pb2_grpc import (
    EnrolmentServiceServicer,
    EnrolmentServiceStub,
    add_EnrolmentServiceServicer_to_server,
)
from protos.kms.v1.tenant_service_pb2_grpc import (
    TenantServiceServicer,
    TenantServiceStub,
    add_TenantServiceServicer_to_server,
)

SECRET = "correct horse battery staple"


class Tenants(TenantServiceServicer):
    """Answers with what the call knows of itself."""

    SERVICE: ClassVar[str] = "kms.v1.TenantService"

    def add_to(self, server):
        add_TenantServiceServicer_to_server(self, server)

    async def GetTenant(self, request, context):  # noqa: N802
        await asyncio.sleep(0.01)
        call = service_call()
        assert call.time == NOW
        return tenants.Tenant(
            name=call.request_id, description=current_call().address, labels={"caller": call.caller.spiffe_id}
        )


class Audit(AuditServiceServicer):
    """Streams: three events and a failure, or without end."""

    SERVICE: ClassVar[str] = "kms.v1.AuditService"

    def __init__(self):
        self.closed = asyncio.Event()

    def add_to(self, server):
        add_AuditServiceServicer_to_server(self, server)

    async def ExportAuditEvents(self, request, context):  # noqa: N802
        try:
            sequence = 0
            while request.after_sequence or sequence < 3:
                sequence += 1
                event = audit.ChainedEvent(sequence=sequence)
                yield audit.ExportAuditEventsResponse(event=event)
                await asyncio.sleep(0)
            raise ValueError(SECRET)
        finally:
            self.closed.set()


class Blindfold(BlindfoldServiceServicer):
    """Answers nothing."""

    SERVICE: ClassVar[str] = "kms.v1.BlindfoldService"

    def add_to(self, server):
        add_BlindfoldServiceServicer_to_server(self, server)

    async def EvaluateBlinded(self, request, context):  # noqa: N802
        return blindfold.EvaluateBlindedResponse()


class Enrolment(EnrolmentServiceServicer):
    """Insists on a caller, which nobody is yet."""

    SERVICE: ClassVar[str] = "kms.v1.EnrolmentService"

    def add_to(self, server):
        add_EnrolmentServiceServicer_to_server(self, server)

    async def Enrol(self, request, context):  # noqa: N802
        if request.token == "caller":
            return enrolment.EnrolResponse(certificate={"identity": service_call().caller.spiffe_id})
        return enrolment.EnrolResponse(certificate={"identity": current_call().address})


class Recorder:
    """A limiter that notes what it is asked, and then refuses."""

    def __init__(self, error=None):
        self.asked = []
        self.error = error

    def take(self, who, operation_class, units):
        self.asked.append((who.caller.spiffe_id if who.caller else None, who.address, operation_class, units))
        if self.error:
            raise self.error


def failure_of(method, request, **options):
    with pytest.raises(grpc.RpcError) as caught:
        method(request, timeout=10, **options)
    return from_rpc_error(caught.value)


def test_the_servicer_learns_caller_address_and_request_id(serve, credentials):
    server = serve(servicers=[Tenants()])
    with open_channel(server.target, credentials) as channel:
        answer = TenantServiceStub(channel).GetTenant(
            tenants.GetTenantRequest(), metadata=[("x-request-id", "mine")], timeout=10
        )
    assert answer.name == "mine"
    assert answer.description in {"127.0.0.1", "::1"}
    assert answer.labels == {"caller": "spiffe://kms.test/operator/olga"}


def test_calls_at_the_same_time_do_not_see_each_other(serve, credentials):
    server = serve(servicers=[Tenants()])
    with open_channel(server.target, credentials) as channel, ThreadPoolExecutor(16) as pool:
        stub = TenantServiceStub(channel)

        def call(number):
            metadata = [("x-request-id", f"r-{number}")]
            return stub.GetTenant(tenants.GetTenantRequest(), metadata=metadata, timeout=10).name

        assert list(pool.map(call, range(64))) == [f"r-{number}" for number in range(64)]


def test_authentication_is_asked_at_every_call_with_the_clients_certificate(serve, credentials):
    asked = []

    def authenticate(pem, address, now):
        asked.append((pem, now))
        if len(asked) == 2:
            raise Unauthenticated("the certificate was revoked")
        return accept(pem, address, now)

    server = serve(servicers=[Tenants()], authenticate=authenticate)
    with open_channel(server.target, credentials) as channel:
        stub = TenantServiceStub(channel)
        stub.GetTenant(tenants.GetTenantRequest(), timeout=10)
        failure = failure_of(stub.GetTenant, tenants.GetTenantRequest())
    assert isinstance(failure, CallUnauthenticated)
    assert asked == [((credentials / "cert.pem").read_bytes(), NOW)] * 2


def test_health_and_reflection_are_authenticated_like_any_call(serve, credentials):
    def refuse(pem, address, now):
        raise Unauthenticated("expired")

    server = serve(authenticate=refuse)
    with open_channel(server.target, credentials) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert isinstance(failure_of(check, b""), CallUnauthenticated)
        reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            next(reflect(iter([b":\x00"]), timeout=10))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_rate_limits_are_charged_to_the_caller_by_class(serve, credentials):
    limiter = Recorder()
    server = serve(servicers=[Tenants()], limiter=limiter)
    with open_channel(server.target, credentials) as channel:
        TenantServiceStub(channel).GetTenant(tenants.GetTenantRequest(), timeout=10)
    ((caller, _, kind, units),) = limiter.asked
    assert (caller, kind, units) == ("spiffe://kms.test/operator/olga", OperationClass.READ, 1)


@pytest.mark.parametrize(("items", "units"), [(0, 1), (1, 1), (1000, 1000)])
@pytest.mark.parametrize("method", ["BatchEncrypt", "BatchMacVerify"])
def test_a_batch_is_charged_for_each_item(method, items, units):
    limiter = Recorder()
    request = getattr(crypto_batch_pb2, f"{method}Request")()
    for _ in range(items):
        request.requests.add()
    call = Call(f"/kms.v1.CryptoService/{method}", "r", NOW, "", [], request=request)
    RateLimit(limiter)(call)
    assert [asked[2:] for asked in limiter.asked] == [(OperationClass.USE, units)]


@pytest.mark.parametrize(("elements", "units"), [(0, 1), (1, 1), (256, 256)])
def test_a_blind_evaluation_is_charged_for_each_element(serve, credentials, elements, units):
    limiter = Recorder()
    server = serve(servicers=[Blindfold()], limiter=limiter)
    request = blindfold.EvaluateBlindedRequest(elements=[b"b"] * elements)
    with open_channel(server.target, credentials) as channel:
        BlindfoldServiceStub(channel).EvaluateBlinded(request, timeout=10)
    assert [asked[2:] for asked in limiter.asked] == [(OperationClass.OPEN, units)]


def test_a_caller_above_its_limit_is_told_when_to_retry(serve, credentials):
    server = serve(servicers=[Tenants()], limiter=Recorder(RateLimited(0.5)))
    with open_channel(server.target, credentials) as channel:
        failure = failure_of(TenantServiceStub(channel).GetTenant, tenants.GetTenantRequest())
    assert isinstance(failure, CallExhausted)
    assert failure.retry_after == 0.5


def test_who_is_not_authenticated_costs_nobody_anything(serve, credentials):
    def refuse(pem, address, now):
        raise Unauthenticated("expired")

    limiter = Recorder()
    server = serve(servicers=[Tenants()], authenticate=refuse, limiter=limiter)
    with open_channel(server.target, credentials) as channel:
        failure_of(TenantServiceStub(channel).GetTenant, tenants.GetTenantRequest())
    assert limiter.asked == []


def test_enrolment_is_charged_to_the_address_and_has_no_caller(serve, authority):
    limiter = Recorder()
    server = serve(enrolment_servicers=[Enrolment()], limiter=limiter)
    with open_enrolment_channel(f"localhost:{server.ports.enrolment}", authority.pem) as channel:
        stub = EnrolmentServiceStub(channel)
        address = stub.Enrol(enrolment.EnrolRequest(), timeout=10).certificate.identity
        failure = failure_of(stub.Enrol, enrolment.EnrolRequest(token="caller"))
    assert isinstance(failure, CallUnauthenticated)
    assert limiter.asked == [(None, address, OperationClass.ENROL, 1)] * 2


def test_a_stream_that_fails_ends_with_a_status_that_tells_no_secret(serve, credentials, caplog):
    server = serve(servicers=[Audit()])
    with open_channel(server.target, credentials) as channel:
        stream = AuditServiceStub(channel).ExportAuditEvents(audit.ExportAuditEventsRequest(), timeout=10)
        assert [next(stream).event.sequence for _ in range(3)] == [1, 2, 3]
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    failure = from_rpc_error(caught.value)
    assert isinstance(failure, CallInternal)
    assert SECRET not in repr((failure.message, caught.value.trailing_metadata(), caplog.text))
    assert "ValueError at" in caplog.text


def test_a_stream_is_closed_when_its_client_leaves(serve, credentials):
    servicer = Audit()
    server = serve(servicers=[servicer])
    with open_channel(server.target, credentials) as channel:
        endless = audit.ExportAuditEventsRequest(after_sequence=1)
        stream = AuditServiceStub(channel).ExportAuditEvents(endless, timeout=10)
        assert next(stream).event.sequence == 1
        stream.cancel()
        server.loop.run(asyncio.wait_for(servicer.closed.wait(), 10))
    assert servicer.closed.is_set()


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"ssl_tls_version": [b"TLSv1.2"]},
        {"ssl_tls_version": []},
        {"transport_security_type": [b"insecure"]},
    ],
)
def test_a_call_over_anything_but_tls_1_3_is_unauthenticated(properties):
    with pytest.raises(Unauthenticated):
        require_tls_1_3(Call("/a/b", "r", NOW, "", [], properties))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:50000", "192.0.2.7"),
        ("ipv6:%5B2001:db8::1%5D:50000", "2001:db8::1"),
        ("ipv6:[2001:DB8:0::1]:50000", "2001:db8::1"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:50000", "192.0.2.7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:50000", "fe80::1"),
        ("unix:/run/kms.sock", ""),
        ("unix:", ""),
        ("", ""),
        ("ipv4:no address:1", ""),
    ],
)
def test_the_address_of_a_peer(peer, address):
    assert peer_address(peer) == address


OPERATION_CLASSES = {
    OperationClass.ENROL: {"Enrol", "EnrolWithJwt"},
    OperationClass.OPEN: {"EvaluateBlinded"},
    OperationClass.READ: {
        *(
            "GetTenant",
            "ListTenants",
            "GetDestructionReceipt",
            "GetNamespace",
            "ListNamespaces",
            "GetIdentity",
            "ListIdentities",
        ),
        *("GetSecretPolicy", "ListSecretPolicies", "GetRevision", "ListRevisions", "ValidateSecretPolicy"),
        *("ExplainSecretPolicy", "GetBlindfoldKey", "ListBlindfoldKeys", "GetBlindfoldPublicKey"),
        *(
            "GetKeyDocument",
            "GetPolicyDocument",
            "ListAuditEvents",
            "ExportAuditEvents",
            "GetCheckpoint",
            "GetStatus",
        ),
        *("GetKey", "ListKeys", "GetKeyVersion", "ListKeyVersions", "GetKmsPolicy", "ListKmsPolicies"),
        *("ListKmsPolicyRevisions", "GetKmsPolicyRevision", "ValidateKmsPolicy", "ExplainKmsPolicy"),
        *("GetNamespacePolicy", "GetRateLimiter", "ListRateLimiters"),
        *("GetUserIdentification", "ListUserIdentifications"),
        *("GetNamespacePolicy", "GetJwtIssuer", "ListJwtIssuers"),
        *("GetPrefixSet", "ListPrefixSets", "GetSecretManagementAccess", "ListSecretManagementAccesses"),
        "FetchSecretManagementAccess",
        *("ReviewKmsPolicyAccess", "ReviewSecretPolicyAccess", "SimulateKmsPolicy", "SimulateSecretPolicy"),
        *("GetTrustedAuthority", "ListTrustedAuthorities"),
    },
    OperationClass.USE: {
        *("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateRandom", "RawEncrypt", "RawDecrypt"),
        *("AsymmetricEncrypt", "AsymmetricDecrypt", "Sign", "Verify", "GetPublicKey", "Mac", "MacVerify"),
        *("BatchEncrypt", "BatchDecrypt", "BatchReEncrypt", "BatchGenerateDataKey", "BatchGenerateRandom"),
        *("BatchRawEncrypt", "BatchRawDecrypt", "BatchAsymmetricEncrypt", "BatchAsymmetricDecrypt"),
        *("BatchSign", "BatchVerify", "BatchGetPublicKey", "BatchMac", "BatchMacVerify", "Stream"),
    },
    OperationClass.WRITE: {
        *("EnableTenant", "DisableTenant", "ScheduleDestroyTenant", "CancelDestroyTenant"),
        *("CreateTenant", "CreateNamespace", "DeleteNamespace", "CreateJoinToken", "RevokeIdentity"),
        *("RenewCertificate", "CreateSecretPolicy", "UpdateSecretPolicy", "DeleteSecretPolicy"),
        *("UndeleteSecretPolicy", "RevokeRevision", "NarrowRevision", "GenerateBlindfoldKey"),
        *("SetPrimaryBlindfoldKey", "EnableBlindfoldKey", "DisableBlindfoldKey"),
        *("ScheduleDestroyBlindfoldKey", "CancelDestroyBlindfoldKey"),
        *("CreateKey", "UpdateKey", "RotateKey", "SetPrimaryKeyVersion", "EnableKeyVersion"),
        *("DisableKeyVersion", "MarkKeyVersionCompromised", "ScheduleDestroyKeyVersion"),
        *("CancelDestroyKeyVersion", "CreateImportKey", "ImportKeyVersion", "CopyKey", "BeginExport"),
        *("ExportKeyVersion", "CreateKmsPolicy", "UpdateKmsPolicy", "DeleteKmsPolicy", "UndeleteKmsPolicy"),
        *("SetNamespacePolicy", "CreateRateLimiter", "UpdateRateLimiter", "DeleteRateLimiter"),
        *("CreateUserIdentification", "UpdateUserIdentification", "DeleteUserIdentification"),
        *("CreatePrefixSet", "UpdatePrefixSet", "DeletePrefixSet", "CreateSecretManagementAccess"),
        *("UpdateSecretManagementAccess", "DeleteSecretManagementAccess"),
        *("SetNamespacePolicy", "DeleteIdentity", "CreateJwtIssuer", "UpdateJwtIssuer", "DeleteJwtIssuer"),
        *("CreateTrustedAuthority", "UpdateTrustedAuthority", "DeleteTrustedAuthority", "RevokeCertificate"),
    },
}
MODULES = (
    *(audit, blindfold, crypto_service_pb2, enrolment, identity_service_pb2, import_service_pb2),
    *(jwt_issuer_service_pb2, trusted_authority_service_pb2),
    *(key_service_pb2, kms_policy_service_pb2, namespace_service_pb2),
    *(prefix_set_service_pb2, rate_limit_service_pb2, secret_policy_service_pb2, status_service_pb2, tenants),
    secret_management_access_service_pb2,
)


def test_every_method_has_its_operation_class():
    found = {kind: set() for kind in OperationClass}
    for module in MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[operation_class(f"/{service.full_name}/{method.name}")].add(method.name)
    assert found == OPERATION_CLASSES
