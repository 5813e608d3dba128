"""Blindfold keys, documents and blind evaluation over the wire."""

import base64
import uuid
from datetime import timedelta

import pytest
from server.kms_harness import ACME, KEY, PROD, PROGRESS, WEB_TLS

import blindfold
from blindfold import KeyDocument
from blindfold.errors import OpenFailed, WrongAnswer
from kms.client.errors import (
    CallConflict,
    CallDenied,
    CallInvalid,
    CallNotFound,
    CallWrongState,
    from_status,
)
from kms.model.names import TenantName
from protos.kms.v1.blindfold_service_pb2 import EvaluateBlindedRequest, EvaluateBlindedResponse

SERVICE = "BlindfoldService"
SECRET = b"correct horse battery staple"


def call(kms, method, who="key-admin", **request):
    return kms.as_(who).call(SERVICE, method, request)


def key_document(kms, who="web"):
    document = base64.b64decode(call(kms, "GetKeyDocument", who, name=KEY)["document"])
    return KeyDocument.parse(document)


def begun(kms, sealed):
    """The request for one sealed secret, and what opens it."""
    request, state = blindfold.begin_open(sealed, key_document(kms))
    message = EvaluateBlindedRequest(name=KEY, elements=[request.element])
    policy = state.header.lock.policy
    if policy is None:
        message.revision_digest = request.binding_value
    else:
        message.policy.name, message.policy.uid = policy
    return message, state


def evaluate(kms, message, who="web"):
    return list(kms.as_(who).exchange(SERVICE, "EvaluateBlinded", message, EvaluateBlindedResponse).results)


def opened(kms, sealed, who="web"):
    message, state = begun(kms, sealed)
    [result] = evaluate(kms, message, who)
    return blindfold.finish_open(state, result.element).reveal()


@pytest.fixture
def policy(kms):
    return kms.add_policy(f"p-{uuid.uuid4().hex[:8]}")["name"]


def test_key_is_begun_shown_with_its_progress_and_completed(kms):
    request = {"parent": ACME, "request_id": str(uuid.uuid4())}
    pending = call(kms, "GenerateBlindfoldKey", **request)
    assert (pending["state"], pending["modulus_bits"]) == ("KEY_VERSION_STATE_PENDING_GENERATION", 3072)
    assert pending["candidates_tested"] == str(PROGRESS)
    assert "fingerprint" not in pending
    assert call(kms, "GenerateBlindfoldKey", **request) == pending
    kms.complete(pending["name"])
    made = call(kms, "GetBlindfoldKey", "admin", name=pending["name"])
    assert (made["state"], "candidates_tested" in made) == ("KEY_VERSION_STATE_ENABLED", False)
    assert len(base64.b64decode(made["fingerprint"])) == 32
    assert made["generate_time"] >= made["create_time"]


@pytest.mark.parametrize("bits", [2048, 3071, 8192, -1])
def test_key_of_another_size_is_refused(kms, bits):
    with pytest.raises(CallInvalid) as caught:
        call(kms, "GenerateBlindfoldKey", parent=ACME, modulus_bits=bits)
    assert caught.value.violations[0][0] == "modulus_bits"


def test_keys_are_the_key_admin_s(kms):
    for who in ("author", "web", "auditor", "operator", "stranger", "admin"):
        with pytest.raises(CallDenied):
            call(kms, "GenerateBlindfoldKey", who, parent=ACME)
        with pytest.raises(CallDenied):
            call(kms, "DisableBlindfoldKey", who, name=KEY)
    with pytest.raises(CallNotFound):
        call(kms, "GetBlindfoldKey", name=f"{ACME}/blindfoldKeys/99")


