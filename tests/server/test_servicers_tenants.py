"""Tenants and namespaces over the wire."""

import uuid

import pytest
from server.kms_harness import ACME, PROD, running_kms

from blindfold.secret import SecretBytes
from kms.client.api import Api
from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.credentials import generate_key_pair, read_credentials
from kms.client.errors import (
    CallAlreadyExists,
    CallConflict,
    CallDenied,
    CallExhausted,
    CallInvalid,
    CallNotFound,
    CallUnauthenticated,
    CallWrongState,
)
from kms.errors import RateLimited
from kms.model.join_token import JoinToken
from protos.kms.v1.enrolment_service_pb2 import EnrolRequest, EnrolResponse

TENANTS, NAMESPACES = "TenantService", "NamespaceService"


def create_namespace(kms, namespace_id, who="admin", **fields):
    request = {"parent": ACME, "namespace_id": namespace_id, **fields}
    return kms.as_(who).call(NAMESPACES, "CreateNamespace", request)


def test_operator_creates_a_tenant_and_reads_it(kms):
    request = {"tenant_id": "initech", "tenant": {"description": "reports", "labels": {"tier": "two"}}}
    created = kms.as_("operator").call(TENANTS, "CreateTenant", request)
    assert created.pop("admin_join_token").startswith("kjt1_")
    assert (created["name"], created["description"]) == ("tenants/initech", "reports")
    assert created["labels"] == {"tier": "two"}
    assert created["create_time"].endswith("Z")
    assert kms.as_("operator").call(TENANTS, "GetTenant", {"name": "tenants/initech"}) == created


def test_tenant_is_created_once_and_a_repeat_with_its_request_id_answers_the_same_but_no_token(kms):
    operator, request_id = kms.as_("operator"), str(uuid.uuid4())
    request = {"tenant_id": "hooli", "request_id": request_id}
    first = operator.call(TENANTS, "CreateTenant", request)
    assert first.pop("admin_join_token")
    assert operator.call(TENANTS, "CreateTenant", request | {"request_id": request_id.upper()}) == first
    for other in (str(uuid.uuid4()), ""):
        with pytest.raises(CallAlreadyExists):
            operator.call(TENANTS, "CreateTenant", request | {"request_id": other})


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"tenant_id": "Acme"}, "tenant_id"),
        ({"tenant_id": "umbrella", "request_id": "once"}, "request_id"),
        ({"tenant_id": "umbrella", "tenant": {"labels": {"a b": "c"}}}, "labels"),
        ({"tenant_id": "umbrella", "tenant": {"description": "d" * 2049}}, "description"),
    ],
)
def test_bad_tenant_is_refused_with_its_field(kms, request_, field):
    with pytest.raises(CallInvalid) as caught:
        kms.as_("operator").call(TENANTS, "CreateTenant", request_)
    assert [name for name, _ in caught.value.violations] == [field]


def test_only_operators_create_and_list_tenants(kms):
    for method, request in (("CreateTenant", {"tenant_id": "mine"}), ("ListTenants", {})):
        with pytest.raises(CallDenied):
            kms.as_("admin").call(TENANTS, method, request)


def test_tenant_is_read_by_its_own_administrator_and_nobody_else_s(kms):
    assert kms.as_("admin").call(TENANTS, "GetTenant", {"name": ACME})["name"] == ACME
    with pytest.raises(CallDenied):
        kms.as_("stranger").call(TENANTS, "GetTenant", {"name": ACME})
    with pytest.raises(CallNotFound):
        kms.as_("operator").call(TENANTS, "GetTenant", {"name": "tenants/nobody"})


