"""KMS policies over the wire: revisions, masks, warnings, explanations, and the policy of a namespace."""

import base64
import hashlib
import json
import uuid

import pytest
from server.kms_harness import ACME, PROD

from kms.client.errors import (
    CallAlreadyExists,
    CallConflict,
    CallDenied,
    CallInvalid,
    CallNotFound,
    CallWrongState,
)

SERVICE = "KmsPolicyService"
ALLOW_ALL = {"rules": [{"name": "all", "action": "ACTION_ALLOW"}]}
ORDERS = {
    "rules": [
        {
            "name": "orders",
            "action": "ACTION_ALLOW",
            "operations": ["OPERATION_ENCRYPT", "OPERATION_DECRYPT"],
            "key_matcher": {"regex_values": ["orders-[0-9]+"]},
            "aad_matcher": {"starts_with": [base64.b64encode(b"orders/").decode()]},
        },
        {"name": "team", "action": "ACTION_ALLOW", "label_matcher": {"keys": ["team"]}},
    ],
}


def call(kms, method, who="author", **request):
    return kms.as_(who).call(SERVICE, method, request)


def create(kms, content=ORDERS, policy_id=None, who="author", **more):
    policy_id = policy_id or f"p-{uuid.uuid4().hex[:8]}"
    return call(kms, "CreateKmsPolicy", who, parent=PROD, kms_policy_id=policy_id,
                kms_policy={"content": content}, **more)  # fmt: skip


def update(kms, content, name, mask="", etag=""):
    request = {"kms_policy": {"name": name, "content": content, "etag": etag}}
    return call(kms, "UpdateKmsPolicy", **request | ({"update_mask": mask} if mask else {}))


@pytest.fixture
def policy(kms):
    return create(kms, ORDERS | {"description": "orders"})["name"]


def test_policy_is_created_with_its_first_revision(kms):
    made = create(kms, ORDERS | {"description": "orders"}, "created")
    assert made["name"] == f"{PROD}/kmsPolicies/created"
    assert (made["revision"], made["state"]) == (1, "STATE_ACTIVE")
    assert made["content"] == ORDERS | {
        "description": "orders",
        "rule_combining": "RULE_COMBINING_FIRST_MATCH",
    }
    assert len(base64.b64decode(made["uid"])) == 16
    assert call(kms, "GetKmsPolicy", "auditor", name=made["name"]) == made


def test_digest_is_of_the_canonical_content(kms):
    made = create(kms, {"rules": []})
    canonical = json.dumps({"rule_combining": "FIRST_MATCH", "rules": []}, separators=(",", ":"))
    assert base64.b64decode(made["digest"]) == hashlib.sha256(canonical.encode()).digest()


def test_create_is_repeated_by_its_request_id(kms):
    request_id = str(uuid.uuid4())
    first = create(kms, policy_id="repeated", request_id=request_id)
    assert create(kms, policy_id="repeated", request_id=request_id) == first
    with pytest.raises(CallAlreadyExists):
        create(kms, policy_id="repeated")


@pytest.mark.parametrize("who", ["admin", "key-admin", "key-user", "auditor", "web", "stranger", "operator"])
def test_writing_is_the_authors_and_of_their_tenant(kms, who):
    with pytest.raises(CallDenied):
        create(kms, who=who)


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"operations": ["OPERATION_UNSPECIFIED"]}, "rules[0].operations[0]"),
        ({"key_matcher": {}}, "rules[0].key_matcher"),
        ({"aad_matcher": {"starts_with": [""]}}, "rules[0].aad_matcher.starts_with[0]"),
    ],
)
def test_bad_rule_is_refused_at_its_place(kms, rule, field):
    with pytest.raises(CallInvalid) as caught:
        create(kms, {"rules": [{"name": "a", "action": "ACTION_ALLOW"} | rule]})
    assert [name for name, _ in caught.value.violations] == [field]


def test_predicates_of_kms_policies_are_refused_in_secret_policies(kms):
    with pytest.raises(CallInvalid) as caught:
        kms.add_policy("never", **ORDERS)
    assert caught.value.violations[0][0] == "rules[0].operations"


