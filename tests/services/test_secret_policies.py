"""Secret policies: revisions that never change, one head, and what may be done to either."""

import hashlib
import threading
from dataclasses import replace
from typing import Any

import pytest
from services.conftest import ADMIN, ALLOW_WEB, AUDITOR, AUTHOR, BATCH, PROD, WEB, WEB_TLS, Kms, caller

from blindfold import Binding
from kms.authz import compile
from kms.errors import (
    AlreadyExists,
    Denied,
    EtagMismatch,
    InvalidField,
    LimitExceeded,
    NotFound,
    WrongState,
)
from kms.model.access_request import AccessRequest
from kms.model.names import NamespaceName, SecretPolicyName, SecretPolicyRevisionName
from kms.services.deny_overlay import MAX_DENIED, MAX_DENIED_BYTES
from kms.services.secret_policies import SecretPolicies

FIRST = SecretPolicyRevisionName("acme", "prod", "web-tls", 1)
ALLOW_BATCH = {"rules": [{"name": "b", "action": "ALLOW", "client_selector": {"expressions": ["app=batch"]}}]}


def policies(kms: Kms) -> SecretPolicies:
    return kms.parts.secret_policies


def test_created_policy_has_a_first_revision_with_the_author_s_content(kms: Kms) -> None:
    view = kms.add_policy(ALLOW_WEB | {"description": "web", "labels": {"tier": "front"}})
    document = view.current.document
    assert document.rules == tuple(ALLOW_WEB["rules"])
    assert (document.description, dict(document.labels)) == ("web", {"tier": "front"})
    assert (document.revision, document.binding) == (1, Binding.REVISION)
    assert view.head.record.digest == hashlib.sha256(document.to_bytes()).digest()


def test_uid_and_nonce_are_the_service_s_own(kms: Kms) -> None:
    """Content that asks for them is refused: an author who chose them could search for an exponent."""
    for field in ("uid", "nonce", "revision", "tenant"):
        with pytest.raises(InvalidField, match=field):
            kms.add_policy(ALLOW_WEB | {field: "00" * 16})
    first, second = (
        kms.add_policy(ALLOW_WEB, replace(WEB_TLS, policy=name)).current.document for name in ("one", "two")
    )
    assert first.uid != second.uid
    assert first.nonce != second.nonce


def test_update_makes_a_revision_and_keeps_the_old_one(kms: Kms) -> None:
    first = kms.add_policy()
    second = kms.run(policies(kms).update(kms.call(AUTHOR), WEB_TLS, ALLOW_BATCH, first.head.etag))
    assert second.head.record.revision == 2
    assert second.head.record.uid == first.head.record.uid
    assert second.current.document.nonce != first.current.document.nonce
    old = kms.run(policies(kms).get_revision(kms.call(AUTHOR), FIRST))
    assert old.policy.document == first.current.document
    assert old.row.record.author == AUTHOR.spiffe_id


def test_update_with_an_old_etag_is_refused(kms: Kms) -> None:
    first = kms.add_policy()
    kms.run(policies(kms).update(kms.call(AUTHOR), WEB_TLS, ALLOW_BATCH, first.head.etag))
    with pytest.raises(EtagMismatch):
        kms.run(policies(kms).update(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, first.head.etag))
    assert kms.run(policies(kms).get(kms.call(AUTHOR), WEB_TLS)).head.record.revision == 2


def test_binding_stays_for_life(kms: Kms) -> None:
    kms.add_policy()
    with pytest.raises(InvalidField, match="whole life"):
        kms.run(policies(kms).update(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB | {"binding": "POLICY"}, ""))


def test_name_is_taken_once_but_the_same_request_may_repeat(kms: Kms) -> None:
    create = policies(kms).create
    first = kms.run(create(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, "request-a"))
    again = kms.run(create(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, "request-a"))
    assert again.head.record == first.head.record
    for request_id in ("request-b", ""):
        with pytest.raises(AlreadyExists):
            kms.run(create(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, request_id))


