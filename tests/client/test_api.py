"""Any method by its name, with JSON objects."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from server.kms_harness import ACME, PROD

import kms.client.api as module
from kms.client.api import Api
from kms.client.errors import CallDenied, CallFailed, CallTimedOut, CallUnavailable
from kms.errors import InvalidField
from protos.kms.v1.status_service_pb2 import GetStatusRequest, ServerStatus
from protos.kms.v1.tenant_service_pb2 import GetTenantRequest


def test_answer_has_the_names_of_the_proto_files(kms):
    tenant = kms.as_("admin").call("TenantService", "GetTenant", {"name": ACME})
    assert set(tenant) == {"name", "state", "create_time", "etag"}


@pytest.mark.parametrize(
    "request_", [{"nam": ACME}, {"name": 7}, {"name": [ACME]}, {"name": {"tenant": "acme"}}]
)
def test_request_that_is_none_of_the_method_is_refused_before_it_is_sent(kms, request_):
    before = len(kms.events())
    with pytest.raises(InvalidField) as caught:
        kms.as_("admin").call("TenantService", "GetTenant", request_)
    assert caught.value.field == "request"
    assert len(kms.events()) == before


@pytest.mark.parametrize(("service", "method"), [("Tenants", "GetTenant"), ("TenantService", "GetTenants")])
def test_service_or_method_that_does_not_exist_is_a_mistake_of_the_program(kms, service, method):
    with pytest.raises(KeyError):
        kms.as_("admin").call(service, method, {})


def test_refusal_is_told_by_its_class_with_the_request_id(kms):
    with pytest.raises(CallDenied) as caught:
        kms.as_("web").call("SecretPolicyService", "ListSecretPolicies", {"parent": PROD})
    event = kms.events()[-1]
    assert (event["request_id"], event["decision"]) == (caught.value.request_id, "DENY")
    assert caught.value.__cause__ is None


def test_refused_stream_raises_when_it_is_read(kms):
    stream = kms.as_("web").stream("AuditService", "ExportAuditEvents", {"parent": ACME})
    with pytest.raises(CallDenied):
        next(stream)


def test_stream_refuses_a_bad_request_at_once(kms):
    with pytest.raises(InvalidField):
        kms.as_("web").stream("AuditService", "ExportAuditEvents", {"parents": ACME})


def test_prepared_call_sends_the_same_bytes_each_time(kms):
    request = GetTenantRequest(name=ACME)
    act = kms.as_("admin").prepare("TenantService", "GetTenant", request, module.Message)
    request.name = "tenants/globex"
    assert act() == act()


def test_answer_of_another_type_is_a_mistake_of_the_program(kms):
    with pytest.raises(TypeError, match="GetTenant"):
        kms.as_("admin").exchange("TenantService", "GetTenant", GetTenantRequest(name=ACME), ServerStatus)


def test_server_without_the_service_is_told_as_a_failed_call(kms):
    with pytest.raises(CallFailed, match="Method not found"):
        kms.as_("operator").exchange("StatusService", "GetStatus", GetStatusRequest(), ServerStatus)


def test_nothing_that_listens_is_unavailable():
    with grpc.insecure_channel("127.0.0.1:1") as channel, pytest.raises(CallUnavailable) as caught:
        Api(channel).call("StatusService", "GetStatus", {})
    assert caught.value.reason == ""


def test_no_answer_in_time_is_told_so():
    with ThreadPoolExecutor(1) as workers:
        server = grpc.server(workers)
        port = server.add_insecure_port("127.0.0.1:0")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(CallTimedOut):
            Api(channel, timeout=0.2).call("StatusService", "GetStatus", {})


def test_every_service_of_the_api_can_be_called():
    for service, name in module._MODULES.items():
        assert name == "".join(f"_{c.lower()}" if c.isupper() else c for c in service).lstrip("_")
        assert module.import_module(f"protos.kms.v1.{name}_pb2").DESCRIPTOR.services_by_name[service]