def test_tenants_are_listed_page_by_page(kms):
    names, token = [], ""
    while True:
        page = kms.as_("operator").call(TENANTS, "ListTenants", {"page_size": 1, "page_token": token})
        names += [tenant["name"] for tenant in page["tenants"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert names == sorted(names)
    assert {ACME, "tenants/globex"} <= set(names)


@pytest.mark.parametrize("token", ["made up", "bmFtZXNwYWNlcy9h", "Zm9v="])
def test_forged_page_token_is_refused(kms, token):
    with pytest.raises(CallInvalid) as caught:
        kms.as_("operator").call(TENANTS, "ListTenants", {"page_token": token})
    assert caught.value.violations[0][0] == "page_token"


def test_namespace_is_created_read_listed_and_deleted(kms):
    request_id = str(uuid.uuid4())
    created = create_namespace(kms, "dev", request_id=request_id, namespace={"description": "development"})
    assert created["description"] == "development"
    assert create_namespace(kms, "dev", request_id=request_id) == created
    admin = kms.as_("admin")
    name = {"name": f"{ACME}/namespaces/dev"}
    assert admin.call(NAMESPACES, "GetNamespace", name) == created
    listed = admin.call(NAMESPACES, "ListNamespaces", {"parent": ACME})["namespaces"]
    assert [item["name"] for item in listed] == [f"{ACME}/namespaces/{n}" for n in ("dev", "prod", "system")]
    with pytest.raises(CallConflict):
        admin.call(NAMESPACES, "DeleteNamespace", name | {"etag": "99"})
    assert admin.call(NAMESPACES, "DeleteNamespace", name | {"etag": created["etag"]}) == {}
    with pytest.raises(CallNotFound):
        admin.call(NAMESPACES, "GetNamespace", name)


def test_namespace_in_use_is_not_deleted(kms):
    kms.credentials("web")
    with pytest.raises(CallWrongState, match="identities"):
        kms.as_("admin").call(NAMESPACES, "DeleteNamespace", {"name": PROD})


def test_namespace_page_token_of_another_tenant_is_refused(kms):
    listing = {"parent": "tenants/globex", "page_size": 1}
    create = {"parent": "tenants/globex", "namespace_id": "test"}
    kms.as_("stranger").call(NAMESPACES, "CreateNamespace", create)
    token = kms.as_("stranger").call(NAMESPACES, "ListNamespaces", listing)["next_page_token"]
    with pytest.raises(CallInvalid):
        kms.as_("admin").call(NAMESPACES, "ListNamespaces", {"parent": ACME, "page_token": token})


@pytest.mark.parametrize("who", ["stranger", "web", "operator", "author"])
def test_namespaces_are_created_by_the_tenant_s_administrator_alone(kms, who):
    with pytest.raises(CallDenied):
        create_namespace(kms, "mine", who)


def test_missing_and_forbidden_read_the_same(kms):
    texts = set()
    for name in (PROD, f"{ACME}/namespaces/nowhere"):
        with pytest.raises(CallDenied) as caught:
            kms.as_("stranger").call(NAMESPACES, "GetNamespace", {"name": name})
        texts.add((caught.value.message, caught.value.reason, tuple(caught.value.metadata)))
    assert len(texts) == 1


def test_refused_strangers_are_counted_by_address(kms):
    pair = kms.credentials("batch")
    kms.as_("admin").call(
        "IdentityService", "RevokeIdentity", {"name": f"{PROD}/identities/batch", "comment": "left"}
    )
    with open_channel(kms.target, pair) as channel, pytest.raises(CallUnauthenticated):
        Api(channel).call(NAMESPACES, "GetNamespace", {"name": PROD})
    kms.loop.run(kms.parts.refusals.flush("2026-01-01T00:00:00.000000Z"))
    event = kms.events()[-1]
    assert (event["action"], event["caller"], event["reason"]) == ("Kms.RefusedCalls", "", "UNAUTHENTICATED")
    assert event["details"] == {"address": event["details"]["address"], "count": "1"}
    assert event["details"]["address"] in ("127.0.0.1", "::/64")


class Exhausted:
    """A limiter that lets all pass but the auditor."""

    def take(self, who, operation_class, units):
        if who.caller.spiffe_id.endswith("/sa/auditor"):
            raise RateLimited(1.5)


def test_calls_above_the_rate_are_counted_by_caller(tmp_path):
    with running_kms(tmp_path, Exhausted()) as kms:
        for _ in range(3):
            with pytest.raises(CallExhausted) as caught:
                kms.as_("auditor").call("AuditService", "GetCheckpoint", {})
        assert caught.value.retry_after == 1.5
        kms.loop.run(kms.parts.refusals.flush("2026-01-01T00:00:00.000000Z"))
        event = kms.events()[-1]
    assert (event["action"], event["reason"]) == ("Kms.RefusedCalls", "RATE_LIMITED")
    assert (event["caller"], event["details"]["count"]) == (kms.spiffe_id("auditor"), "3")


def test_refused_enrolments_are_counted_by_address(kms):
    root = read_credentials(kms.credentials("admin")).ca_pem
    unknown = JoinToken(bytes(16), SecretBytes(bytes(32)), bytes(32)).reveal()
    request = EnrolRequest(token=unknown, csr=generate_key_pair().csr)
    with open_enrolment_channel(kms.enrolment_target, root) as channel, pytest.raises(CallUnauthenticated):
        Api(channel).exchange("EnrolmentService", "Enrol", request, EnrolResponse)
    kms.loop.run(kms.parts.refusals.flush("2026-01-01T00:00:00.000000Z"))
    event = kms.events()[-1]
    assert (event["caller"], event["reason"]) == ("", "UNAUTHENTICATED")
    assert event["details"]["address"]