def test_namespace_must_exist(kms: Kms) -> None:
    with pytest.raises(NotFound):
        kms.add_policy(ALLOW_WEB, SecretPolicyName("acme", "nowhere", "web-tls"))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"rules": [{"name": "a", "action": "ALLOW", "moon": "full"}]}, InvalidField),
        ({"rules": [{"name": "a", "action": "ALLOW", "operations": ["SIGN"]}]}, InvalidField),
        ({"rules": [{"name": f"r{i}", "action": "DENY"} for i in range(257)]}, LimitExceeded),
        ({"decrypt_cache_timeout_seconds": -1}, InvalidField),
        ({"binding": "NONE"}, InvalidField),
    ],
)
def test_bad_content_is_refused_and_leaves_nothing(kms: Kms, content: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        kms.add_policy(content)
    with pytest.raises(NotFound):
        kms.run(policies(kms).get(kms.call(AUTHOR), WEB_TLS))


def test_deleted_policy_is_listed_on_request_only_and_comes_back_whole(kms: Kms) -> None:
    first = kms.add_policy()
    deleted = kms.run(policies(kms).delete(kms.call(AUTHOR), WEB_TLS, first.head.etag))
    assert deleted.head.record.delete_time == kms.now

    def listed(*, show_deleted: bool) -> int:
        found = policies(kms).list(kms.call(AUTHOR), PROD, "", 10, show_deleted=show_deleted)
        return len(kms.run(found).items)

    assert (listed(show_deleted=False), listed(show_deleted=True)) == (0, 1)
    for refused in (
        policies(kms).delete(kms.call(AUTHOR), WEB_TLS, ""),
        policies(kms).update(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, ""),
    ):
        with pytest.raises(WrongState):
            kms.run(refused)
    restored = kms.run(policies(kms).undelete(kms.call(AUTHOR), WEB_TLS, ""))
    assert restored.current.document == first.current.document
    with pytest.raises(WrongState):
        kms.run(policies(kms).undelete(kms.call(AUTHOR), WEB_TLS, ""))


def test_administrator_stops_a_policy_at_once_and_cannot_start_it_again(kms: Kms) -> None:
    """One bound by name can be stopped in no other way by who does not write policies."""
    kms.add_policy(ALLOW_WEB | {"binding": "POLICY"})
    kms.run(policies(kms).delete(kms.call(ADMIN), WEB_TLS, ""))
    with pytest.raises(Denied):
        kms.run(policies(kms).undelete(kms.call(ADMIN), WEB_TLS, ""))


def test_revisions_are_paged_in_order(kms: Kms) -> None:
    kms.add_policy()
    for _ in range(11):
        kms.run(policies(kms).update(kms.call(AUTHOR), WEB_TLS, ALLOW_WEB, ""))
    numbers, after = [], ""
    while True:
        found = kms.run(policies(kms).list_revisions(kms.call(AUTHOR), WEB_TLS, after, 5))
        numbers += [view.policy.document.revision for view in found.items]
        after = found.next_after
        if not after:
            break
    assert numbers == list(range(1, 13))


def test_revoked_revision_is_revoked_for_good(kms: Kms) -> None:
    kms.add_policy()
    view = kms.run(policies(kms).revoke_revision(kms.call(ADMIN), FIRST, "", "lost laptop"))
    assert view.row.record.revoke_time == kms.now
    assert kms.last_event()["details"]["comment"] == "lost laptop"
    with pytest.raises(WrongState):
        kms.run(policies(kms).revoke_revision(kms.call(ADMIN), FIRST, "", ""))


def test_narrowing_adds_and_never_removes(kms: Kms) -> None:
    kms.add_policy()
    narrow = policies(kms).narrow_revision
    kms.run(narrow(kms.call(AUTHOR), FIRST, (WEB.spiffe_id,), "", ""))
    view = kms.run(narrow(kms.call(AUTHOR), FIRST, (BATCH.spiffe_id,), "", ""))
    assert set(view.row.record.denied) == {WEB.spiffe_id, BATCH.spiffe_id}


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        ((), "names nobody"),
        (("web",), "not a SPIFFE id"),
        (("spiffe://kms.test/web",), "not a SPIFFE id"),
        ((WEB.spiffe_id, "spiffe://typo.test/tenant/acme/ns/prod/sa/web"), r"\[1\].* trust domain typo.test"),
        (("spiffe://kms.test/tenant/globex/ns/prod/sa/web",), "tenant acme"),
        (("spiffe://kms.test/operator/root",), "tenant acme"),
    ],
)
def test_narrowing_by_a_name_that_would_deny_nobody_is_refused(kms: Kms, denied: Any, words: str) -> None:
    kms.add_policy()
    with pytest.raises(InvalidField, match=f"denied_identities.*{words}"):
        kms.run(policies(kms).narrow_revision(kms.call(AUTHOR), FIRST, denied, "", ""))
    assert kms.last_event()["decision"] == "FAIL"


