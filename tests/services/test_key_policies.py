"""The decision for keys: the key's policy and the namespace's, and nothing allows without one."""

import hashlib
import itertools
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from authz.policy_strategies import REQUESTS
from authz.policy_strategies import policies as contents
from hypothesis import HealthCheck, given, settings
from services.conftest import AUTHOR, BATCH, PROD, WEB, Kms

from kms.errors import Denied, StoreTampered
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import KeyName, KmsPolicyName
from kms.model.policy_records import KmsPolicyRecord, KmsPolicyRevisionRecord
from kms.model.records import KeyRecord
from kms.services.key_policies import KeyPolicies, KeyRules
from kms.services.kms_policies import KmsPolicies

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = KeyName("acme", "prod", "orders-1")


def rule(name: str, action: str = "ALLOW", **predicates: Any) -> dict[str, Any]:
    return {"rules": [{"name": name, "action": action, **predicates}]}


WEB_ONLY = rule("web only", client_selector={"expressions": ["app=web"]})
ENCRYPT_ONLY = rule("encrypt only", operations=["ENCRYPT"])


def key_record(policy: KmsPolicyName | None, **labels: str) -> KeyRecord:
    return KeyRecord(
        uid=bytes(16),
        purpose="ENCRYPT_DECRYPT",
        algorithm="AES_256_GCM",
        sensitivity="MEDIUM",
        description="",
        labels=labels,
        policy="" if policy is None else str(policy),
        primary=1,
        last_version=1,
        minimum_encrypt_version=0,
        minimum_decrypt_version=0,
        rotation_period=0,
        next_rotation_time=None,
        create_time=NOW,
        request_id="",
    )


@dataclass
class Desk:
    """The service that writes policies, and the one that asks them."""

    kms: Kms
    author: KmsPolicies
    asked: KeyPolicies
    numbers: Iterator[int]

    def add(self, content: Any) -> KmsPolicyName:
        name = KmsPolicyName("acme", "prod", f"p{next(self.numbers)}")
        self.kms.run(self.author.create(self.kms.call(AUTHOR), name, content, ""))
        return name

    def choose(self, *policies: KmsPolicyName) -> None:
        self.kms.run(self.author.set_namespace_policies(self.kms.call(AUTHOR), PROD, policies, ""))

    def require(
        self,
        policy: KmsPolicyName | None,
        who: Caller = WEB,
        operation: str = "ENCRYPT",
        aad: bytes | None = None,
        **labels: str,
    ) -> str:
        return self.asked.resolve(KEY, key_record(policy, **labels)).require(who, operation, aad, NOW)

    def reason(self, policy: KmsPolicyName | None, who: Caller = WEB, operation: str = "ENCRYPT") -> str:
        with pytest.raises(Denied) as caught:
            self.require(policy, who, operation)
        return caught.value.because


@pytest.fixture
def desk(kms: Kms) -> Desk:
    repository = kms.parts.repository
    author = KmsPolicies(kms.parts.guard, repository)
    return Desk(kms, author, KeyPolicies(repository), itertools.count())


def test_key_without_any_policy_denies(desk: Desk) -> None:
    assert desk.reason(None) == "NO_POLICY"
    desk.choose(desk.add(WEB_ONLY))
    desk.choose()
    assert desk.reason(None) == "NO_POLICY"


def test_one_policy_decides_wherever_it_is_named(desk: Desk) -> None:
    policy = desk.add(WEB_ONLY)
    assert desk.require(policy) == "web only"
    assert desk.reason(policy, BATCH) == "NO_RULE_MATCHED"
    desk.choose(policy)
    assert desk.require(None) == "web only"
    assert desk.reason(None, BATCH) == "NO_RULE_MATCHED"


def test_both_policies_must_allow(desk: Desk) -> None:
    own = desk.add(WEB_ONLY)
    desk.choose(desk.add(ENCRYPT_ONLY))
    assert desk.require(own) == "web only + encrypt only"
    assert desk.reason(own, BATCH) == "NO_RULE_MATCHED"
    assert desk.reason(own, operation="DECRYPT") == "NO_RULE_MATCHED"
    assert desk.require(None, BATCH) == "encrypt only"


def test_explicit_denial_of_either_denies(desk: Desk) -> None:
    allow, deny = desk.add(rule("all")), desk.add(rule("stop", "DENY"))
    for own, of_namespace in ((allow, deny), (deny, allow)):
        desk.choose(of_namespace)
        assert desk.reason(own) == "RULE_MATCHED"


