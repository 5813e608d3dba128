"""Who can: agrees with every decision, counts what overrules the rules, and guesses nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from authz.policy_strategies import REQUESTS
from authz.policy_strategies import policies as contents
from hypothesis import HealthCheck, given, settings
from services.conftest import ACME, ADMIN, ALLOW_WEB, AUDITOR, AUTHOR, PROD, WEB, WEB_TLS, Kms, caller
from services.test_key_policies import KEY, key_record

from kms.authz.judge import Verdict
from kms.authz.roles import operation_permission, require_permission
from kms.client.credentials import generate_key_pair
from kms.errors import Denied, NotFound
from kms.identity.grant import Grant
from kms.model.access_request import AccessRequest
from kms.model.names import (
    Identity,
    IdentityName,
    KeyName,
    KmsPolicyName,
    KmsPolicyRevisionName,
    SecretPolicyRevisionName,
    SiteName,
    SiteWorkloadName,
)
from kms.model.records import IdentityRecord, KeyRecord
from kms.services.access_review import Access, Circumstances
from kms.services.explaining import known_caller
from kms.services.key_policies import KeyPolicies
from kms.services.repository import create

ORDERS = KmsPolicyName("acme", "prod", "orders")
OFFICE = {"ip_prefixes": ["10.0.0.0/8"]}
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
UNKNOWN = Circumstances()
ADMINISTRATOR = "tenants/acme/namespaces/system/identities/admin"
PEOPLE = {
    "ann": Grant(IdentityName("acme", "prod", "ann"), labels={"app": "u"}, roles=frozenset({"key-user"})),
    "bob": Grant(IdentityName("acme", "prod", "bob"), ("a", "b"), roles=frozenset({"red", "blue"})),
    "cat": Grant(IdentityName("acme", "dev", "cat"), labels={"app": "v", "tier": "u"}),
    "dan": Grant(SiteName("acme", "dan"), labels={"tier": ""}),
}


def enrol(kms: Kms, grant: Grant) -> None:
    _, change = kms.parts.identities.issue_first(generate_key_pair().csr, grant, kms.now)
    event = kms.call(ADMIN).event("Enrol", str(grant.identity), "ALLOW")
    kms.vault.store.commit([change], [event]).result()


@pytest.fixture
def people(kms: Kms) -> Kms:
    for grant in PEOPLE.values():
        enrol(kms, grant)
    return kms


def rule(name: str, action: str = "ALLOW", **predicates: Any) -> dict[str, Any]:
    return {"name": name, "action": action, **predicates}


def add(kms: Kms, *rules: dict[str, Any], name: KmsPolicyName = ORDERS) -> None:
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), name, {"rules": list(rules)}, ""))


def add_key(kms: Kms, policy: KmsPolicyName | None, key: KeyName = KEY, **labels: str) -> None:
    event = kms.call(ADMIN).event("Kms.Test", str(key), "ALLOW")
    kms.vault.store.commit([create(str(key), key_record(policy, **labels))], [event]).result()


def review(
    kms: Kms, name: Any = ORDERS, known: Circumstances = UNKNOWN, operation: str = "ENCRYPT"
) -> dict[str, tuple[str, ...]]:
    """By the last part of the identity's name: the verdict, the rules, and what it depends on.

    The administrator, whom every KMS has, is left out.
    """
    page = kms.run(kms.parts.access_review.kms(kms.call(AUDITOR), name, operation, known, "", 100))
    return told(page.items)


def of_secret(kms: Kms, name: Any = WEB_TLS, digest: bytes = b"") -> dict[str, tuple[str, ...]]:
    page = kms.run(kms.parts.access_review.secret(kms.call(AUDITOR), name, digest, UNKNOWN, "", 100))
    return told(page.items)


def told(items: tuple[Access, ...]) -> dict[str, tuple[str, ...]]:
    return {
        item.identity.rpartition("/")[2]: (
            item.judgement.verdict, *dict.fromkeys(item.judgement.rules), *item.judgement.depends_on,
        )
        for item in items
        if item.identity != ADMINISTRATOR
    }  # fmt: skip


def test_identities_are_listed_with_the_rules_that_allow_them(people: Kms) -> None:
    add(
        people,
        rule("no cats", "DENY", client_selector={"expressions": ["app=v"]}),
        rule("names", client_name="b"),
        rule("office", **OFFICE),
    )
    assert review(people) == {
        "ann": ("UNKNOWN", "office", "ip_prefixes"),
        "bob": ("ALLOW", "names"),
        "dan": ("UNKNOWN", "office", "ip_prefixes"),
    }
    assert review(people, known=Circumstances(address="10.1.2.3"))["ann"] == ("ALLOW", "office")
    assert list(review(people, known=Circumstances(address="192.0.2.1"))) == ["bob"]
    assert people.last_event()["action"] == "ReviewKmsPolicyAccess"


def test_policy_by_itself_knows_no_key(people: Kms) -> None:
    add(people, rule("orders", key_matcher={"exact_values": ["orders-1"]}, client_name="b"))
    assert review(people) == {"bob": ("UNKNOWN", "orders", "key_matcher")}
    assert review(people, operation="GENERATE_RANDOM") == {}


def test_old_revision_is_asked_and_a_deleted_policy_allows_nobody(people: Kms) -> None:
    add(people, rule("names", client_name="b"))
    people.run(people.parts.kms_policies.update(people.call(AUTHOR), ORDERS, {"rules": []}, ""))
    first = KmsPolicyRevisionName("acme", "prod", "orders", 1)
    assert (review(people), list(review(people, first))) == ({}, ["bob"])
    people.run(people.parts.kms_policies.delete(people.call(AUTHOR), ORDERS, ""))
    assert review(people, first) == {}


def test_of_a_key_all_policies_are_asked_and_a_role_must_permit_it(people: Kms) -> None:
    everybody = KmsPolicyName("acme", "prod", "everybody")
    add(people, rule("team", label_matcher={"keys": ["app"]}))
    add(people, rule("all", **OFFICE), name=everybody)
    add_key(people, ORDERS, app="u")
    assert review(people, KEY) == {"ann": ("ALLOW", "team")}
    people.run(people.parts.kms_policies.set_namespace_policies(people.call(AUTHOR), PROD, [everybody], ""))
    assert review(people, KEY) == {"ann": ("UNKNOWN", "team", "all", "ip_prefixes")}
    assert review(people, KEY, operation="IMPORT") == {}
    people.run(people.parts.kms_policies.delete(people.call(AUTHOR), everybody, ""))
    assert review(people, KEY) == {}


def test_revoked_identities_and_workloads_of_revoked_sites_are_left_out(people: Kms) -> None:
    add(people, rule("all"))
    enrol(people, Grant(SiteWorkloadName("acme", "prod", "dan", "eve")))
    assert sorted(review(people)) == ["ann", "bob", "cat", "dan", "eve"]
    for identity in (PEOPLE["ann"].identity, PEOPLE["dan"].identity):
        revoke(people, identity)
    assert sorted(review(people)) == ["bob", "cat"]


def revoke(kms: Kms, identity: Identity) -> None:
    kms.pass_time(timedelta(minutes=1))
    kms.run(kms.parts.identities.revoke(kms.call(ADMIN), identity, "", ""))


def test_secret_policy_counts_its_labels_and_the_deny_overlay(people: Kms) -> None:
    content = {"rules": [rule("team", label_matcher={"keys": ["app"]})], "labels": {"app": "u"}}
    people.add_policy(content)
    assert of_secret(people) == {"ann": ("ALLOW", "team")}
    first = SecretPolicyRevisionName("acme", "prod", "web-tls", 1)
    denied = ("spiffe://kms.test/tenant/acme/ns/prod/sa/ann",)
    people.run(people.parts.secret_policies.narrow_revision(people.call(AUTHOR), first, denied, "", ""))
    assert of_secret(people) == {}
    people.run(people.parts.secret_policies.update(people.call(AUTHOR), WEB_TLS, content, ""))
    assert list(of_secret(people)) == ["ann"]
    assert of_secret(people, first) == {}


def test_revision_of_a_sealed_secret_is_found_by_its_digest(people: Kms) -> None:
    old = people.add_policy({"rules": [rule("names", client_name="b")]}).head.record.digest
    people.run(people.parts.secret_policies.update(people.call(AUTHOR), WEB_TLS, ALLOW_WEB, ""))
    assert of_secret(people, ACME, old) == {"bob": ("ALLOW", "names")}
    with pytest.raises(NotFound):
        of_secret(people, ACME, bytes(32))


@pytest.mark.parametrize("name", [ORDERS, KmsPolicyRevisionName("acme", "prod", "orders", 2), KEY], ids=str)
def test_what_is_not_there_is_not_found(kms: Kms, name: Any) -> None:
    with pytest.raises(NotFound):
        review(kms, name)


@pytest.mark.parametrize("who", [WEB, caller("u", "key-user"), caller("g", "auditor", tenant="globex")])
def test_reviewing_needs_a_role_that_reads_policies(kms: Kms, who: Any) -> None:
    service = kms.parts.access_review
    with pytest.raises(Denied):
        kms.run(service.kms(kms.call(who), ORDERS, "ENCRYPT", UNKNOWN, "", 10))
    with pytest.raises(Denied):
        kms.run(service.secret(kms.call(who), WEB_TLS, b"", UNKNOWN, "", 10))


def test_pages_hold_so_many_identities_allowed_or_not(people: Kms) -> None:
    add(people, rule("names", client_name="b"))
    seen, after = [], ""
    for _ in range(10):
        page = people.run(
            people.parts.access_review.kms(people.call(AUDITOR), ORDERS, "ENCRYPT", UNKNOWN, after, 1)
        )
        seen.append([item.identity for item in page.items])
        after = page.next_after
        if not after:
            break
    assert len(seen) == len(PEOPLE) + 1
    assert [names for names in seen if names] == [[str(PEOPLE["bob"].identity)]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own=contents(), of_namespace=contents(), request=REQUESTS.filter(lambda r: r.operation is not None))
def test_review_agrees_with_the_decision_for_each_identity(
    people: Kms, own: Any, of_namespace: Any, request: AccessRequest
) -> None:
    people.requests += 1
    names = [KmsPolicyName("acme", "prod", f"p{people.requests}{letter}") for letter in "ab"]
    for name, content in zip(names, (own, of_namespace), strict=True):
        people.run(people.parts.kms_policies.create(people.call(AUTHOR), name, content, ""))
    people.run(people.parts.kms_policies.set_namespace_policies(people.call(AUTHOR), PROD, names[1:], ""))
    key = KeyName("acme", "prod", f"k{people.requests}")
    add_key(people, names[0], key, **request.resource_labels)
    known = Circumstances(request.caller.address or "somewhere", request.time, request.aad or b"")
    reviewed = review(people, key, known, str(request.operation))
    for name, grant in PEOPLE.items():
        assert reviewed.get(name, ("DENY",)) == decided(people, grant, key, known, str(request.operation))


def decided(kms: Kms, grant: Grant, key: KeyName, known: Circumstances, operation: str) -> tuple[str, ...]:
    """What the calls of an identity come to, told as in a review."""
    repository = kms.parts.repository
    identity = repository.require(IdentityRecord, str(grant.identity)).record
    who = known_caller(grant.identity, identity, known.address or "")
    rules = KeyPolicies(repository).resolve(key, repository.require(KeyRecord, str(key)).record)
    try:
        require_permission(who, operation_permission(operation), key.namespace)
        allowing = rules.require(who, operation, known.aad, known.time or NOON)
    except Denied:
        return (Verdict.DENY,)
    return (Verdict.ALLOW, *dict.fromkeys(allowing.split(" + ")))
