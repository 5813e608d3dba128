"""What a caller has going on at once."""

import asyncio
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import ClassVar

import pytest

from kms.client.channel import open_channel
from kms.client.errors import CallExhausted, from_rpc_error
from kms.errors import RateLimited
from kms.model.caller import Caller
from kms.model.names import IdentityName, OperatorName
from kms.server.open_calls import LONG, CallsAtOnce, OpenCalls
from kms.services.rate_limits import Requester
from protos.kms.v1 import (
    audit_service_pb2,
    backup_service_pb2,
    kms_policy_service_pb2,
    secret_policy_service_pb2,
)
from protos.kms.v1.audit_service_pb2_grpc import (
    AuditServiceServicer,
    AuditServiceStub,
    add_AuditServiceServicer_to_server,
)


def test_open_calls_are_counted_for_each_caller():
    calls = OpenCalls(2)
    with calls.one_of("a"), calls.one_of("b"):
        with calls.one_of("a"), pytest.raises(RateLimited), calls.one_of("a"):
            raise AssertionError("a third call was opened")
        with calls.one_of("a"):
            assert True


def test_call_that_fails_is_open_no_more():
    calls = OpenCalls(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="failed"), calls.one_of("a"):
            raise ValueError("failed")
    assert not calls._open


def who(name, tenant):
    identity = OperatorName(name) if tenant is None else IdentityName(tenant, "prod", name)
    return Requester(Caller(identity, f"spiffe://kms.test/{tenant}/{name}", ()), "192.0.2.1")


def test_long_calls_are_counted_for_each_caller_tenant_and_operator():
    """They wait for each other in a few threads that all tenants share."""
    calls = CallsAtOnce(3, 1, 2)
    backup, read = "/kms.v1.BackupService/BackupTenant", "/kms.v1.KeyService/GetKey"
    ann, bob, carl, olga = who("ann", "acme"), who("bob", "acme"), who("carl", "acme"), who("olga", None)

    def is_refused(caller):
        with pytest.raises(RateLimited), calls.one_of(caller, backup):
            raise AssertionError("one too many was opened")
        return True

    with calls.one_of(ann, backup), calls.one_of(olga, backup):
        assert is_refused(ann)
        assert is_refused(olga)
        with calls.one_of(bob, backup):
            assert is_refused(carl)
            with calls.one_of(carl, read), calls.one_of(who("bob", "globex"), backup):
                assert True
        with calls.one_of(carl, backup):
            assert True


def test_all_long_calls_are_methods():
    files = (audit_service_pb2, backup_service_pb2, kms_policy_service_pb2, secret_policy_service_pb2)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    assert {method.name for service in services for method in service.methods} >= LONG


class SlowAudit(AuditServiceServicer):
    """Answers when it may."""

    SERVICE: ClassVar[str] = "kms.v1.AuditService"

    def __init__(self):
        self.may_answer = threading.Event()

    def add_to(self, server):
        add_AuditServiceServicer_to_server(self, server)

    async def ListAuditEvents(self, request, context):  # noqa: N802
        await asyncio.to_thread(self.may_answer.wait, 20)
        return audit_service_pb2.ListAuditEventsResponse()


def test_third_long_call_at_once_is_refused_and_then_served(serve, credentials):
    audit = SlowAudit()
    server = serve(servicers=[audit])
    request = audit_service_pb2.ListAuditEventsRequest()
    with open_channel(server.target, credentials) as channel, ThreadPoolExecutor(3) as pool:
        stub = AuditServiceStub(channel)
        calls = [pool.submit(stub.ListAuditEvents, request, timeout=20) for _ in range(3)]
        refused, waiting = wait(calls, return_when=FIRST_EXCEPTION)
        [only] = refused
        assert isinstance(from_rpc_error(only.exception()), CallExhausted)
        audit.may_answer.set()
        assert all(call.result() is not None for call in waiting)
        assert stub.ListAuditEvents(request, timeout=20) is not None