def test_of_a_set_the_first_policy_with_a_matching_rule_decides(desk: Desk) -> None:
    stop = desk.add(rule("no signatures", "DENY", operations=["SIGN"]))
    everybody, web = desk.add(rule("all")), desk.add(WEB_ONLY)
    desk.choose(stop, web, everybody)
    assert desk.require(None) == "web only"
    assert desk.require(None, BATCH) == "all"
    assert desk.reason(None, operation="SIGN") == "RULE_MATCHED"
    desk.choose(everybody, stop)
    assert desk.require(None, operation="SIGN") == "all"
    desk.choose(stop, web)
    assert desk.reason(None, BATCH) == "NO_RULE_MATCHED"
    assert desk.require(web) == "web only + web only"


def test_rule_of_a_set_that_cannot_be_evaluated_denies_though_a_later_policy_allows(desk: Desk) -> None:
    lost = desk.add(rule("office", ip_prefixes=["10.0.0.0/8"]))
    desk.choose(lost, desk.add(rule("all")))
    assert desk.reason(None, replace(WEB, address="")) == "EVALUATION_ERROR"
    assert desk.require(None, WEB) == "all"


def test_deleted_policy_of_a_set_denies_wherever_it_stands(desk: Desk) -> None:
    gone, all_ = desk.add(WEB_ONLY), desk.add(rule("all"))
    for order in ((gone, all_), (all_, gone)):
        desk.choose(*order)
        assert desk.require(None) in ("web only", "all")
    desk.kms.run(desk.author.delete(desk.kms.call(AUTHOR), gone, ""))
    assert desk.reason(None) == "POLICY_DELETED"


def test_policy_that_is_both_is_asked_once(desk: Desk) -> None:
    policy = desk.add(WEB_ONLY)
    desk.choose(policy)
    assert desk.require(policy) == "web only"


def test_two_policies_of_equal_content_are_two_policies(desk: Desk) -> None:
    own, of_namespace = desk.add(WEB_ONLY), desk.add(WEB_ONLY)
    desk.choose(of_namespace)
    assert desk.require(own) == "web only + web only"
    assert (
        desk.asked.resolve(KEY, key_record(own)).sets[0][0]
        is (desk.asked.resolve(KEY, key_record(of_namespace)).sets[0][0])
    )
    desk.kms.run(desk.author.delete(desk.kms.call(AUTHOR), of_namespace, ""))
    assert desk.reason(own) == "POLICY_DELETED"


def test_deleted_or_missing_policy_denies_whatever_the_other_says(desk: Desk) -> None:
    good, gone = desk.add(WEB_ONLY), desk.add(WEB_ONLY)
    missing = KmsPolicyName("acme", "prod", "missing")
    desk.kms.run(desk.author.delete(desk.kms.call(AUTHOR), gone, ""))
    assert desk.reason(gone) == desk.reason(missing) == "POLICY_DELETED"
    desk.choose(good)
    assert desk.reason(gone) == desk.reason(missing) == "POLICY_DELETED"
    desk.kms.run(desk.author.delete(desk.kms.call(AUTHOR), good, ""))
    assert desk.reason(None) == "POLICY_DELETED"
    desk.kms.run(desk.author.undelete(desk.kms.call(AUTHOR), good, ""))
    assert desk.require(None) == "web only"


def test_policy_of_another_tenant_is_none(desk: Desk) -> None:
    policy = desk.add(WEB_ONLY)
    with pytest.raises(Denied) as caught:
        desk.asked.resolve(KeyName("globex", "prod", "k"), key_record(policy))
    assert caught.value.because == "POLICY_DELETED"


def test_update_counts_from_the_next_call(desk: Desk) -> None:
    policy = desk.add(WEB_ONLY)
    assert desk.require(policy) == "web only"
    desk.kms.run(desk.author.update(desk.kms.call(AUTHOR), policy, rule("nobody", "DENY"), ""))
    assert desk.reason(policy) == "RULE_MATCHED"


def test_key_is_seen_by_its_id_and_labels(desk: Desk) -> None:
    matching = rule(
        "orders", key_matcher={"regex_values": ["orders-[0-9]+"]}, label_matcher={"keys": ["app"]}
    )
    policy = desk.add(matching)
    assert desk.require(policy, app="web") == "orders"
    for key, app in ((KEY, "batch"), (replace(KEY, key="other"), "web")):
        with pytest.raises(Denied):
            desk.asked.resolve(key, key_record(policy, app=app)).require(WEB, "ENCRYPT", None, NOW)


def test_rules_say_whether_the_additional_data_matters(desk: Desk) -> None:
    plain, reading = desk.add(WEB_ONLY), desk.add(rule("a", aad_matcher={"equals": ["YQ=="]}))

    def depends(policy: KmsPolicyName) -> bool:
        return desk.asked.resolve(KEY, key_record(policy)).depends_on_aad

    assert (depends(plain), depends(reading)) == (False, True)
    desk.choose(reading)
    assert depends(plain)
    assert desk.require(plain, aad=b"a") == "web only + a"
    with pytest.raises(Denied):
        desk.require(plain, aad=b"b")


