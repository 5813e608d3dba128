"""A tenant stopped and destroyed over the wire, with connections that were open before."""

import json
from datetime import timedelta

import pytest
from server.kms_harness import ACME, PROD, running_kms

from kms.audit.verify import verify
from kms.client.audit import export_lines, receipt_lines
from kms.client.errors import (
    CallAlreadyExists,
    CallConflict,
    CallInvalid,
    CallUnauthenticated,
    CallWrongState,
)
from kms.model.names import TenantName

SERVICE = "TenantService"
ME = {"name": ACME}


@pytest.fixture
def kms(tmp_path):
    with running_kms(tmp_path) as started:
        yield started


def operator(kms, method, **more):
    return kms.as_("operator").call(SERVICE, method, ME | more)


def test_stopped_tenant_says_so_to_its_callers_and_goes_on_when_it_is_enabled(kms):
    kms.allow_keys()
    key = kms.make_key("orders")
    use = {"name": key, "plaintext": "cA=="}
    assert kms.as_("key-user").call("CryptoService", "Encrypt", use)["ciphertext"]
    assert operator(kms, "DisableTenant")["state"] == "STATE_DISABLED"
    for who, service, method, request in (
        ("key-user", "CryptoService", "Encrypt", use),
        ("admin", "NamespaceService", "GetNamespace", {"name": PROD}),
    ):
        with pytest.raises(CallWrongState) as caught:
            kms.as_(who).call(service, method, request)
        assert (caught.value.reason, caught.value.metadata["state"]) == ("TENANT_NOT_SERVED", "DISABLED")
        assert "operator" in caught.value.hint
    assert kms.as_("admin").call(SERVICE, "GetTenant", ME)["state"] == "STATE_DISABLED"
    assert list(export_lines(kms.as_("auditor"), TenantName("acme")))
    assert operator(kms, "EnableTenant")["state"] == "STATE_ENABLED"
    assert kms.as_("key-user").call("CryptoService", "Encrypt", use)["ciphertext"]


def test_destruction_is_scheduled_for_its_time_and_cancelled(kms):
    scheduled = operator(kms, "ScheduleDestroyTenant", delay="172800s")
    assert scheduled["state"] == "STATE_DESTROY_SCHEDULED"
    assert scheduled["destroy_time"] > (kms.now + timedelta(hours=47)).isoformat()
    for delay in ("3600s", "99999999s"):
        with pytest.raises(CallInvalid):
            operator(kms, "ScheduleDestroyTenant", delay=delay)
    with pytest.raises(CallConflict):
        operator(kms, "CancelDestroyTenant", etag="1")
    cancelled = operator(kms, "CancelDestroyTenant", etag=scheduled["etag"])
    assert (cancelled["state"], "destroy_time" in cancelled) == ("STATE_DISABLED", False)
    with pytest.raises(CallWrongState):
        operator(kms, "GetDestructionReceipt")


def test_destroyed_tenant_s_open_connections_are_strangers_and_its_receipt_verifies(kms):
    admin = kms.as_("admin")
    assert admin.call(SERVICE, "GetTenant", ME)
    operator(kms, "ScheduleDestroyTenant")
    later = kms.now + timedelta(days=30)
    assert kms.loop.run(kms.parts.tenant_destruction.destroy_due(later)) == 1
    with pytest.raises(CallUnauthenticated):
        admin.call(SERVICE, "GetTenant", ME)
    with pytest.raises(CallUnauthenticated):
        kms.as_("auditor").call("AuditService", "GetCheckpoint", {})
    gone = operator(kms, "GetTenant")
    assert gone["state"] == "STATE_DESTROYED"
    assert gone["erase_time"] >= gone["destroy_event_time"]
    with pytest.raises(CallAlreadyExists):
        kms.as_("operator").call(SERVICE, "CreateTenant", {"tenant_id": "acme"})
    lines = receipt_lines(kms.as_("operator"), TenantName("acme"))
    assert verify(lines, kms.vault.audit_public_key).checkpoints == 2
    bodies = [item["body"] for item in map(json.loads, lines) if "body" in item]
    assert [body["resource"] for body in bodies if body["action"] == "Kms.DestroyTenant"] == [ACME]
    assert kms.as_("stranger").call(SERVICE, "GetTenant", {"name": "tenants/globex"})