def test_key_versions_are_listed_page_by_page(kms):
    call(kms, "GenerateBlindfoldKey", parent=ACME)
    names, token = [], ""
    while True:
        page = call(kms, "ListBlindfoldKeys", parent=ACME, page_size=1, page_token=token)
        names += [item["name"] for item in page["blindfold_keys"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert names == [f"{ACME}/blindfoldKeys/{number}" for number in range(1, len(names) + 1)]
    assert len(names) >= 2
    with pytest.raises(CallInvalid):
        call(kms, "ListBlindfoldKeys", parent=ACME, page_token="Zm9v")


def test_life_of_a_version_that_is_not_primary(kms):
    name = {"name": kms.add_key(make_primary=False)}
    assert not call(kms, "GetBlindfoldKey", **name).get("primary")
    with pytest.raises(CallWrongState):
        call(kms, "ScheduleDestroyBlindfoldKey", name=KEY)
    same = call(kms, "SetPrimaryBlindfoldKey", name=KEY)
    assert (same["name"], same["primary"]) == (KEY, True)
    disabled = call(kms, "DisableBlindfoldKey", **name)
    with pytest.raises(CallWrongState) as caught:
        call(kms, "SetPrimaryBlindfoldKey", **name)
    assert "DISABLED" in caught.value.message
    with pytest.raises(CallConflict):
        call(kms, "EnableBlindfoldKey", **name, etag="1")
    enabled = call(kms, "EnableBlindfoldKey", **name, etag=disabled["etag"])
    assert enabled["state"] == "KEY_VERSION_STATE_ENABLED"
    doomed = call(kms, "ScheduleDestroyBlindfoldKey", **name, delay="86400s")
    assert doomed["state"] == "KEY_VERSION_STATE_DESTROY_SCHEDULED"
    assert doomed["destroy_time"][:16] == (kms.now + timedelta(days=1)).isoformat()[:16]
    saved = call(kms, "CancelDestroyBlindfoldKey", **name)
    assert (saved["state"], "destroy_time" in saved) == ("KEY_VERSION_STATE_DISABLED", False)
    for delay in ("60s", "10368001s"):
        with pytest.raises(CallInvalid):
            call(kms, "ScheduleDestroyBlindfoldKey", **name, delay=delay)


def test_sealers_get_signed_bundles(kms, policy):
    public = call(kms, "GetBlindfoldPublicKey", "author", parent=ACME)
    document = call(kms, "GetPolicyDocument", "author", name=policy)
    assert (public["name"], document["name"]) == (KEY, f"{policy}/revisions/1")
    assert blindfold.inspect(kms.seal(SECRET, policy)).problem == ""
    for who in ("web", "auditor", "stranger"):
        with pytest.raises(CallDenied):
            call(kms, "GetBlindfoldPublicKey", who, parent=ACME)
        with pytest.raises(CallDenied):
            call(kms, "GetPolicyDocument", who, name=policy)


def test_key_document_is_for_any_identity_of_the_tenant_and_missing_reads_as_forbidden(kms):
    assert key_document(kms).tenant == "acme"
    texts = set()
    for who, name in (("stranger", KEY), ("web", f"{ACME}/blindfoldKeys/99"), ("operator", KEY)):
        with pytest.raises(CallDenied) as caught:
            call(kms, "GetKeyDocument", who, name=name)
        texts.add(caught.value.message)
    assert len(texts) == 1


@pytest.mark.parametrize("binding", ["BINDING_REVISION", "BINDING_POLICY"])
def test_secret_sealed_offline_is_opened_by_whom_the_policy_allows(kms, binding):
    name = kms.add_policy(f"p-{uuid.uuid4().hex[:8]}", binding=binding)["name"]
    sealed = kms.seal(SECRET, name)
    assert opened(kms, sealed) == SECRET
    with pytest.raises(CallDenied):
        opened(kms, sealed, "batch")
    assert call(kms, "GetBlindfoldKey", name=KEY)["last_used_time"].endswith("T00:00:00Z")


def test_denied_unknown_and_foreign_get_one_answer(kms, policy):
    allowed, _ = begun(kms, kms.seal(SECRET, policy))
    element = allowed.elements[0]
    uid = base64.b64decode(policies(kms, "GetSecretPolicy", name=policy)["uid"])
    other_binding = EvaluateBlindedRequest(name=KEY, elements=[element])
    other_binding.policy.name, other_binding.policy.uid = policy, uid
    unknown_policy = EvaluateBlindedRequest(name=KEY, elements=[element])
    unknown_policy.policy.name, unknown_policy.policy.uid = f"{PROD}/secretPolicies/nothing", uid
    unknown_key = EvaluateBlindedRequest(
        name=f"{ACME}/blindfoldKeys/99", revision_digest=allowed.revision_digest, elements=[element]
    )
    unknown_revision = EvaluateBlindedRequest(name=KEY, revision_digest=bytes(32), elements=[element])
    answers = set()
    for message, who in (
        (allowed, "batch"),
        (allowed, "stranger"),
        (allowed, "operator"),
        (other_binding, "web"),
        (unknown_policy, "web"),
        (unknown_key, "web"),
        (unknown_revision, "web"),
    ):
        with pytest.raises(CallDenied) as caught:
            evaluate(kms, message, who)
        answers.add((caught.value.message, caught.value.reason, tuple(caught.value.metadata.items())))
    assert len(answers) == 1
    reasons = [event["reason"] for event in kms.events() if event["action"] == "EvaluateBlinded"][-7:]
    assert len(set(reasons)) >= 5


def test_bad_element_of_a_batch_is_its_own_error_and_the_others_are_answered(kms, policy):
    message, state = begun(kms, kms.seal(SECRET, policy))
    size = len(message.elements[0])
    message.elements.append(bytes(size))
    message.elements.append(b"short")
    good, *bad = evaluate(kms, message)
    assert blindfold.finish_open(state, good.element).reveal() == SECRET
    for index, result in enumerate(bad, start=1):
        failure = from_status(result.error)
        assert isinstance(failure, CallInvalid)
        assert failure.reason == "INVALID_FIELD"
        assert failure.violations[0][0] == f"elements[{index}]"
    events = [event for event in kms.events() if event["action"] == "EvaluateBlinded"][-3:]
    assert [event["decision"] for event in events] == ["ALLOW", "FAIL", "FAIL"]


def test_batch_has_its_limits(kms, policy):
    message, _ = begun(kms, kms.seal(SECRET, policy))
    for elements in ([], [message.elements[0]] * 257):
        request = EvaluateBlindedRequest(name=KEY, revision_digest=message.revision_digest, elements=elements)
        with pytest.raises(CallInvalid) as caught:
            evaluate(kms, request)
        assert caught.value.reason == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "revision_digest"),
        ({"revision_digest": bytes(31)}, "revision_digest"),
        ({"policy": {"name": WEB_TLS, "uid": bytes(15)}}, "policy.uid"),
        ({"policy": {"name": "web-tls", "uid": bytes(16)}}, "policy.name"),
        ({"name": f"{ACME}/blindfoldKeys/0", "revision_digest": bytes(32)}, "name"),
    ],
)
def test_malformed_binding_is_refused_with_its_field(kms, fields, field):
    with pytest.raises(CallInvalid) as caught:
        evaluate(kms, EvaluateBlindedRequest(**({"name": KEY, "elements": [b"b"]} | fields)))
    assert [name for name, _ in caught.value.violations] == [field]