@pytest.mark.parametrize(("length", "largest"), [(1, MAX_DENIED), (60, MAX_DENIED_BYTES // 160)])
def test_overlay_is_limited_in_number_and_bytes(kms: Kms, length: int, largest: int) -> None:
    """What is accepted can be read again, so that the revision can still be revoked."""
    kms.add_policy()

    def identities(count: int) -> tuple[str, ...]:
        start = f"spiffe://kms.test/tenant/acme/ns/{'n' * length}/sa/{'s' * (length - 6)}i"
        return tuple(f"{start}{number:05d}" for number in range(count))

    narrow = policies(kms).narrow_revision
    kms.run(narrow(kms.call(AUTHOR), FIRST, identities(largest), "", ""))
    with pytest.raises(LimitExceeded, match="revoke the revision instead"):
        kms.run(narrow(kms.call(AUTHOR), FIRST, identities(largest + 200), "", ""))
    kms.run(policies(kms).revoke_revision(kms.call(AUTHOR), FIRST, "", ""))


def test_policy_bound_by_name_is_edited_and_neither_revoked_nor_narrowed(kms: Kms) -> None:
    """Its sealed secrets follow the current rules: an overlay would end with the next update."""
    kms.add_policy(ALLOW_WEB | {"binding": "POLICY"})
    for refused in (
        policies(kms).revoke_revision(kms.call(AUTHOR), FIRST, "", ""),
        policies(kms).narrow_revision(kms.call(AUTHOR), FIRST, (WEB.spiffe_id,), "", ""),
    ):
        with pytest.raises(WrongState, match="edit its rules"):
            kms.run(refused)


def test_explain_answers_for_the_named_caller(kms: Kms) -> None:
    kms.add_policy()
    for who, allowed in ((WEB, True), (BATCH, False)):
        asked = AccessRequest(caller=who, time=kms.now)
        explained = kms.run(policies(kms).explain(kms.call(AUDITOR), WEB_TLS, asked))
        assert explained.decision.is_allowed == allowed
        assert explained.rules[0].name == "web"


def test_validate_warns_and_writes_nothing(kms: Kms) -> None:
    content = {"rules": [{"name": "everybody", "action": "ALLOW"}]}
    found = kms.run(policies(kms).validate(kms.call(AUTHOR), PROD, content))
    assert len(found.warnings) == 1
    assert not kms.run(policies(kms).list(kms.call(AUTHOR), PROD, "", 10, show_deleted=True)).items


@pytest.mark.parametrize(
    "who",
    [WEB, AUDITOR, caller("sealer", "secret-sealer"), caller("key-admin", "key-admin"),
     caller("elsewhere", "policy-author@dev"), caller("other", "policy-author", tenant="globex")],
    ids=lambda who: who.identity.identity,
)  # fmt: skip
def test_writing_needs_the_author_s_role_in_that_namespace(kms: Kms, who: Any) -> None:
    with pytest.raises(Denied):
        kms.run(policies(kms).create(kms.call(who), WEB_TLS, ALLOW_WEB, ""))
    event = kms.last_event()
    assert (event["action"], event["decision"], event["caller"]) == (
        "CreateSecretPolicy",
        "DENY",
        who.spiffe_id,
    )


def calls_with(kms: Kms, who: Any, content: Any) -> list[Any]:
    """Every call that takes content."""
    return [
        policies(kms).create(kms.call(who), replace(WEB_TLS, policy="new"), content, ""),
        policies(kms).update(kms.call(who), WEB_TLS, content, ""),
        policies(kms).validate(kms.call(who), PROD, content),
    ]


def test_content_of_who_may_not_write_is_not_looked_at(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    kms.add_policy()
    monkeypatch.setattr(compile, "parse_policy", lambda *_: pytest.fail("looked at"))
    for call in calls_with(kms, WEB, ALLOW_WEB):
        with pytest.raises(Denied):
            kms.run(call)
        assert kms.last_event()["decision"] == "DENY"


def test_content_is_read_and_compiled_off_the_event_loop(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    kms.add_policy()
    threads = set()
    original = compile.compile_policy

    def compile_policy(*arguments: Any) -> Any:
        threads.add(threading.current_thread())
        return original(*arguments)

    monkeypatch.setattr(compile, "compile_policy", compile_policy)
    for call in calls_with(kms, AUTHOR, ALLOW_BATCH):
        kms.run(call)
    assert threads
    assert threading.main_thread() not in threads


def test_content_that_is_refused_leaves_an_event(kms: Kms) -> None:
    kms.add_policy()
    bad = {"rules": [{"name": "a", "action": "ALLOW", "client_name_matcher": {"regex_values": ["("]}}]}
    for call in calls_with(kms, AUTHOR, bad):
        with pytest.raises(InvalidField, match="rules"):
            kms.run(call)
        assert (kms.last_event()["decision"], kms.last_event()["reason"]) == ("FAIL", "INVALID_FIELD")


def test_author_of_one_namespace_writes_there(kms: Kms) -> None:
    author = caller("author", "policy-author@prod")
    assert kms.run(policies(kms).create(kms.call(author), WEB_TLS, ALLOW_WEB, "")).head.record.revision == 1
    elsewhere = policies(kms).list(
        kms.call(author), NamespaceName("acme", "system"), "", 10, show_deleted=False
    )
    with pytest.raises(Denied):
        kms.run(elsewhere)