@pytest.mark.parametrize("content", [b'{"rules":[]}', b'{"moon":"full"}'], ids=["digest", "meaning"])
def test_revision_that_does_not_hold_stops_the_decision(desk: Desk, content: bytes) -> None:
    policy = desk.add(WEB_ONLY)
    assert desk.require(policy) == "web only"
    store, call = desk.kms.vault.store, desk.kms.call(AUTHOR)
    loaded = desk.kms.parts.repository.require(KmsPolicyRevisionRecord, f"{policy}/revisions/0000000001")
    digest = loaded.record.digest if b"rules" in content else hashlib.sha256(content).digest()
    forged = replace(loaded.record, content=content, digest=digest)
    store.commit([loaded.put(forged)], [call.event("Kms.Test", str(policy), "ALLOW")]).result()
    with pytest.raises(StoreTampered):
        desk.require(policy)


def test_head_without_its_revision_stops_the_decision(desk: Desk) -> None:
    policy = desk.add(WEB_ONLY)
    head = desk.kms.parts.repository.require(KmsPolicyRecord, str(policy))
    event = desk.kms.call(AUTHOR).event("Kms.Test", str(policy), "ALLOW")
    desk.kms.vault.store.commit([head.put(replace(head.record, revision=2))], [event]).result()
    with pytest.raises(StoreTampered):
        desk.require(policy)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own=contents(), of_namespace=contents(), request=REQUESTS.filter(lambda r: r.operation is not None))
def test_both_allow_if_and_only_if_each_alone_allows(
    desk: Desk, own: Any, of_namespace: Any, request: AccessRequest
) -> None:
    key = replace(KEY, key=request.key_name or "c")

    def allows(policy: KmsPolicyName | None) -> bool:
        rules = desk.asked.resolve(key, key_record(policy, **request.resource_labels))
        answers = {_allowed(rules, request, aad) for aad in (request.aad, b"", b"ab")}
        assert rules.depends_on_aad or len(answers) == 1
        return _allowed(rules, request, request.aad)

    own_policy, namespace_policy = desk.add(own), desk.add(of_namespace)
    desk.choose()
    each = (allows(own_policy), allows(namespace_policy))
    desk.choose(namespace_policy)
    assert allows(None) == each[1]
    assert allows(own_policy) == all(each)


def _allowed(rules: KeyRules, request: AccessRequest, aad: bytes | None) -> bool:
    try:
        rules.require(request.caller, str(request.operation), aad, request.time)
    except Denied:
        return False
    return True


def test_rules_are_at_hand_once_they_were_read_unless_asking_them_may_take_long(desk: Desk) -> None:
    """What takes long is asked in a thread: the event loop serves others."""
    plain = key_record(desk.add(WEB_ONLY))
    slow = key_record(desk.add(rule("r", client_name_matcher={"regex_values": ["(?:.?){250}web"]})))
    assert desk.asked.at_hand(KEY, plain, WEB, [b""]) is None
    rules = desk.asked.resolve(KEY, plain)
    assert desk.asked.at_hand(KEY, plain, WEB, [b"aad"] * 1000) == rules
    desk.asked.resolve(KEY, slow)
    assert desk.asked.at_hand(KEY, slow, WEB, [b""]) is None


def test_a_short_expression_is_asked_at_once_unless_each_of_many_items_asks_it(desk: Desk) -> None:
    short = {"regex_values": [".*/sa/web"]}
    once = key_record(desk.add(rule("r", client_name_matcher=short)))
    by_aad = {"starts_with": ["YQ=="]}
    each = key_record(desk.add(rule("r", client_name_matcher=short, aad_matcher=by_aad)))
    for record in (once, each):
        desk.asked.resolve(KEY, record)
    found = [
        (desk.asked.at_hand(KEY, record, WEB, [b""] * items) is not None)
        for record in (once, each)
        for items in (1, 1000)
    ]
    assert found == [True, True, True, False]


def test_searching_much_data_for_many_values_is_work_for_a_thread(desk: Desk) -> None:
    values = [b64encode(bytes([number])).decode() for number in range(64)]
    lacking = key_record(desk.add(rule("r", aad_matcher={"lacks": values})))
    desk.asked.resolve(KEY, lacking)
    assert desk.asked.at_hand(KEY, lacking, WEB, [b"a" * 100]) is not None
    assert desk.asked.at_hand(KEY, lacking, WEB, [b"a" * (16 << 10)]) is None
    assert desk.asked.at_hand(KEY, lacking, WEB, [b"a" * 100] * 1000) is None
