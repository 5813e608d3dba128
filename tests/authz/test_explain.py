"""Explanations: which rule decided, and what failed first in each rule before it, in words."""

from datetime import UTC, datetime

import pytest
from policy_strategies import caller

from kms.authz.compile import BUILDERS, compile_policy
from kms.authz.explain import explain
from kms.model.access_request import AccessRequest
from kms.model.policy import PolicyKind
from kms.model.policy_json import parse_policy

NOON = datetime(2026, 6, 3, 12, tzinfo=UTC)


def explained(*rules, combining="FIRST_MATCH", operation="ENCRYPT", key_name="orders", **of_caller):
    named = [{"name": f"rule {number}", "action": "ALLOW"} | rule for number, rule in enumerate(rules)]
    policy = compile_policy(parse_policy({"rules": named, "rule_combining": combining}, PolicyKind.KMS))
    who = caller(**({"labels": {"app": "web", "tier": "a"}, "roles": frozenset({"red"})} | of_caller))
    request = AccessRequest(
        caller=who,
        time=NOON,
        operation=operation,
        key_name=key_name,
        aad=b"confidential",
        resource_labels={"tier": "b"},
    )
    return explain(policy, request)


FAILED = [
    ({"client_name": "b"}, "none of the caller's names (a) fits"),
    ({"client_name_matcher": {"regex_values": ["b"]}}, "none of the caller's names (a) fits"),
    (
        {"client_selector": {"expressions": ["!app"]}},
        "no selector holds on the caller's labels (app=web, tier=a)",
    ),
    (
        {"label_matcher": {"keys": ["tier"]}},
        "the label tier of the caller (a) and of the resource (b) are not equal",
    ),
    (
        {"label_matcher": {"keys": ["team"]}},
        "the label team of the caller (none) and of the resource (none) are not equal",
    ),
    ({"roles": ["blue"]}, "the caller's roles (red) are others"),
    ({"ip_prefixes": ["192.0.2.0/24"]}, "10.1.2.3 is in none of the prefixes"),
    ({"ip_prefixes_except": ["10.0.0.0/8"]}, "10.1.2.3 is in one of the prefixes"),
    ({"operations": ["SIGN"]}, "ENCRYPT is not listed"),
    ({"key_matcher": {"exact_values": ["other"]}}, "the key orders does not fit"),
    ({"time_window": {"days": ["MONDAY"]}}, "2026-06-03T12:00:00Z is outside the window"),
    ({"aad_matcher": {"equals": [""]}}, "the additional authenticated data does not fit"),
]


@pytest.mark.parametrize(("predicate", "words"), FAILED, ids=str)
def test_says_which_predicate_failed(predicate, words):
    (name,) = predicate
    explanation = explained(predicate)
    assert explanation.summary == "DENY: no rule matched"
    assert [(rule.predicate, rule.text) for rule in explanation.rules] == [(name, f"{name} failed: {words}")]


def test_there_are_words_for_every_predicate():
    assert {name for predicate, _ in FAILED for name in predicate} == set(BUILDERS)


def test_names_the_first_predicate_that_failed():
    explanation = explained({"roles": ["blue"], "client_name": "b"}, {"client_name": "a", "roles": ["blue"]})
    assert [rule.predicate for rule in explanation.rules] == ["client_name", "roles"]


def test_ends_with_the_rule_that_decided():
    explanation = explained({"client_name": "b"}, {"client_name": "a", "action": "DENY"}, {})
    assert explanation.summary == "DENY: rules[1] (rule 1) matched, and FIRST_MATCH lets it decide"
    assert [(rule.index, rule.name, rule.predicate) for rule in explanation.rules] == [
        (0, "rule 0", "client_name"),
        (1, "rule 1", ""),
    ]
    assert explanation.rules[1].text == "matched, and decided"


def test_tells_of_a_match_that_another_rule_overrides():
    explanation = explained({}, {"action": "DENY"}, combining="DENY_OVERRIDES")
    assert [rule.text for rule in explanation.rules] == [
        "matched, but its ALLOW is overridden",
        "matched, and decided",
    ]


ERRORS = [
    ({"ip_prefixes": ["10.0.0.0/8"]}, {"address": ""}, "the caller's address is not known"),
    ({"ip_prefixes_except": ["10.0.0.0/8"]}, {"address": "x"}, "the caller's address is not known"),
    ({"operations": ["SIGN"]}, {"operation": None}, "the request names no operation"),
    ({"key_matcher": {"exact_values": ["a"]}}, {"key_name": ""}, "the request names no key"),
]


@pytest.mark.parametrize(("predicate", "changes", "words"), ERRORS, ids=str)
def test_says_which_predicate_could_not_be_evaluated(predicate, changes, words):
    explanation = explained({"roles": ["blue"]}, predicate, {}, **changes)
    assert explanation.summary == "DENY: rules[1] (rule 1) could not be evaluated"
    assert explanation.rules[-1].predicate == next(iter(predicate))
    assert "could not be evaluated: " + words in explanation.rules[-1].text


def test_an_unforeseen_fault_is_named_by_its_type_alone():
    explanation = explained({"client_name_matcher": {"regex_values": ["x"]}}, names=("\ud800",))
    assert explanation.summary == "DENY: evaluating the policy failed (UnicodeEncodeError)"
    assert explanation.rules == ()


def test_a_caller_without_anything_is_described():
    rules = [{"client_name": "x"}, {"client_selector": {"expressions": ["app"]}}, {"roles": ["x"]}]
    explanation = explained(*rules, names=(), labels={}, roles=frozenset())
    assert all("(none)" in rule.text for rule in explanation.rules)


def test_never_shows_the_additional_authenticated_data():
    explanation = explained({"aad_matcher": {"equals": ["YQ=="]}}, {"aad_matcher": {"lacks": ["YQ=="]}})
    assert "confidential" not in repr(explanation)
