"""Secret policies over the wire: revisions, masks, deny overlays, warnings and explanations."""

import base64
import hashlib
import uuid

import pytest
from server.kms_harness import ALLOW_WEB, PROD, WEB_TLS

from kms.client.errors import (
    CallAlreadyExists,
    CallConflict,
    CallDenied,
    CallInvalid,
    CallNotFound,
    CallWrongState,
)
from protos.kms.v1.secret_policy_pb2 import SecretPolicyContent

SERVICE = "SecretPolicyService"


@pytest.fixture
def policy(kms):
    """A fresh policy, which a test changes as it likes."""
    made = kms.add_policy(f"p-{uuid.uuid4().hex[:8]}", description="web", labels={"team": "web"})
    return made["name"]


def update(kms, content, name, mask="", etag="", who="author"):
    policy = {"name": name, "content": content, "etag": etag}
    request = {"secret_policy": policy} | ({"update_mask": mask} if mask else {})
    return kms.as_(who).call(SERVICE, "UpdateSecretPolicy", request)


def call(kms, method, who="author", **request):
    return kms.as_(who).call(SERVICE, method, request)


def test_policy_is_created_with_its_first_revision(kms):
    written = {"description": "web", "binding": "BINDING_POLICY", "decrypt_cache_timeout": "300s"}
    made = kms.add_policy("created", **written)
    assert (made["name"], made["revision"], made["state"]) == (
        f"{PROD}/secretPolicies/created",
        1,
        "STATE_ACTIVE",
    )
    assert made["content"] == ALLOW_WEB | written | {"rule_combining": "RULE_COMBINING_FIRST_MATCH"}
    assert (len(base64.b64decode(made["uid"])), len(base64.b64decode(made["digest"]))) == (16, 32)
    assert call(kms, "GetSecretPolicy", "auditor", name=made["name"]) == made


def test_create_is_repeated_by_its_request_id(kms):
    request = {
        "parent": PROD,
        "secret_policy_id": "repeated",
        "secret_policy": {"content": ALLOW_WEB},
        "request_id": str(uuid.uuid4()),
    }
    first = call(kms, "CreateSecretPolicy", **request)
    assert call(kms, "CreateSecretPolicy", **request) == first
    with pytest.raises(CallAlreadyExists):
        call(kms, "CreateSecretPolicy", **(request | {"request_id": str(uuid.uuid4())}))


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"rules": [{"name": "a"}]}, "rules[0].action"),
        ({"rules": [{"name": "a", "action": "ACTION_DENY", "ip_prefixes": ["10.0.0.1/8"]}]},
         "rules[0].ip_prefixes[0]"),
        ({"rules": [{"name": "a", "action": "ACTION_ALLOW", "client_selector": {"expressions": ["a<b"]}}]},
         "rules[0].client_selector.expressions[0]"),
        ({"labels": {"a b": "c"}}, "labels"),
    ],
)  # fmt: skip
def test_bad_content_is_refused_at_its_place(kms, content, field):
    with pytest.raises(CallInvalid) as caught:
        kms.add_policy("never", **({"rules": []} | content))
    assert [name for name, _ in caught.value.violations] == [field]
    assert caught.value.reason in ("INVALID_FIELD", "LIMIT_EXCEEDED")


def test_writing_is_the_authors_and_of_their_tenant(kms):
    for who in ("admin", "auditor", "web", "key-admin", "stranger", "operator"):
        with pytest.raises(CallDenied):
            call(kms, "CreateSecretPolicy", who, parent=PROD, secret_policy_id="mine",
                 secret_policy={"content": ALLOW_WEB})  # fmt: skip


def test_update_without_a_mask_replaces_the_content(kms, policy):
    for mask in ("", "*", "content"):
        changed = update(kms, {"rules": []}, policy, mask)
        assert changed["content"] == {
            "rule_combining": "RULE_COMBINING_FIRST_MATCH",
            "binding": "BINDING_REVISION",
        }
    assert changed["revision"] == 4


def test_update_with_a_mask_replaces_what_it_names(kms, policy):
    changed = update(kms, {"description": "new", "rules": []}, policy, "content.description,content.labels")
    assert changed["content"]["description"] == "new"
    assert changed["content"]["rules"] == ALLOW_WEB["rules"]
    assert "labels" not in changed["content"]
    cached = update(kms, {"decrypt_cache_timeout": "60s"}, policy, "content.decryptCacheTimeout")
    assert (cached["content"]["decrypt_cache_timeout"], cached["content"]["description"]) == ("60s", "new")


def test_mask_that_names_another_field_is_refused(kms, policy):
    with pytest.raises(CallInvalid) as caught:
        update(kms, {}, policy, "name")
    assert caught.value.violations[0][0] == "update_mask"