def test_update_with_a_mask_replaces_what_it_names(kms, policy):
    changed = update(kms, {"description": "new", "rules": []}, policy, "content.description")
    assert (changed["revision"], changed["content"]["description"]) == (2, "new")
    assert changed["content"]["rules"] == ORDERS["rules"]
    assert "rules" not in update(kms, {}, policy)["content"]
    with pytest.raises(CallInvalid):
        update(kms, {}, policy, "content.labels")


def test_update_with_an_old_etag_is_a_conflict(kms, policy):
    etag = call(kms, "GetKmsPolicy", name=policy)["etag"]
    update(kms, ALLOW_ALL, policy, etag=etag)
    with pytest.raises(CallConflict):
        update(kms, ALLOW_ALL, policy, etag=etag)


def test_revisions_are_listed_with_their_authors(kms, policy):
    update(kms, ALLOW_ALL, policy)
    listed = call(kms, "ListKmsPolicyRevisions", "auditor", parent=policy)["revisions"]
    assert [item["name"] for item in listed] == [f"{policy}/revisions/1", f"{policy}/revisions/2"]
    assert {item["author"] for item in listed} == {kms.spiffe_id("author")}
    assert call(kms, "GetKmsPolicyRevision", "auditor", name=listed[0]["name"]) == listed[0]
    page = call(kms, "ListKmsPolicyRevisions", parent=policy, page_size=1)
    rest = call(kms, "ListKmsPolicyRevisions", parent=policy, page_token=page["next_page_token"])
    assert page["revisions"] + rest["revisions"] == listed
    with pytest.raises(CallNotFound):
        call(kms, "GetKmsPolicyRevision", name=f"{policy}/revisions/3")


def test_deleted_policy_is_shown_on_request_and_comes_back(kms, policy):
    deleted = call(kms, "DeleteKmsPolicy", name=policy)
    assert (deleted["state"], "delete_time" in deleted) == ("STATE_DELETED", True)
    for show, shown in ((False, False), (True, True)):
        page = call(kms, "ListKmsPolicies", parent=PROD, show_deleted=show, page_size=1000)
        assert (policy in [item["name"] for item in page.get("kms_policies", [])]) is shown
    with pytest.raises(CallWrongState):
        update(kms, ALLOW_ALL, policy)
    assert call(kms, "UndeleteKmsPolicy", name=policy, etag=deleted["etag"])["state"] == "STATE_ACTIVE"


def test_validate_says_what_is_probably_not_meant(kms):
    shadowed = {"rules": [*ALLOW_ALL["rules"], {"name": "late", "action": "ACTION_DENY"}]}
    warnings = call(kms, "ValidateKmsPolicy", parent=PROD, content=shadowed)["warnings"]
    assert "SHADOWED" in {warning["code"] for warning in warnings}
    with pytest.raises(CallInvalid):
        call(kms, "ValidateKmsPolicy", parent=PROD, content={"rules": [{"name": ""}]})


EXPLAINED = [
    ({"key_id": "orders-1", "additional_authenticated_data": "b3JkZXJzLzE="}, "ACTION_ALLOW", "orders"),
    ({"key_id": "orders-1"}, "ACTION_DENY", ""),
    ({"key_id": "orders", "additional_authenticated_data": "b3JkZXJzLzE="}, "ACTION_DENY", ""),
    ({"key_id": "other", "key_labels": {"team": "shop"}}, "ACTION_ALLOW", "team"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "action", "rule"), EXPLAINED)
def test_explain_says_which_rule_decides(kms, policy, asked, action, rule):
    hypothetical = {"names": [kms.spiffe_id("key-user")], "labels": {"team": "shop"}}
    request = {"name": policy, "operation": "OPERATION_ENCRYPT", "hypothetical": hypothetical} | asked
    explained = call(kms, "ExplainKmsPolicy", "auditor", **request)
    assert (explained["action"], explained.get("rule", "")) == (action, rule)
    assert explained["trace"][0]["rule"] == "orders"


def test_explain_knows_enrolled_identities_and_revisions(kms, policy):
    kms.as_("key-user").call("KeyService", "ListKeys", {"parent": PROD})
    request = {
        "name": f"{policy}/revisions/1",
        "operation": "OPERATION_SIGN",
        "identity": f"{PROD}/identities/key-user",
        "key_labels": {"team": "shop"},
    }
    assert call(kms, "ExplainKmsPolicy", **request)["rule"] == "team"
    with pytest.raises(CallInvalid, match="operation"):
        call(kms, "ExplainKmsPolicy", **request | {"operation": "OPERATION_UNSPECIFIED"})


