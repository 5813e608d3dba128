"""The audit trail over the wire: pages, filters, and an export that verifies on its own."""

import base64
import json

import pytest
from server.kms_harness import ACME, PROD

from kms.audit.signing import verify_checkpoint
from kms.audit.verify import verify
from kms.client.audit import export_lines
from kms.client.errors import CallDenied, CallInvalid
from kms.model.chain import SignedCheckpoint
from kms.model.names import TenantName
from kms.server.servicers import audit
from protos.kms.v1.audit_service_pb2 import ListAuditEventsRequest

SERVICE = "AuditService"


def listed(kms, who="auditor", **request):
    return kms.as_(who).call(SERVICE, "ListAuditEvents", {"parent": ACME, **request})


def test_events_are_listed_in_order_with_all_their_fields(kms):
    kms.add_policy("listed")
    [event] = listed(kms, filter={"action": "CreateSecretPolicy"})["audit_events"]
    assert event["caller"] == kms.spiffe_id("author")
    assert (event["tenant"], event["resource"]) == ("acme", f"{PROD}/secretPolicies/listed")
    assert event["decision"] == "DECISION_ALLOW"
    assert (event["details"]["revision"], len(event["request_id"])) == ("1", 32)
    sequences = [int(item["sequence"]) for item in listed(kms, page_size=1000)["audit_events"]]
    assert sequences == sorted(sequences)


def test_pages_go_on_where_the_last_one_ended(kms):
    wanted = {"filter": {"action": "CreateNamespace"}, "page_size": 1}
    for name in ("one", "two", "three"):
        kms.as_("admin").call("NamespaceService", "CreateNamespace", {"parent": ACME, "namespace_id": name})
    found, token = [], ""
    while True:
        page = listed(kms, **wanted, page_token=token)
        found += page.get("audit_events", [])
        token = page.get("next_page_token", "")
        if not token:
            break
    names = [item["resource"].rpartition("/")[2] for item in found]
    assert names[-3:] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "name", ["tenants/globex/auditEvents/1", f"{ACME}/auditEvents/-1", f"{ACME}/auditEvents/" + "9" * 17]
)
def test_forged_page_token_is_refused(kms, name):
    token = base64.urlsafe_b64encode(name.encode()).rstrip(b"=").decode()
    with pytest.raises(CallInvalid) as caught:
        listed(kms, page_token=token)
    assert caught.value.violations[0][0] == "page_token"


def test_filters_hold_together(kms):
    with pytest.raises(CallDenied):
        kms.as_("batch").call("SecretPolicyService", "ListSecretPolicies", {"parent": PROD})
    denied = {"decision": "DECISION_DENY", "caller": kms.spiffe_id("batch"), "resource": PROD}
    [event] = listed(kms, filter=denied)["audit_events"]
    assert event["action"] == "ListSecretPolicies"
    assert listed(kms, filter=denied | {"end_time": "2020-01-01T00:00:00Z"}) == {}
    assert listed(kms, filter=denied | {"start_time": "2020-01-01T00:00:00Z"})["audit_events"] == [event]
    assert listed(kms, filter=denied | {"start_time": "2100-01-01T00:00:00Z"}) == {}


def test_unknown_decision_is_refused(kms):
    with pytest.raises(CallInvalid) as caught:
        listed(kms, filter={"decision": 7})
    assert caught.value.violations[0][0] == "filter.decision"
    assert ListAuditEventsRequest().filter.decision == 0


@pytest.mark.parametrize("who", ["web", "author", "key-admin", "stranger", "operator"])
def test_audit_is_for_the_tenant_s_auditors(kms, who):
    with pytest.raises(CallDenied):
        listed(kms, who)
    with pytest.raises(CallDenied):
        list(export_lines(kms.as_(who), TenantName("acme")))


def test_tenant_sees_its_own_events_alone(kms):
    kms.as_("stranger").call("NamespaceService", "ListNamespaces", {"parent": "tenants/globex"})
    for who, tenant in (("auditor", "acme"), ("stranger", "globex")):
        request = {"parent": f"tenants/{tenant}"}
        events = kms.as_(who).call(SERVICE, "ListAuditEvents", request)["audit_events"]
        assert {event["tenant"] for event in events} == {tenant}