def test_update_with_an_old_etag_is_a_conflict(kms, policy):
    etag = call(kms, "GetSecretPolicy", name=policy)["etag"]
    update(kms, ALLOW_WEB, policy, etag=etag)
    with pytest.raises(CallConflict) as caught:
        update(kms, ALLOW_WEB, policy, etag=etag)
    assert caught.value.reason == "ETAG_MISMATCH"


def test_binding_cannot_be_changed(kms, policy):
    with pytest.raises(CallInvalid, match="whole life"):
        update(kms, ALLOW_WEB | {"binding": "BINDING_POLICY"}, policy)


def test_deleted_policy_is_shown_on_request_and_comes_back(kms, policy):
    deleted = call(kms, "DeleteSecretPolicy", name=policy)
    assert (deleted["state"], "delete_time" in deleted) == ("STATE_DELETED", True)
    listed = [item["name"] for item in call(kms, "ListSecretPolicies", parent=PROD)["secret_policies"]]
    assert policy not in listed
    shown = call(kms, "ListSecretPolicies", parent=PROD, show_deleted=True)["secret_policies"]
    assert policy in [item["name"] for item in shown]
    for refused in (
        lambda: update(kms, ALLOW_WEB, policy),
        lambda: call(kms, "DeleteSecretPolicy", name=policy),
    ):
        with pytest.raises(CallWrongState):
            refused()
    with pytest.raises(CallConflict):
        call(kms, "UndeleteSecretPolicy", name=policy, etag="1")
    assert call(kms, "UndeleteSecretPolicy", name=policy, etag=deleted["etag"])["state"] == "STATE_ACTIVE"


def test_policies_are_listed_page_by_page(kms, policy):
    names, token = [], ""
    while True:
        page = call(kms, "ListSecretPolicies", "auditor", parent=PROD, page_size=2, page_token=token)
        names += [item["name"] for item in page.get("secret_policies", [])]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert names == sorted(names)
    assert policy in names
    for bad in ({"page_token": "Zm9v"}, {"page_size": -1}):
        with pytest.raises(CallInvalid):
            call(kms, "ListSecretPolicies", parent=PROD, **bad)


def test_revisions_are_listed_and_never_change(kms, policy):
    first = call(kms, "GetRevision", name=f"{policy}/revisions/1")
    for _ in range(10):
        update(kms, {"rules": []}, policy)
    page = call(kms, "ListRevisions", parent=policy, page_size=10)
    rest = call(kms, "ListRevisions", parent=policy, page_token=page["next_page_token"])
    names = [item["name"] for item in [*page["revisions"], *rest["revisions"]]]
    assert names == [f"{policy}/revisions/{number}" for number in range(1, 12)]
    assert page["revisions"][0] == first
    assert first["author"] == kms.spiffe_id("author")
    with pytest.raises(CallInvalid):
        call(kms, "ListRevisions", parent=WEB_TLS, page_token=page["next_page_token"])


def test_digest_of_a_policy_is_that_of_its_current_revision(kms, policy):
    update(kms, ALLOW_WEB, policy)
    digest = call(kms, "GetSecretPolicy", name=policy)["digest"]
    assert digest == call(kms, "GetRevision", name=f"{policy}/revisions/2")["digest"]
    assert digest != call(kms, "GetRevision", name=f"{policy}/revisions/1")["digest"]
    assert len(base64.b64decode(digest)) == hashlib.sha256().digest_size


def test_revision_is_revoked_once(kms, policy):
    revision = {"name": f"{policy}/revisions/1"}
    with pytest.raises(CallConflict):
        call(kms, "RevokeRevision", **revision, etag="9")
    assert "revoke_time" in call(kms, "RevokeRevision", "admin", **revision, comment="leaked")
    with pytest.raises(CallWrongState):
        call(kms, "RevokeRevision", **revision)
    with pytest.raises(CallDenied):
        call(kms, "RevokeRevision", "auditor", **revision)


def test_narrowing_adds_to_the_overlay(kms, policy):
    revision = {"name": f"{policy}/revisions/1"}
    web, batch = kms.spiffe_id("web"), kms.spiffe_id("batch")
    call(kms, "NarrowRevision", **revision, denied_identities=[web])
    narrowed = call(kms, "NarrowRevision", **revision, denied_identities=[batch], comment="left")
    assert narrowed["denied_identities"] == sorted([web, batch])
    many = [f"{web}{number}" for number in range(257)]
    for denied in ([], ["web"], many):
        with pytest.raises(CallInvalid) as caught:
            call(kms, "NarrowRevision", **revision, denied_identities=denied)
        assert caught.value.violations[0][0].startswith("denied_identities")