def policies(kms, method, **request):
    return kms.as_("author").call("SecretPolicyService", method, request)


def test_revoked_revision_opens_no_more(kms, policy):
    sealed = kms.seal(SECRET, policy)
    policies(kms, "RevokeRevision", name=f"{policy}/revisions/1")
    with pytest.raises(CallDenied):
        opened(kms, sealed)
    with pytest.raises(CallWrongState):
        kms.seal(SECRET, policy)


def test_narrowed_revision_denies_who_is_named(kms, policy):
    sealed = kms.seal(SECRET, policy)
    policies(kms, "NarrowRevision", name=f"{policy}/revisions/1", denied_identities=[kms.spiffe_id("batch")])
    assert opened(kms, sealed) == SECRET
    policies(kms, "NarrowRevision", name=f"{policy}/revisions/1", denied_identities=[kms.spiffe_id("web")])
    with pytest.raises(CallDenied):
        opened(kms, sealed)


def test_deleted_policy_denies_until_it_is_back(kms, policy):
    sealed = kms.seal(SECRET, policy)
    policies(kms, "DeleteSecretPolicy", name=policy)
    with pytest.raises(CallDenied):
        opened(kms, sealed)
    policies(kms, "UndeleteSecretPolicy", name=policy)
    assert opened(kms, sealed) == SECRET


@pytest.mark.parametrize(("binding", "still"), [("BINDING_REVISION", True), ("BINDING_POLICY", False)])
def test_edited_policy_counts_for_what_is_bound_to_the_policy_alone(kms, binding, still):
    name = kms.add_policy(f"p-{uuid.uuid4().hex[:8]}", binding=binding)["name"]
    sealed = kms.seal(SECRET, name)
    policies(kms, "UpdateSecretPolicy", secret_policy={"name": name, "content": {"rules": []}})
    if still:
        assert opened(kms, sealed) == SECRET
    else:
        with pytest.raises(CallDenied):
            opened(kms, sealed)


def test_disabled_key_refuses_and_says_so_to_whom_the_policy_allows(kms, policy):
    sealed = kms.seal(SECRET, policy)
    call(kms, "DisableBlindfoldKey", name=KEY)
    try:
        with pytest.raises(CallWrongState) as caught:
            opened(kms, sealed)
        assert caught.value.metadata["state"] == "DISABLED"
        with pytest.raises(CallDenied):
            opened(kms, sealed, "batch")
        with pytest.raises(CallWrongState):
            call(kms, "GetBlindfoldPublicKey", "author", parent=ACME)
    finally:
        call(kms, "EnableBlindfoldKey", name=KEY)
    assert opened(kms, sealed) == SECRET


def test_answer_under_another_policy_is_caught_by_the_client(kms, policy):
    """The exponent comes from the named record, so an answer under another policy is no root."""
    other = kms.add_policy(f"p-{uuid.uuid4().hex[:8]}")
    message, state = begun(kms, kms.seal(SECRET, policy))
    message.revision_digest = base64.b64decode(other["digest"])
    [result] = evaluate(kms, message)
    with pytest.raises(WrongAnswer):
        blindfold.finish_open(state, result.element)


def test_tampered_secret_does_not_open(kms, policy):
    sealed = kms.seal(SECRET, policy)
    with pytest.raises(OpenFailed):
        opened(kms, sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_fingerprint_of_the_key_is_that_of_its_document(kms):
    document = key_document(kms)
    assert base64.b64decode(call(kms, "GetBlindfoldKey", name=KEY)["fingerprint"]) == document.fingerprint
    assert TenantName(document.tenant) == TenantName("acme")
