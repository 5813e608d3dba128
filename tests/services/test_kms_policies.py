"""KMS policies: revisions that never change, one head, and the policy of a namespace."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from services.conftest import ADMIN, AUDITOR, AUTHOR, BATCH, KEY_ADMIN, PROD, WEB, Kms, caller

from kms.errors import (
    AlreadyExists,
    Denied,
    EtagMismatch,
    InvalidField,
    KmsError,
    LimitExceeded,
    NotFound,
    StoreTampered,
    WrongState,
)
from kms.model.access_request import AccessRequest
from kms.model.algorithms import Purpose
from kms.model.names import IdentityName, KeyName, KmsPolicyName, KmsPolicyRevisionName, NamespaceName
from kms.model.policy import OPERATIONS
from kms.model.policy_records import NamespacePolicyRecord
from kms.model.records import IdentityRecord
from kms.services.explaining import KnownIdentity
from kms.services.keys import KeySettings
from kms.services.kms_policies import KmsPolicies, KmsPolicyView
from kms.services.repository import create
from kms.services.tenants import Description

ORDERS = KmsPolicyName("acme", "prod", "orders")
FIRST = KmsPolicyRevisionName("acme", "prod", "orders", 1)
WEB_ENCRYPTS = {
    "rules": [
        {"name": "web", "action": "ALLOW", "client_selector": {"expressions": ["app=web"]},
         "operations": ["ENCRYPT"]}
    ]
}  # fmt: skip
WEB_DECRYPTS = {"rules": [{"name": "d", "action": "ALLOW", "roles": ["x"], "operations": ["DECRYPT"]}]}


def policies(kms: Kms) -> KmsPolicies:
    return KmsPolicies(kms.parts.guard, kms.parts.repository)


def add(kms: Kms, content: Any = WEB_ENCRYPTS, name: KmsPolicyName = ORDERS) -> KmsPolicyView:
    return kms.run(policies(kms).create(kms.call(AUTHOR), name, content, ""))


def test_created_policy_has_a_first_revision_with_the_author_s_content(kms: Kms) -> None:
    view = add(kms, WEB_ENCRYPTS | {"description": "orders"})
    assert dict(view.current.content) == WEB_ENCRYPTS | {
        "description": "orders",
        "rule_combining": "FIRST_MATCH",
    }
    record = view.current.row.record
    assert json.loads(record.content) == view.current.content
    assert record.digest == hashlib.sha256(record.content).digest()
    assert (record.author, record.create_time) == (AUTHOR.spiffe_id, kms.now)
    assert kms.run(policies(kms).get(kms.call(AUDITOR), ORDERS)) == view


def test_update_makes_a_revision_and_keeps_the_old_one(kms: Kms) -> None:
    first = add(kms)
    second = kms.run(policies(kms).update(kms.call(AUTHOR), ORDERS, WEB_DECRYPTS, first.head.etag))
    assert (second.head.record.revision, second.head.record.uid) == (2, first.head.record.uid)
    old = kms.run(policies(kms).get_revision(kms.call(AUTHOR), FIRST))
    assert old.content == first.current.content
    with pytest.raises(NotFound):
        kms.run(policies(kms).get_revision(kms.call(AUTHOR), replace(FIRST, revision=3)))


def test_update_of_some_fields_keeps_the_others_and_unsets_what_is_not_sent(kms: Kms) -> None:
    add(kms, WEB_ENCRYPTS | {"description": "orders", "rule_combining": "DENY_OVERRIDES"})
    changes = {"description": "changed", "rule_combining": "ALLOW_OVERRIDES"}
    view = kms.run(policies(kms).update(kms.call(AUTHOR), ORDERS, changes, "", ["description"]))
    content = view.current.content
    assert (content["description"], content["rule_combining"]) == ("changed", "DENY_OVERRIDES")
    assert content["rules"] == WEB_ENCRYPTS["rules"]
    view = kms.run(policies(kms).update(kms.call(AUTHOR), ORDERS, {}, "", ["description"]))
    assert "description" not in view.current.content


def test_update_with_an_old_etag_is_refused(kms: Kms) -> None:
    first = add(kms)
    kms.run(policies(kms).update(kms.call(AUTHOR), ORDERS, WEB_DECRYPTS, first.head.etag))
    with pytest.raises(EtagMismatch):
        kms.run(policies(kms).update(kms.call(AUTHOR), ORDERS, WEB_ENCRYPTS, first.head.etag))
    assert kms.run(policies(kms).get(kms.call(AUTHOR), ORDERS)).head.record.revision == 2


def test_name_is_taken_once_but_the_same_request_may_repeat(kms: Kms) -> None:
    first = kms.run(policies(kms).create(kms.call(AUTHOR), ORDERS, WEB_ENCRYPTS, "request-a"))
    again = kms.run(policies(kms).create(kms.call(AUTHOR), ORDERS, WEB_ENCRYPTS, "request-a"))
    assert again == first
    for request_id in ("request-b", ""):
        with pytest.raises(AlreadyExists):
            kms.run(policies(kms).create(kms.call(AUTHOR), ORDERS, WEB_ENCRYPTS, request_id))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"rules": [{"name": "a", "action": "ALLOW", "moon": "full"}]}, InvalidField),
        ({"rules": [{"name": "a", "action": "ALLOW", "operations": ["FORGE"]}]}, InvalidField),
        ({"rules": [{"name": f"r{i}", "action": "DENY"} for i in range(257)]}, LimitExceeded),
        ({"binding": "REVISION"}, InvalidField),
        ({"decrypt_cache_timeout_seconds": 1}, InvalidField),
    ],
)
def test_bad_content_is_refused_and_leaves_nothing(kms: Kms, content: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        add(kms, content)
    with pytest.raises(NotFound):
        kms.run(policies(kms).get(kms.call(AUTHOR), ORDERS))
    with pytest.raises(NotFound):
        add(kms, WEB_ENCRYPTS, KmsPolicyName("acme", "nowhere", "orders"))


def test_largest_policy_is_written_and_read(kms: Kms) -> None:
    rules = [
        {"name": f"r{number}", "action": "ALLOW", "description": "d" * 2048,
         "client_name_matcher": {"exact_values": [f"{number:0250d}"]}, "operations": list(OPERATIONS)}
        for number in range(256)
    ]  # fmt: skip
    view = add(kms, {"rules": rules})
    assert len(view.current.row.record.content) > 650_000
    fresh = KmsPolicies(kms.parts.guard, type(kms.parts.repository)(kms.vault.store))
    assert kms.run(fresh.get(kms.call(AUTHOR), ORDERS)) == view


def test_content_of_another_digest_is_not_served(kms: Kms) -> None:
    record = add(kms).current.row.record
    for number, content in ((2, b'{"rules":[]}'), (3, b"{}"), (4, b"no json")):
        digest = record.digest if number < 4 else hashlib.sha256(content).digest()
        forged = replace(record, content=content, digest=digest)
        event = kms.call(AUTHOR).event("Kms.Test", str(ORDERS), "ALLOW")
        kms.vault.store.commit([create(f"{ORDERS}/revisions/{number:010d}", forged)], [event]).result()
        with pytest.raises(StoreTampered):
            kms.run(policies(kms).get_revision(kms.call(AUTHOR), replace(FIRST, revision=number)))


def test_deleted_policy_is_listed_on_request_only_and_comes_back_whole(kms: Kms) -> None:
    first = add(kms)
    deleted = kms.run(policies(kms).delete(kms.call(AUTHOR), ORDERS, first.head.etag))
    assert deleted.head.record.delete_time == kms.now

    def listed(*, show_deleted: bool) -> int:
        found = policies(kms).list(kms.call(AUTHOR), PROD, "", 10, show_deleted=show_deleted)
        return len(kms.run(found).items)

    assert (listed(show_deleted=False), listed(show_deleted=True)) == (0, 1)
    for refused in (
        policies(kms).delete(kms.call(AUTHOR), ORDERS, ""),
        policies(kms).update(kms.call(AUTHOR), ORDERS, WEB_DECRYPTS, ""),
        policies(kms).set_namespace_policies(kms.call(AUTHOR), PROD, [ORDERS], ""),
    ):
        with pytest.raises(WrongState):
            kms.run(refused)
    restored = kms.run(policies(kms).undelete(kms.call(AUTHOR), ORDERS, ""))
    assert restored.current == first.current
    with pytest.raises(WrongState):
        kms.run(policies(kms).undelete(kms.call(AUTHOR), ORDERS, ""))


def test_revisions_are_paged_in_order(kms: Kms) -> None:
    add(kms)
    for number in range(2, 13):
        kms.run(policies(kms).update(kms.call(AUTHOR), ORDERS, {"description": f"d{number}"}, ""))
    names, after = [], ""
    while True:
        found = kms.run(policies(kms).list_revisions(kms.call(AUTHOR), ORDERS, after, 5))
        names += [view.row.name for view in found.items]
        after = found.next_after
        if not after:
            break
    assert names == [f"{ORDERS}/revisions/{number:010d}" for number in range(1, 13)]


def test_validate_warns_and_writes_nothing(kms: Kms) -> None:
    content = {"rules": [{"name": "everybody", "action": "ALLOW"}]}
    warnings = kms.run(policies(kms).validate(kms.call(ADMIN), PROD, content))
    assert [warning.code for warning in warnings] == ["NO_CLIENT_PREDICATE"]
    assert not kms.run(policies(kms).list(kms.call(AUTHOR), PROD, "", 10, show_deleted=True)).items


@pytest.mark.parametrize(
    ("who", "operation", "allowed"),
    [(WEB, "ENCRYPT", True), (WEB, "DECRYPT", False), (BATCH, "ENCRYPT", False)],
)
def test_explain_answers_for_the_named_caller(kms: Kms, who: Any, operation: str, allowed: bool) -> None:
    add(kms)
    asked = AccessRequest(caller=who, time=kms.now, operation=operation, key_name="k")
    explained = kms.run(policies(kms).explain(kms.call(AUDITOR), ORDERS, asked))
    assert explained.decision.is_allowed == allowed
    assert explained.rules[0].name == "web"


def test_explain_answers_for_an_enrolled_identity_and_an_old_revision(kms: Kms) -> None:
    add(kms)
    kms.run(policies(kms).update(kms.call(AUTHOR), ORDERS, WEB_DECRYPTS, ""))
    identity = IdentityName("acme", "prod", "web")
    row = IdentityRecord(WEB.spiffe_id, (), {"app": "web"}, (), kms.now, None, (), "")
    event = kms.call(ADMIN).event("Kms.Test", str(identity), "ALLOW")
    kms.vault.store.commit([create(str(identity), row)], [event]).result()
    asked = KnownIdentity(identity, "192.0.2.1", kms.now, operation="ENCRYPT", key_name="k")

    def allowed(name: KmsPolicyName | KmsPolicyRevisionName) -> bool:
        return kms.run(policies(kms).explain(kms.call(AUDITOR), name, asked)).decision.is_allowed

    assert (allowed(FIRST), allowed(ORDERS)) == (True, False)


def test_explain_says_what_overrules_the_rules(kms: Kms) -> None:
    add(kms)
    stranger = caller("web", tenant="globex", app="web")
    asked = AccessRequest(caller=stranger, time=kms.now, operation="ENCRYPT", key_name="k")
    explained = kms.run(policies(kms).explain(kms.call(AUDITOR), ORDERS, asked))
    assert not explained.decision.is_allowed
    assert "not of the policy's tenant" in explained.summary
    kms.run(policies(kms).delete(kms.call(AUTHOR), ORDERS, ""))
    asked = replace(asked, caller=WEB)
    explained = kms.run(policies(kms).explain(kms.call(AUDITOR), ORDERS, asked))
    assert not explained.decision.is_allowed
    assert "the policy is deleted" in explained.summary


@pytest.mark.parametrize(
    "who",
    [WEB, AUDITOR, ADMIN, KEY_ADMIN, caller("user", "key-user"), caller("elsewhere", "policy-author@dev"),
     caller("other", "policy-author", tenant="globex")],
    ids=lambda who: who.identity.identity,
)  # fmt: skip
def test_writing_needs_the_author_s_role_in_that_namespace(kms: Kms, who: Any) -> None:
    with pytest.raises(Denied):
        kms.run(policies(kms).create(kms.call(who), ORDERS, WEB_ENCRYPTS, ""))
    event = kms.last_event()
    assert (event["action"], event["decision"], event["caller"]) == ("CreateKmsPolicy", "DENY", who.spiffe_id)


def test_every_call_is_recorded_under_its_name(kms: Kms) -> None:
    service, author = policies(kms), kms.call(AUTHOR)
    asked = AccessRequest(caller=WEB, time=kms.now, operation="ENCRYPT")
    calls = {
        "CreateKmsPolicy": service.create(author, ORDERS, WEB_ENCRYPTS, ""),
        "GetKmsPolicy": service.get(author, ORDERS),
        "ListKmsPolicies": service.list(author, PROD, "", 10, show_deleted=False),
        "UpdateKmsPolicy": service.update(author, ORDERS, WEB_DECRYPTS, ""),
        "ListKmsPolicyRevisions": service.list_revisions(author, ORDERS, "", 10),
        "GetKmsPolicyRevision": service.get_revision(author, FIRST),
        "ValidateKmsPolicy": service.validate(author, PROD, WEB_ENCRYPTS),
        "ExplainKmsPolicy": service.explain(author, ORDERS, asked),
        "SetNamespacePolicy": service.set_namespace_policies(author, PROD, [ORDERS], ""),
        "GetNamespacePolicy": service.get_namespace_policies(author, PROD),
        "DeleteKmsPolicy": service.delete(author, ORDERS, ""),
        "UndeleteKmsPolicy": service.undelete(author, ORDERS, ""),
    }
    for action, coroutine in calls.items():
        kms.run(coroutine)
        event = kms.last_event()
        assert (event["action"], event["decision"]) == (action, "ALLOW")


def test_policy_of_a_namespace_is_set_changed_and_taken_away(kms: Kms) -> None:
    add(kms)
    none = kms.run(policies(kms).get_namespace_policies(kms.call(KEY_ADMIN), PROD))
    assert none.record == NamespacePolicyRecord(())
    first = kms.run(policies(kms).set_namespace_policies(kms.call(ADMIN), PROD, [ORDERS], none.etag))
    assert kms.last_event()["details"]["policies"] == str(ORDERS)
    assert kms.run(policies(kms).get_namespace_policies(kms.call(AUTHOR), PROD)) == first
    with pytest.raises(EtagMismatch):
        kms.run(policies(kms).set_namespace_policies(kms.call(ADMIN), PROD, [], none.etag))
    last = kms.run(policies(kms).set_namespace_policies(kms.call(AUTHOR), PROD, [], first.etag))
    assert last.record.policies == ()
    assert last.etag not in (none.etag, first.etag)


@pytest.mark.parametrize(
    ("namespace", "policies_of_set"),
    [
        (PROD, [KmsPolicyName("acme", "prod", "missing")]),
        (PROD, [ORDERS, KmsPolicyName("globex", "prod", "orders")]),
        (NamespaceName("acme", "nowhere"), [ORDERS]),
        (NamespaceName("acme", "nowhere"), []),
    ],
    ids=str,
)
def test_namespace_and_its_policy_must_exist_in_the_tenant(
    kms: Kms, namespace: NamespaceName, policies_of_set: list[KmsPolicyName]
) -> None:
    add(kms)
    with pytest.raises(NotFound):
        kms.run(policies(kms).set_namespace_policies(kms.call(AUTHOR), namespace, policies_of_set, ""))


@pytest.mark.parametrize(
    ("who", "may_set", "may_get"),
    [(AUTHOR, True, True), (ADMIN, True, True), (KEY_ADMIN, False, True), (AUDITOR, False, False),
     (WEB, False, False), (caller("o", "policy-author@dev"), False, False),
     (caller("p", "policy-author@prod"), True, True),
     (caller("g", "tenant-admin", tenant="globex"), False, False)],
    ids=lambda value: "" if isinstance(value, bool) else value.identity.identity,
)  # fmt: skip
def test_choosing_the_policy_of_a_namespace_needs_a_role_there(
    kms: Kms, who: Any, may_set: bool, may_get: bool
) -> None:
    add(kms)

    def may(coroutine: Any) -> bool:
        try:
            kms.run(coroutine)
        except Denied:
            return False
        return True

    assert may(policies(kms).set_namespace_policies(kms.call(who), PROD, [ORDERS], "")) == may_set
    assert may(policies(kms).get_namespace_policies(kms.call(who), PROD)) == may_get


def test_policies_that_the_caller_may_not_read_are_not_there_for_him(kms: Kms) -> None:
    """Nor may he choose them: he could take the most lenient of the tenant, and learn which there are."""
    for namespace in ("dev", "shared"):
        place = NamespaceName("acme", namespace)
        kms.run(kms.parts.namespaces.create(kms.call(ADMIN), place, Description(), ""))
        add(kms, name=KmsPolicyName("acme", namespace, "there"))
    bound = {who: caller(who, f"{who}@prod") for who in ("policy-author", "key-admin")}

    def choose_for_namespace(policy: KmsPolicyName, who: Any = bound["policy-author"]) -> None:
        kms.run(policies(kms).set_namespace_policies(kms.call(who), PROD, [policy], ""))

    def choose_for_key(policy: KmsPolicyName, who: Any = bound["key-admin"]) -> None:
        settings = KeySettings(policy=policy)
        name = KeyName("acme", "prod", f"k-{policy.namespace}-{policy.policy}")
        made = kms.parts.keys.create(kms.call(who), name, Purpose.MAC, "", settings, "")
        kms.run(made)

    for choose in (choose_for_namespace, choose_for_key):
        for policy_id in ("there", "missing"):
            with pytest.raises(Denied):
                choose(KmsPolicyName("acme", "dev", policy_id))
        choose(KmsPolicyName("acme", "shared", "there"))
    choose_for_namespace(KmsPolicyName("acme", "dev", "there"), AUTHOR)
    choose_for_namespace(KmsPolicyName("acme", "dev", "there"))
    choose_for_key(KmsPolicyName("acme", "dev", "there"), KEY_ADMIN)


def test_namespace_with_policies_is_not_deleted_and_a_new_one_inherits_none(kms: Kms) -> None:
    dev = NamespaceName("acme", "dev")
    kms.run(kms.parts.namespaces.create(kms.call(ADMIN), dev, Description(), ""))
    add(kms)
    kms.run(policies(kms).set_namespace_policies(kms.call(AUTHOR), dev, [ORDERS], ""))
    with pytest.raises(WrongState, match="kmsPolicies"):
        kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), PROD, ""))
    kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), dev, ""))
    kms.run(kms.parts.namespaces.create(kms.call(ADMIN), dev, Description(), ""))
    assert kms.run(policies(kms).get_namespace_policies(kms.call(AUTHOR), dev)).record.policies == ()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([ORDERS, ORDERS], "a policy is listed twice"),
        ([KmsPolicyName("acme", "prod", f"p{number}") for number in range(17)], "at most 16 policies"),
    ],
    ids=["twice", "many"],
)
def test_set_has_up_to_16_policies_each_once(kms: Kms, names: list[KmsPolicyName], words: str) -> None:
    with pytest.raises(InvalidField, match=words):
        kms.run(policies(kms).set_namespace_policies(kms.call(AUTHOR), PROD, names, ""))


def test_policy_is_not_chosen_after_it_was_deleted(kms: Kms) -> None:
    """The head is required as it was read, so the slower of two writers sees the faster one's change."""
    add(kms)
    raced = kms.run(_both(policies(kms), kms))
    allowed = [event["action"] for event in kms.events() if event["decision"] == "ALLOW"][-2:]
    if any(isinstance(outcome, KmsError) for outcome in raced):
        assert [type(outcome) for outcome in raced][1] is WrongState
        assert kms.parts.repository.load(NamespacePolicyRecord, str(PROD)) is None
    else:
        assert allowed == ["SetNamespacePolicy", "DeleteKmsPolicy"]


async def _both(service: KmsPolicies, kms: Kms) -> Sequence[object]:
    return await asyncio.gather(
        service.delete(kms.call(AUTHOR), ORDERS, ""),
        service.set_namespace_policies(kms.call(AUTHOR), PROD, [ORDERS], ""),
        return_exceptions=True,
    )
