"""Prefix sets: KMS policies follow them, documents of secret policies do not, and a missing one denies."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ACME, ADMIN, AUDITOR, AUTHOR, PROD, WEB, WEB_TLS, Kms, caller
from services.test_access_review import rule
from services.test_key_policies import KEY, key_record

from kms.errors import Denied, EtagMismatch, InvalidField, LimitExceeded, NotFound
from kms.model.access_request import AccessRequest
from kms.model.names import KmsPolicyName, PrefixSetName
from kms.model.policy_records import PrefixSetRecord
from kms.services.access_review import Circumstances
from kms.services.key_policies import KeyPolicies
from kms.services.prefix_sets import PrefixSet, PrefixSetSettings

OFFICE = PrefixSetName("acme", "office")
ORDERS = KmsPolicyName("acme", "prod", "orders")
FROM_OFFICE = {"rules": [rule("office", ip_prefixes=["prefixSets/office"])]}
# WEB calls from 192.0.2.1.
HERE, ELSEWHERE = ("192.0.2.0/24",), ("10.0.0.0/8",)


def make(kms: Kms, prefixes: tuple[str, ...] = HERE, name: PrefixSetName = OFFICE) -> PrefixSet:
    return kms.run(kms.parts.prefix_sets.create(kms.call(AUTHOR), name, PrefixSetSettings(prefixes), ""))


def change(kms: Kms, prefixes: tuple[str, ...], etag: str = "") -> PrefixSet:
    def changed(settings: PrefixSetSettings) -> PrefixSetSettings:
        return replace(settings, prefixes=prefixes)

    return kms.run(kms.parts.prefix_sets.update(kms.call(AUTHOR), OFFICE, changed, etag))


def require(kms: Kms, policies: KeyPolicies) -> str:
    """The rule that allows, or why the call is denied."""
    try:
        rules = policies.resolve(KEY, key_record(ORDERS))
        return rules.require(WEB, "ENCRYPT", None, kms.now)
    except Denied as error:
        return error.because


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """With the set and a KMS policy that names it."""
    make(kms)
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), ORDERS, FROM_OFFICE, ""))
    return kms


def test_set_is_made_changed_and_removed(kms: Kms) -> None:
    made = make(kms)
    kms.pass_time(timedelta(hours=1))
    changed = change(kms, ELSEWHERE, made.etag)
    assert (changed.record.prefixes, changed.record.create_time) == (ELSEWHERE, made.record.create_time)
    assert changed.record.update_time == kms.now
    with pytest.raises(EtagMismatch):
        change(kms, HERE, made.etag)
    assert kms.run(kms.parts.prefix_sets.get(kms.call(AUDITOR), OFFICE)) == changed
    listed = kms.run(kms.parts.prefix_sets.list(kms.call(ADMIN), ACME, "", 10))
    assert listed.items == (changed,)
    kms.run(kms.parts.prefix_sets.delete(kms.call(AUTHOR), OFFICE, changed.etag))
    with pytest.raises(NotFound):
        kms.run(kms.parts.prefix_sets.get(kms.call(AUDITOR), OFFICE))


@pytest.mark.parametrize(
    ("prefixes", "error"),
    [
        ((), InvalidField),
        (("10.0.0.1/8",), InvalidField),
        (("10.0.0.0/8", "10.0.0.0/8"), InvalidField),
        (("prefixSets/other",), InvalidField),
        (tuple(f"10.{i}.{j}.0/24" for i in range(2) for j in range(129)), LimitExceeded),
    ],
    ids=str,
)
def test_set_has_1_to_256_prefixes_and_no_other_sets(prefixes: tuple[str, ...], error: Any) -> None:
    with pytest.raises(error, match="prefixes"):
        PrefixSetSettings(prefixes)


def test_record_is_never_empty(ready: Kms) -> None:
    record = ready.parts.repository.require(PrefixSetRecord, str(OFFICE)).record
    with pytest.raises(ValueError, match="not empty"):
        replace(record, prefixes=())


@pytest.mark.parametrize("who", [WEB, ADMIN, AUDITOR, caller("p", "policy-author@prod")])
def test_only_authors_of_the_tenant_write_sets(kms: Kms, who: Any) -> None:
    with pytest.raises(Denied):
        kms.run(kms.parts.prefix_sets.create(kms.call(who), OFFICE, PrefixSetSettings(HERE), ""))


def test_authors_of_any_namespace_read_them(ready: Kms) -> None:
    service = ready.parts.prefix_sets
    assert (
        ready.run(service.get(ready.call(caller("p", "policy-author@prod")), OFFICE)).record.prefixes == HERE
    )


def test_kms_policy_follows_the_set_with_the_next_decision(ready: Kms) -> None:
    policies = KeyPolicies(ready.parts.repository)
    assert require(ready, policies) == "office"
    assert policies.at_hand(KEY, key_record(ORDERS), WEB, [b""]) is not None
    change(ready, ELSEWHERE)
    assert policies.at_hand(KEY, key_record(ORDERS), WEB, [b""]) is None
    assert require(ready, policies) == "NO_RULE_MATCHED"
    change(ready, HERE)
    assert require(ready, policies) == "office"


def test_set_that_was_removed_and_made_anew_is_not_taken_for_the_old_one(ready: Kms) -> None:
    policies = KeyPolicies(ready.parts.repository)
    assert require(ready, policies) == "office"
    ready.run(ready.parts.prefix_sets.delete(ready.call(AUTHOR), OFFICE, ""))
    make(ready, ELSEWHERE)
    assert require(ready, policies) == "NO_RULE_MATCHED"


def test_kms_policy_whose_set_is_gone_denies_and_says_why(ready: Kms) -> None:
    policies = KeyPolicies(ready.parts.repository)
    everybody = {"rules": [rule("all"), *FROM_OFFICE["rules"]]}
    ready.run(ready.parts.kms_policies.update(ready.call(AUTHOR), ORDERS, everybody, ""))
    assert require(ready, policies) == "all"
    ready.run(ready.parts.prefix_sets.delete(ready.call(AUTHOR), OFFICE, ""))
    assert require(ready, policies) == "PREFIX_SET_MISSING"
    asked = AccessRequest(caller=WEB, time=ready.now, operation="ENCRYPT")
    explained = ready.run(ready.parts.kms_policies.explain(ready.call(AUDITOR), ORDERS, asked))
    assert not explained.decision.is_allowed
    assert "there is no prefix set office" in explained.summary
    review = ready.parts.access_review.kms(ready.call(AUDITOR), ORDERS, "ENCRYPT", Circumstances(), "", 10)
    assert ready.run(review).items == ()
    make(ready, ELSEWHERE)
    assert require(ready, policies) == "all"


def test_sets_of_one_tenant_are_not_those_of_another(ready: Kms) -> None:
    policies = KeyPolicies(ready.parts.repository)
    record = ready.parts.repository
    assert require(ready, policies) == "office"
    contents = policies._contents
    revision = policies._revision("acme", str(ORDERS))
    assert contents.at_hand(revision, "acme") is not None
    assert contents.at_hand(revision, "globex") is None
    assert record.load(PrefixSetRecord, "tenants/globex/prefixSets/office") is None
    with pytest.raises(Denied):
        contents.read(revision, "globex")


def test_policies_name_no_set_that_is_not_there(kms: Kms) -> None:
    words = r"rules\[0\]\.ip_prefixes\[0\]: there is no prefix set office"
    author = kms.call(AUTHOR)
    for coroutine in (
        kms.parts.kms_policies.create(author, ORDERS, FROM_OFFICE, ""),
        kms.parts.kms_policies.validate(author, PROD, FROM_OFFICE),
        kms.parts.secret_policies.create(author, WEB_TLS, FROM_OFFICE, ""),
        kms.parts.secret_policies.validate(author, PROD, FROM_OFFICE),
    ):
        with pytest.raises(InvalidField, match=words):
            kms.run(coroutine)


def test_document_of_a_secret_policy_has_the_prefixes_and_keeps_them(kms: Kms) -> None:
    make(kms)
    kms.add_key()
    kms.add_policy(FROM_OFFICE)
    document = kms.policy_document()
    assert [dict(item)["ip_prefixes"] for item in document.rules] == [["192.0.2.0/24"]]
    sealed = kms.seal(b"secret")
    change(kms, ELSEWHERE)
    assert kms.open(sealed, WEB) == b"secret"
    kms.run(kms.parts.secret_policies.update(kms.call(AUTHOR), WEB_TLS, FROM_OFFICE, ""))
    assert kms.open(sealed, WEB) == b"secret"
    with pytest.raises(Denied):
        kms.open(kms.seal(b"secret"), WEB)


def test_validate_shows_what_a_revision_would_say(kms: Kms) -> None:
    make(kms)
    found = kms.run(kms.parts.secret_policies.validate(kms.call(AUTHOR), PROD, FROM_OFFICE))
    rules: Any = found.content["rules"]
    assert rules[0]["ip_prefixes"] == ["192.0.2.0/24"]
    assert [warning.code for warning in found.warnings] == ["NO_CLIENT_PREDICATE"]


def test_draft_is_simulated_with_the_sets_of_now(ready: Kms) -> None:
    change(ready, ELSEWHERE)
    simulations = ready.parts.simulations
    found = ready.run(simulations.kms(ready.call(AUDITOR), ORDERS, FROM_OFFICE, 10))
    assert found.changes == ()
    ready.add_policy(FROM_OFFICE)
    assert ready.run(simulations.secret(ready.call(AUDITOR), WEB_TLS, FROM_OFFICE, 10)).changes == ()