def test_validate_warns_and_writes_nothing(kms):
    content = {"rules": [{"name": "everybody", "action": "ACTION_ALLOW"}]}
    found = call(kms, "ValidateSecretPolicy", parent=PROD, content=content)["warnings"]
    assert [(item["field"], item["code"]) for item in found] == [("rules[0]", "NO_CLIENT_PREDICATE")]
    sound = call(kms, "ValidateSecretPolicy", parent=PROD, content=ALLOW_WEB)
    assert "warnings" not in sound
    assert sound["content"]["rules"] == ALLOW_WEB["rules"]
    with pytest.raises(CallInvalid):
        call(kms, "ValidateSecretPolicy", parent=PROD, content={"rules": [{"name": "a"}]})


def explain(kms, name, who="auditor", **caller):
    return call(kms, "ExplainSecretPolicy", who, name=name, **caller)


def test_explain_for_a_made_up_caller(kms, policy):
    allowed = explain(kms, policy, hypothetical={"labels": {"app": "web"}})
    assert (allowed["action"], allowed["rule"]) == ("ACTION_ALLOW", "web")
    assert allowed["trace"] == [{"rule": "web", "matched": True, "text": "matched, and decided"}]
    denied = explain(
        kms, policy, hypothetical={"names": [kms.spiffe_id("batch")], "labels": {"app": "batch"}}
    )
    assert denied["action"] == "ACTION_DENY"
    assert "rule" not in denied
    (trace,) = denied["trace"]
    assert trace["failed_predicate"] == "client_selector"
    assert "app=batch" in trace["text"]


def test_explain_for_a_known_identity_and_one_revision(kms, policy):
    kms.credentials("web")
    identity = f"{PROD}/identities/web"
    assert explain(kms, policy, identity=identity)["action"] == "ACTION_ALLOW"
    update(kms, {"rules": []}, policy)
    assert explain(kms, policy, identity=identity)["action"] == "ACTION_DENY"
    first = f"{policy}/revisions/1"
    assert explain(kms, first, identity=identity)["action"] == "ACTION_ALLOW"
    call(kms, "NarrowRevision", name=first, denied_identities=[kms.spiffe_id("web")])
    assert "deny overlay" in explain(kms, first, identity=identity)["reason"]


def test_explain_at_another_time_and_from_an_address(kms, policy):
    window = {"not_after": "2020-01-01T00:00:00Z"}
    rule = {"name": "old", "action": "ACTION_ALLOW", "time_window": window, "ip_prefixes": ["192.0.2.0/24"]}
    update(kms, {"rules": [rule]}, policy)
    asked = {"hypothetical": {}, "address": "192.0.2.7"}
    assert explain(kms, policy, **asked)["action"] == "ACTION_DENY"
    assert explain(kms, policy, **asked, time="2019-12-31T00:00:00Z")["action"] == "ACTION_ALLOW"
    elsewhere = asked | {"address": "198.51.100.7"}
    assert explain(kms, policy, **elsewhere, time="2019-12-31T00:00:00Z")["action"] == "ACTION_DENY"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "caller"),
        ({"identity": "web"}, "identity"),
        ({"hypothetical": {"names": ["web"]}}, "hypothetical.names[0]"),
        ({"hypothetical": {"names": [""]}}, "hypothetical.names[0]"),
        ({"hypothetical": {"labels": {"a b": "c"}}}, "hypothetical.labels"),
        ({"hypothetical": {"roles": ["A"]}}, "hypothetical.roles"),
    ],
)
def test_bad_question_is_refused_with_its_field(kms, policy, asked, field):
    with pytest.raises(CallInvalid) as caught:
        explain(kms, policy, **asked)
    assert [name for name, _ in caught.value.violations] == [field]


def test_explain_is_for_readers_of_policies_and_never_tells_identities_of_others(kms, policy):
    kms.credentials("stranger")
    for who in ("web", "key-admin", "stranger"):
        with pytest.raises(CallDenied):
            explain(kms, policy, who, hypothetical={})
    for identity in ("tenants/globex/namespaces/prod/identities/stranger", f"{PROD}/identities/nobody"):
        with pytest.raises(CallDenied):
            explain(kms, policy, identity=identity)
    with pytest.raises(CallNotFound):
        explain(kms, f"{PROD}/secretPolicies/nothing", hypothetical={})


def test_every_field_of_the_content_can_be_named_in_a_mask(kms, policy):
    current = call(kms, "GetSecretPolicy", name=policy)["content"]
    paths = [f"content.{field.json_name}" for field in SecretPolicyContent.DESCRIPTOR.fields]
    assert update(kms, current, policy, ",".join(paths))["content"] == current
