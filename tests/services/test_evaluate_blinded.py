"""EvaluateBlinded: who gets a root, under which record, and what is written about it."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import (
    ACME,
    ADMIN,
    ALLOW_WEB,
    AUTHOR,
    BATCH,
    KEY,
    KEY_ADMIN,
    WEB,
    WEB_TLS,
    Kms,
    caller,
)

import blindfold
from blindfold.errors import EvaluationFault
from blindfold.evaluation import Evaluator
from kms.errors import BudgetExhausted, Denied, EvaluationFailed, InvalidField, LimitExceeded, WrongState
from kms.model.lifecycle import Verb
from kms.model.names import BlindfoldKeyName, SecretPolicyRevisionName
from kms.services import evaluation
from kms.services.evaluation import PolicyBinding, RevisionBinding

SECRET = b"-----BEGIN PRIVATE KEY-----"
FIRST = SecretPolicyRevisionName("acme", "prod", "web-tls", 1)
BY_NAME = ALLOW_WEB | {"binding": "POLICY"}


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """With a key and the policy web-tls, which allows app=web."""
    kms.add_key()
    kms.add_policy()
    return kms


def refusal(kms: Kms, sealed: bytes, who: Any = WEB) -> str:
    """Why the audit chain says that an opening was denied; the caller hears one text."""
    with pytest.raises(Denied) as caught:
        kms.open(sealed, who)
    assert str(caught.value) == "permission denied, or the resource does not exist"
    return kms.last_event()["reason"]


def test_allowed_caller_opens_and_another_does_not(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    assert ready.open(sealed, WEB) == SECRET
    assert refusal(ready, sealed, BATCH) == "NO_RULE_MATCHED"


def test_no_role_is_needed_and_none_helps(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    for powerful in (ADMIN, AUTHOR, KEY_ADMIN):
        assert refusal(ready, sealed, powerful) == "NO_RULE_MATCHED"


def test_edited_policy_leaves_the_old_revision_as_it_was(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    nobody = {"rules": [{"name": "nobody", "action": "DENY"}]}
    ready.run(ready.parts.secret_policies.update(ready.call(AUTHOR), WEB_TLS, nobody, ""))
    assert ready.open(sealed, WEB) == SECRET
    assert refusal(ready, ready.seal(SECRET)) == "RULE_MATCHED"


def test_policy_binding_follows_the_current_rules(ready: Kms) -> None:
    name = replace(WEB_TLS, policy="by-name")
    ready.add_policy(BY_NAME, name)
    sealed = ready.seal(SECRET, name)
    assert ready.open(sealed, WEB) == SECRET
    batch = {"rules": [{"name": "b", "action": "ALLOW", "client_selector": {"expressions": ["app=batch"]}}]}
    ready.run(ready.parts.secret_policies.update(ready.call(AUTHOR), name, batch | {"binding": "POLICY"}, ""))
    assert refusal(ready, sealed, WEB) == "NO_RULE_MATCHED"
    assert ready.open(sealed, BATCH) == SECRET


def test_revoked_revision_opens_for_nobody(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    ready.run(ready.parts.secret_policies.revoke_revision(ready.call(AUTHOR), FIRST, "", "leaked"))
    assert refusal(ready, sealed) == "REVISION_REVOKED"


def test_deny_overlay_is_asked_before_the_rules(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    denied = (WEB.spiffe_id,)
    ready.run(ready.parts.secret_policies.narrow_revision(ready.call(AUTHOR), FIRST, denied, "", ""))
    assert refusal(ready, sealed) == "DENY_OVERLAY"
    assert ready.open(sealed, caller("web-2", app="web")) == SECRET


def test_deleted_policy_denies_until_it_is_undeleted(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    ready.run(ready.parts.secret_policies.delete(ready.call(AUTHOR), WEB_TLS, ""))
    with pytest.raises(WrongState):
        ready.policy_document()
    assert refusal(ready, sealed) == "UNKNOWN_POLICY"
    ready.run(ready.parts.secret_policies.undelete(ready.call(AUTHOR), WEB_TLS, ""))
    assert ready.open(sealed, WEB) == SECRET


def test_caller_of_another_tenant_is_denied_with_the_same_text(ready: Kms) -> None:
    assert refusal(ready, ready.seal(SECRET), caller("web", tenant="globex", app="web")) == "OTHER_TENANT"


def test_each_binding_that_names_nothing_is_denied_alike(ready: Kms) -> None:
    by_name = replace(WEB_TLS, policy="by-name")
    view = ready.add_policy(BY_NAME, by_name)
    uid = view.head.record.uid
    bindings = {
        "UNKNOWN_REVISION": RevisionBinding(bytes(32)),
        "OTHER_BINDING": RevisionBinding(view.head.record.digest),
        "UNKNOWN_POLICY": PolicyBinding(replace(WEB_TLS, policy="missing"), uid),
        "OTHER_UID": PolicyBinding(by_name, bytes(16)),
    }
    for reason, binding in bindings.items():
        with pytest.raises(Denied):
            ready.run(ready.parts.evaluation.evaluate(ready.call(WEB), KEY, binding, [b"\x02" * 384]))
        assert ready.last_event()["reason"] == reason
    pinned = ready.run(ready.parts.secret_policies.get(ready.call(AUTHOR), WEB_TLS)).head.record
    binding = PolicyBinding(WEB_TLS, pinned.uid)
    with pytest.raises(Denied):
        ready.run(ready.parts.evaluation.evaluate(ready.call(WEB), KEY, binding, [b"\x02" * 384]))
    assert ready.last_event()["reason"] == "OTHER_BINDING"


def test_key_version_must_exist_and_be_enabled(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    request, _ = blindfold.begin_open(sealed, ready.key_document())
    missing = BlindfoldKeyName("acme", 9)
    binding = RevisionBinding(request.binding_value)
    with pytest.raises(Denied):
        ready.run(ready.parts.evaluation.evaluate(ready.call(WEB), missing, binding, [request.element]))
    document = ready.key_document()
    ready.run(ready.parts.blindfold_keys.change(ready.call(KEY_ADMIN), KEY, Verb.DISABLE, ""))
    with pytest.raises(WrongState, match="DISABLED"):
        ready.run(ready.parts.evaluation.evaluate(ready.call(WEB), KEY, binding, [request.element]))
    ready.run(ready.parts.blindfold_keys.change(ready.call(KEY_ADMIN), KEY, Verb.ENABLE, ""))
    assert ready.key_document() == document
    assert ready.open(sealed, WEB) == SECRET


def test_denied_caller_does_not_learn_the_key_s_state(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    request, _ = blindfold.begin_open(sealed, ready.key_document())
    ready.run(ready.parts.blindfold_keys.change(ready.call(KEY_ADMIN), KEY, Verb.DISABLE, ""))
    binding = RevisionBinding(request.binding_value)
    with pytest.raises(Denied):
        ready.run(ready.parts.evaluation.evaluate(ready.call(BATCH), KEY, binding, [request.element]))


def test_batch_gives_each_element_its_result_and_its_event(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    request, state = blindfold.begin_open(sealed, ready.key_document())
    n = ready.key_document().n
    elements = [request.element, b"\x00" * 384, request.element[1:], (n - 1).to_bytes(384, "big")]
    before = len(ready.events())
    binding = RevisionBinding(request.binding_value)
    evaluated = ready.run(ready.parts.evaluation.evaluate(ready.call(WEB), KEY, binding, elements))
    good, *bad = evaluated.results
    assert isinstance(good, bytes)
    assert blindfold.finish_open(state, good).reveal() == SECRET
    assert [type(result) for result in bad] == [InvalidField] * 3
    assert [result.field for result in bad] == ["elements[1]", "elements[2]", "elements[3]"]
    events = [event for event in ready.events()[before:] if event["action"] == "EvaluateBlinded"]
    assert [event["decision"] for event in events] == ["ALLOW", "FAIL", "FAIL", "FAIL"]
    assert [event["details"]["element_sha256"] for event in events] == [
        hashlib.sha256(element).hexdigest() for element in elements
    ]


def test_event_names_policy_revision_rule_and_nothing_of_the_answer(ready: Kms) -> None:
    sealed = ready.seal(SECRET)
    assert ready.open(sealed, WEB) == SECRET
    event = ready.last_event()
    assert event["reason"] == "web"
    assert event["resource"] == str(KEY)
    assert event["caller"] == WEB.spiffe_id
    assert set(event["details"]) == {"address", "policy", "revision", "element_sha256"}


@pytest.mark.parametrize("count", [0, 257])
def test_number_of_elements_is_limited(ready: Kms, count: int) -> None:
    binding = RevisionBinding(bytes(32))
    before = len(ready.events())
    with pytest.raises(LimitExceeded, match="1 to 256"):
        ready.run(ready.parts.evaluation.evaluate(ready.call(WEB), KEY, binding, [b"\x02" * 384] * count))
    [event] = ready.events()[before:]
    assert (event["decision"], event["reason"], event["details"]["elements"]) == (
        "FAIL",
        "LIMIT_EXCEEDED",
        str(count),
    )


def test_fault_gives_no_answer_and_is_audited(ready: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = ready.seal(SECRET)
    assert ready.open(sealed, WEB) == SECRET
    tested: list[Evaluator] = []

    def fail(self: Evaluator, element: bytes, exponent: int) -> bytes:
        raise EvaluationFault

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", fail)
        patch.setattr(Evaluator, "self_test", lambda self: tested.append(self))
        with pytest.raises(EvaluationFailed):
            ready.open(sealed, WEB)
    assert len(tested) == 1
    assert (ready.last_event()["decision"], ready.last_event()["reason"]) == ("FAIL", "EVALUATION_FAULT")
    assert ready.open(sealed, WEB) == SECRET


def test_budget_per_key_version_and_policy_is_enforced(ready: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_EVALUATIONS", 3)
    sealed = ready.seal(SECRET)
    for _ in range(3):
        assert ready.open(sealed, WEB) == SECRET
    with pytest.raises(BudgetExhausted):
        ready.open(sealed, WEB)
    assert ready.last_event()["reason"] == "BUDGET_EXHAUSTED"
    other = replace(WEB_TLS, policy="other")
    ready.add_policy(ALLOW_WEB, other)
    assert ready.open(ready.seal(SECRET, other), WEB) == SECRET


def test_last_use_is_shown_to_the_day(ready: Kms) -> None:
    keys = ready.parts.blindfold_keys
    assert ready.run(keys.get(ready.call(KEY_ADMIN), KEY)).last_used is None
    sealed = ready.seal(SECRET)
    for days in (0, 1):
        ready.pass_time(timedelta(days=days))
        ready.open(sealed, WEB)
        used = ready.run(keys.get(ready.call(KEY_ADMIN), KEY)).last_used
        assert used == ready.now.replace(hour=0)


def test_rotation_keeps_old_secrets_open_and_seals_new_ones_to_the_new_version(ready: Kms) -> None:
    old_document, sealed = ready.key_document(), ready.seal(SECRET)
    version = ready.add_key("full-2")
    assert version.version == 2
    assert ready.key_document().key_version == 2
    request, state = blindfold.begin_open(sealed, old_document)
    binding = RevisionBinding(request.binding_value)
    evaluated = ready.run(ready.parts.evaluation.evaluate(ready.call(WEB), KEY, binding, [request.element]))
    [answer] = evaluated.results
    assert isinstance(answer, bytes)
    assert blindfold.finish_open(state, answer).reveal() == SECRET
    assert str(ACME) == "tenants/acme"