def test_export_verifies_and_hides_what_is_others(kms, monkeypatch):
    monkeypatch.setattr(audit, "BATCH", 7)
    lines = list(export_lines(kms.as_("auditor"), TenantName("acme")))
    report = verify(lines, kms.vault.audit_public_key)
    assert (report.first, report.signed_through) == (1, report.last)
    bodies = [item["body"] for item in map(json.loads, lines) if "body" in item]
    hidden = [item for item in map(json.loads, lines) if "body_digest" in item]
    assert {body["tenant"] for body in bodies} == {"acme"}
    assert hidden
    assert len(bodies) + len(hidden) == report.last


def test_export_goes_on_behind_a_checkpoint(kms):
    first = list(export_lines(kms.as_("auditor"), TenantName("acme")))
    end = json.loads(first[-1])["checkpoint"]["sequence"]
    later = list(export_lines(kms.as_("auditor"), TenantName("acme"), end))
    assert later[0] == first[-1]
    report = verify(later, kms.vault.audit_public_key)
    assert report.first == end + 1
    for after in (end + 10_000, -1, 2**60):
        with pytest.raises(CallInvalid):
            list(export_lines(kms.as_("auditor"), TenantName("acme"), after))


def test_export_ends_when_its_reader_leaves(kms):
    stream = kms.as_("auditor").stream(SERVICE, "ExportAuditEvents", {"parent": ACME})
    assert next(stream)["event"]["sequence"] == "1"
    stream.close()
    assert listed(kms)["audit_events"]


def test_checkpoint_is_signed_by_the_audit_key(kms):
    answer = kms.as_("auditor").call(SERVICE, "GetCheckpoint", {})
    document, signature, key = (
        base64.b64decode(answer[name]) for name in ("document", "signature", "public_key")
    )
    line = b'{"checkpoint":%s,"signature":"%s"}' % (
        document,
        base64.urlsafe_b64encode(signature).rstrip(b"="),
    )
    signed = SignedCheckpoint.parse(line)
    verify_checkpoint(key, signed)
    assert key == kms.vault.audit_public_key
    assert str(signed.checkpoint.sequence) == answer["sequence"]
    assert base64.b64decode(answer["chain_hash"]) == signed.checkpoint.chain_hash
    with pytest.raises(CallDenied):
        kms.as_("web").call(SERVICE, "GetCheckpoint", {})


def test_operators_read_the_platform_s_events_and_no_tenant_s(kms):
    events = listed(kms, "operator", parent="", page_size=1000)["audit_events"]
    assert {event.get("tenant", "") for event in events} == {""}
    assert {"Kms.Init", "CreateTenant"} <= {event["action"] for event in events}
    page = listed(kms, "operator", parent="", page_size=1)
    [second] = listed(kms, "operator", parent="", page_size=1, page_token=page["next_page_token"])[
        "audit_events"
    ]
    assert second == events[1]
    lines = list(export_lines(kms.as_("operator"), None))
    assert verify(lines, kms.vault.audit_public_key).first == 1
    bodies = [item["body"] for item in map(json.loads, lines) if "body" in item]
    assert {body["tenant"] for body in bodies} == {""}
    assert kms.as_("operator").call(SERVICE, "GetCheckpoint", {})["signature"]


@pytest.mark.parametrize("who", ["auditor", "admin", "stranger"])
def test_platform_s_events_are_for_operators_alone(kms, who):
    with pytest.raises(CallDenied):
        listed(kms, who, parent="")
    with pytest.raises(CallDenied):
        list(export_lines(kms.as_(who), None))


def test_tenant_reads_of_its_callers_that_were_held_back_for_their_rate(kms):
    kms.parts.refusals.count(kms.spiffe_id("web"), "192.0.2.1", "RATE_LIMITED")
    kms.parts.refusals.count("", "192.0.2.2", "UNAUTHENTICATED")
    kms.loop.run(kms.parts.refusals.flush("2026-01-01T00:00:00.000000Z"))
    refused = {"filter": {"action": "Kms.RefusedCalls"}}
    [event] = listed(kms, **refused)["audit_events"]
    assert (event["caller"], event["tenant"]) == (kms.spiffe_id("web"), "acme")
    [event] = listed(kms, "operator", parent="", **refused)["audit_events"]
    assert event["reason"] == "UNAUTHENTICATED"