def test_review_lists_who_is_allowed_page_by_page(kms, policy):
    kms.as_("key-user").call("KeyService", "ListKeys", {"parent": PROD})
    rule = {"client_name": kms.spiffe_id("key-user"), "ip_prefixes": ["10.0.0.0/8"]}
    update(kms, {"rules": [{"name": "user", "action": "ACTION_ALLOW"} | rule]}, policy)
    request = {"name": policy, "operation": "OPERATION_ENCRYPT", "page_size": 1}
    found, pages = [], 0
    while True:
        page = call(kms, "ReviewKmsPolicyAccess", "auditor", **request)
        found, pages = found + page.get("identities", []), pages + 1
        request["page_token"] = page.get("next_page_token", "")
        if not request["page_token"]:
            break
    assert pages > 1
    assert found == [
        {
            "identity": f"{PROD}/identities/key-user",
            "spiffe_id": kms.spiffe_id("key-user"),
            "verdict": "VERDICT_UNKNOWN",
            "allowing_rules": ["user"],
            "depends_on": ["ip_prefixes"],
        }
    ]
    known = request | {"address": "10.0.0.7", "page_size": 1000}
    [allowed] = call(kms, "ReviewKmsPolicyAccess", **known)["identities"]
    assert (allowed["verdict"], allowed["allowing_rules"]) == ("VERDICT_ALLOW", ["user"])


def test_review_knows_the_additional_data_only_if_it_is_given(kms, policy):
    kms.as_("key-user").call("KeyService", "ListKeys", {"parent": PROD})
    made = kms.make_key("reviewed", kms_policy=policy)
    rule = {"aad_matcher": {"equals": [""]}, "client_name": kms.spiffe_id("key-user")}
    update(kms, {"rules": [{"name": "none", "action": "ACTION_ALLOW"} | rule]}, policy)
    request = {"name": made, "operation": "OPERATION_ENCRYPT"}
    [unknown] = call(kms, "ReviewKmsPolicyAccess", **request)["identities"]
    assert unknown["depends_on"] == ["aad_matcher"]
    [known] = call(kms, "ReviewKmsPolicyAccess", additional_authenticated_data="", **request)["identities"]
    assert known["verdict"] == "VERDICT_ALLOW"
    assert call(kms, "ReviewKmsPolicyAccess", additional_authenticated_data="YQ==", **request) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operation": "OPERATION_UNSPECIFIED"}, "operation: must be one of ENCRYPT"),
        ({"name": f"{PROD}/identities/key-user"}, "name: must have the form"),
        ({"page_size": -1}, "page_size: must not be negative"),
        ({"page_token": "eHg"}, "is not a token of this list"),
    ],
)
def test_review_of_nonsense_is_refused(kms, policy, changes, words):
    with pytest.raises(CallInvalid, match=words):
        call(kms, "ReviewKmsPolicyAccess", **{"name": policy, "operation": "OPERATION_SIGN"} | changes)


def test_namespace_gets_a_policy_and_loses_it(kms, policy):
    kms.as_("admin").call("NamespaceService", "CreateNamespace", {"parent": ACME, "namespace_id": "spare"})
    name = f"{ACME}/namespaces/spare"
    assert call(kms, "GetNamespacePolicy", "key-admin", name=name) == {"name": name, "etag": "0"}
    wanted = {"name": name, "kms_policies": [policy], "etag": "0"}
    given = call(kms, "SetNamespacePolicy", namespace_policy=wanted)
    assert given["kms_policies"] == [policy]
    with pytest.raises(CallConflict):
        call(kms, "SetNamespacePolicy", namespace_policy=wanted)
    assert call(kms, "GetNamespacePolicy", "admin", name=name) == given
    with pytest.raises(CallNotFound):
        call(kms, "SetNamespacePolicy", namespace_policy={"name": name, "kms_policies": [f"{policy}-none"]})
    with pytest.raises(CallDenied):
        call(kms, "SetNamespacePolicy", "key-admin", namespace_policy={"name": name})
    assert "kms_policies" not in call(kms, "SetNamespacePolicy", namespace_policy={"name": name})
