"""Decisions, predicate by predicate and algorithm by algorithm; above all, that what goes wrong denies."""

from datetime import UTC, datetime
from types import MappingProxyType

import pytest
from policy_strategies import caller

from kms.authz.compile import compile_policy
from kms.authz.decide import Reason, decide
from kms.authz.matcher import RegexFault, RegexSet
from kms.model.access_request import AccessRequest
from kms.model.policy import Action, PolicyKind
from kms.model.policy_json import parse_policy

NOON = datetime(2026, 6, 3, 12, tzinfo=UTC)  # a Wednesday


def policy(*rules, combining="FIRST_MATCH"):
    named = [{"name": f"rule {number}", "action": "ALLOW"} | rule for number, rule in enumerate(rules)]
    return compile_policy(parse_policy({"rules": named, "rule_combining": combining}, PolicyKind.KMS))


def request(
    *, operation="ENCRYPT", key_name="orders", time=NOON, aad=None, resource_labels=None, **of_caller
):
    return AccessRequest(
        caller=caller(**of_caller),
        time=time,
        operation=operation,
        key_name=key_name,
        aad=aad,
        resource_labels=resource_labels or {},
    )


def matches(predicates, **changes):
    """Whether a rule with these predicates matches, told by the index of the deciding rule."""
    decision = decide(policy(predicates), request(**changes))
    assert decision.reason is not Reason.EVALUATION_ERROR
    assert decision.is_allowed is (decision.rule_index == 0)
    return decision.is_allowed


# Predicates, changes to the request, and whether the rule matches.
CASES = [
    ({}, {}, True),
    ({"client_name": "web.example"}, {"names": ("spiffe://x/web", "web.example")}, True),
    ({"client_name": "web.example"}, {"names": ("WEB.example", "web.example.")}, False),
    ({"client_name": "a"}, {"names": ()}, False),
    ({"client_name_matcher": {"exact_values": ["a", "b"]}}, {"names": ("c", "b")}, True),
    ({"client_name_matcher": {"regex_values": ["web-[0-9]+"]}}, {"names": ("web-12",)}, True),
    ({"client_name_matcher": {"regex_values": ["web-[0-9]+"]}}, {"names": ("web-12x",)}, False),
    (
        {"client_name_matcher": {"exact_values": ["A"], "transformers": ["LOWER_CASE"]}},
        {"names": ("A",)},
        False,
    ),
    (
        {"client_name_matcher": {"exact_values": ["a"], "transformers": ["LOWER_CASE"]}},
        {"names": ("A",)},
        True,
    ),
    (
        {"client_name_matcher": {"regex_values": [".*"], "transformers": ["BASE64_DECODE"]}},
        {"names": ("?",)},
        False,
    ),
    ({"client_selector": {"expressions": ["app=web,env!=test"]}}, {"labels": {"app": "web"}}, True),
    ({"client_selector": {"expressions": ["app=web", "env=test"]}}, {"labels": {"env": "test"}}, True),
    ({"client_selector": {"expressions": ["app=web", "env=test"]}}, {"labels": {"env": "prod"}}, False),
    (
        {"label_matcher": {"keys": ["team"]}},
        {"labels": {"team": "a"}, "resource_labels": {"team": "a"}},
        True,
    ),
    (
        {"label_matcher": {"keys": ["team"]}},
        {"labels": {"team": "a"}, "resource_labels": {"team": "b"}},
        False,
    ),
    ({"label_matcher": {"keys": ["team"]}}, {"labels": {"team": "a"}}, False),
    ({"label_matcher": {"keys": ["team"]}}, {"resource_labels": {"team": "a"}}, False),
    ({"label_matcher": {"keys": ["team"]}}, {}, False),
    ({"roles": ["red", "blue"]}, {"roles": frozenset({"blue"})}, True),
    ({"roles": ["red"]}, {"roles": frozenset({"red@prod"})}, False),
    ({"ip_prefixes": ["10.0.0.0/8", "10.1.0.0/16"]}, {"address": "10.1.2.3"}, True),
    ({"ip_prefixes": ["10.0.0.0/8"]}, {"address": "10.255.255.255"}, True),
    ({"ip_prefixes": ["10.0.0.0/8"]}, {"address": "11.0.0.0"}, False),
    ({"ip_prefixes": ["10.0.0.0/8"]}, {"address": "::ffff:10.1.2.3"}, True),
    ({"ip_prefixes": ["10.0.0.0/8"]}, {"address": "::ffff:0a01:203"}, True),
    ({"ip_prefixes": ["::/0"]}, {"address": "::ffff:10.1.2.3"}, False),
    ({"ip_prefixes": ["::/0"]}, {"address": "2001:db8::1"}, True),
    ({"ip_prefixes": ["fe80::/10"]}, {"address": "fe80::1%eth0"}, True),
    ({"ip_prefixes": ["0.0.0.0/0"]}, {"address": "255.255.255.255"}, True),
    ({"ip_prefixes_except": ["10.0.0.0/8"]}, {"address": "::ffff:10.1.2.3"}, False),
    ({"ip_prefixes_except": ["10.0.0.0/8"]}, {"address": "2001:db8::1"}, True),
    ({"ip_prefixes": ["10.0.0.0/8"], "ip_prefixes_except": ["10.1.0.0/16"]}, {"address": "10.2.0.1"}, True),
    ({"operations": ["SIGN", "ENCRYPT"]}, {}, True),
    ({"operations": ["SIGN"]}, {}, False),
    ({"key_matcher": {"regex_values": ["ord.*"]}}, {}, True),
    ({"key_matcher": {"regex_values": [".*"]}}, {"key_name": "", "operation": "GENERATE_RANDOM"}, False),
    ({"aad_matcher": {"equals": ["YWI="]}}, {"aad": b"ab"}, True),
    ({"aad_matcher": {"equals": ["YWI="]}}, {"aad": b"abc"}, False),
    ({"aad_matcher": {"equals": [""]}}, {"aad": None}, True),
    ({"aad_matcher": {"equals": [""]}}, {"aad": b""}, True),
    ({"aad_matcher": {"starts_with": ["YWI="]}}, {"aad": b"abc"}, True),
    ({"aad_matcher": {"equals": ["eA=="], "starts_with": ["YWI="]}}, {"aad": b"x"}, True),
    ({"aad_matcher": {"lacks": ["Yg=="]}}, {"aad": b"abc"}, False),
    ({"aad_matcher": {"lacks": ["Yg=="]}}, {"aad": None}, True),
    ({"aad_matcher": {"starts_with": ["YQ=="], "lacks": ["Yg=="]}}, {"aad": b"ab"}, False),
    ({"client_name": "a", "roles": ["red"]}, {}, False),
]


@pytest.mark.parametrize(("predicates", "changes", "expected"), CASES)
def test_a_rule_matches_when_all_its_predicates_hold(predicates, changes, expected):
    assert matches(predicates, **changes) is expected


def at(text):
    return datetime.fromisoformat(text)


FRIDAY_NIGHT = {"days": ["FRIDAY"], "start_time": "22:00", "end_time": "06:00"}
OFFICE = {"start_time": "08:00", "end_time": "16:00", "time_zone": "Europe/Prague"}
NIGHT_SHIFT = {"start_time": "01:00", "end_time": "03:00", "time_zone": "Europe/Prague"}
WINDOWS = [
    ({"not_before": "2026-06-01T00:00:00Z"}, "2026-06-01T00:00:00Z", True),
    ({"not_before": "2026-06-01T00:00:00Z"}, "2026-05-31T23:59:59.999999Z", False),
    ({"not_after": "2026-06-01T00:00:00Z"}, "2026-05-31T23:59:59.999999Z", True),
    ({"not_after": "2026-06-01T00:00:00Z"}, "2026-06-01T00:00:00Z", False),
    ({"days": ["WEDNESDAY"]}, "2026-06-03T00:00:00Z", True),
    ({"days": ["WEDNESDAY"]}, "2026-06-03T23:59:59.999999Z", True),
    ({"days": ["WEDNESDAY"]}, "2026-06-04T00:00:00Z", False),
    ({"days": ["WEDNESDAY"], "time_zone": "Asia/Kolkata"}, "2026-06-02T18:30:00Z", True),
    ({"days": ["WEDNESDAY"], "time_zone": "Asia/Kolkata"}, "2026-06-03T18:30:00Z", False),
    ({"start_time": "08:00", "end_time": "16:00"}, "2026-06-03T08:00:00Z", True),
    ({"start_time": "08:00", "end_time": "16:00"}, "2026-06-03T15:59:59.999999Z", True),
    ({"start_time": "08:00", "end_time": "16:00"}, "2026-06-03T16:00:00Z", False),
    ({"start_time": "20:00", "end_time": "00:00"}, "2026-06-03T23:59:00Z", True),
    ({"start_time": "20:00", "end_time": "00:00"}, "2026-06-03T00:00:00Z", False),
    (FRIDAY_NIGHT, "2026-06-05T22:00:00Z", True),
    (FRIDAY_NIGHT, "2026-06-06T05:59:59Z", True),
    (FRIDAY_NIGHT, "2026-06-06T06:00:00Z", False),
    (FRIDAY_NIGHT, "2026-06-05T05:00:00Z", False),
    (FRIDAY_NIGHT, "2026-06-06T22:00:00Z", False),
    (FRIDAY_NIGHT | {"days": ["SUNDAY"]}, "2026-06-08T05:00:00Z", True),
    (FRIDAY_NIGHT | {"days": ["SUNDAY"]}, "2026-06-07T05:00:00Z", False),
    (OFFICE, "2026-06-03T06:00:00Z", True),
    (OFFICE, "2026-12-03T06:00:00Z", False),
    (NIGHT_SHIFT, "2026-10-25T00:30:00Z", True),
    (NIGHT_SHIFT, "2026-10-25T01:30:00Z", True),
    (NIGHT_SHIFT, "2026-10-25T02:00:00Z", False),
    (NIGHT_SHIFT, "2026-03-29T00:59:00Z", True),
    (NIGHT_SHIFT, "2026-03-29T01:00:00Z", False),
    (OFFICE | {"not_after": "2026-06-03T07:00:00Z"}, "2026-06-03T07:30:00Z", False),
]


@pytest.mark.parametrize(("window", "time", "inside"), WINDOWS)
def test_time_windows_include_their_start_and_exclude_their_end(window, time, inside):
    assert matches({"time_window": window}, time=at(time)) is inside


ALLOW, DENY, OTHER, UNKNOWN = {}, {"action": "DENY"}, {"roles": ["nobody"]}, {"ip_prefixes": ["10.0.0.0/8"]}
UNKNOWN_DENY = UNKNOWN | DENY
# Rules for a caller without an address, and by algorithm what decides: A or D for the action, E for an
# error, - for no match, and the rule.
COMBINED = [
    ((), "- None", "- None", "- None"),
    ((OTHER,), "- None", "- None", "- None"),
    ((ALLOW, DENY), "A 0", "D 1", "A 0"),
    ((DENY, ALLOW), "D 0", "D 0", "A 1"),
    ((OTHER, DENY), "D 1", "D 1", "D 1"),
    ((OTHER, ALLOW, ALLOW), "A 1", "A 1", "A 1"),
    ((UNKNOWN,), "E 0", "E 0", "E 0"),
    ((UNKNOWN_DENY,), "E 0", "E 0", "E 0"),
    ((UNKNOWN_DENY, ALLOW), "E 0", "E 0", "E 0"),
    ((ALLOW, UNKNOWN_DENY), "A 0", "E 1", "E 1"),
    ((ALLOW, UNKNOWN), "A 0", "E 1", "E 1"),
    ((UNKNOWN, DENY), "E 0", "D 1", "E 0"),
    ((OTHER | UNKNOWN_DENY, ALLOW), "A 1", "A 1", "A 1"),
    ((OTHER | UNKNOWN, DENY), "D 1", "D 1", "D 1"),
]
MARKS = {
    "A": (Action.ALLOW, Reason.RULE_MATCHED),
    "D": (Action.DENY, Reason.RULE_MATCHED),
    "E": (Action.DENY, Reason.EVALUATION_ERROR),
    "-": (Action.DENY, Reason.NO_RULE_MATCHED),
}


@pytest.mark.parametrize("algorithm", [0, 1, 2], ids=["FIRST_MATCH", "DENY_OVERRIDES", "ALLOW_OVERRIDES"])
@pytest.mark.parametrize("case", COMBINED, ids=str)
def test_rules_combine(case, algorithm):
    combining = ["FIRST_MATCH", "DENY_OVERRIDES", "ALLOW_OVERRIDES"][algorithm]
    decision = decide(policy(*case[0], combining=combining), request(address=""))
    mark, rule = case[1 + algorithm].split()
    assert (decision.action, decision.reason) == MARKS[mark]
    assert str(decision.rule_index) == rule


@pytest.mark.parametrize(
    "address", ["", "unix:", "10.1.2.3:443", "10.1.2", "010.1.2.3", "10.1.2.3/32", "[::1]", " ::1"]
)
@pytest.mark.parametrize("predicate", ["ip_prefixes", "ip_prefixes_except"])
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_an_address_that_cannot_be_read_denies(address, predicate, action):
    rules = ({predicate: ["192.0.2.0/24"], "action": action}, {})
    decision = decide(policy(*rules), request(address=address))
    assert (decision.action, decision.reason, decision.rule_index) == (*MARKS["E"], 0)


def test_an_operation_or_key_that_the_request_fails_to_name_denies():
    for predicate in ({"operations": ["SIGN"]}, {"key_matcher": {"exact_values": ["other"]}}):
        decision = decide(policy(predicate | DENY, ALLOW), request(operation=None, key_name=""))
        assert (decision.action, decision.reason) == MARKS["E"]


def test_a_regex_engine_that_gives_up_denies_where_the_expression_was_needed(monkeypatch):
    matcher = {"client_name_matcher": {"exact_values": ["a"], "regex_values": ["evil.*"]}}
    rules = policy(matcher | DENY, {"client_name": "b"})

    def give_up(self, text):
        raise RegexFault

    monkeypatch.setattr(RegexSet, "matches", give_up)
    unsure = decide(rules, request(names=("b",)))
    assert (unsure.action, unsure.reason, unsure.rule_index) == (*MARKS["E"], 0)
    sure = decide(rules, request(names=("b", "a")))
    assert (sure.action, sure.reason, sure.rule_index) == (*MARKS["D"], 0)


def test_a_name_that_is_not_unicode_denies():
    decision = decide(
        policy({"client_name_matcher": {"regex_values": ["x"]}} | DENY, ALLOW), request(names=("\ud800",))
    )
    assert (decision.action, decision.reason, decision.rule_index) == (*MARKS["E"], None)
    assert decision.trace.fault == "UnicodeEncodeError"


def test_an_unforeseen_exception_denies():
    class Broken(dict):
        def get(self, key, default=None):
            raise RuntimeError("a secret")

    rules = policy({"client_selector": {"expressions": ["app"]}} | DENY, ALLOW)
    decision = decide(rules, request(labels=Broken()))
    assert (decision.action, decision.reason, decision.rule_index) == (*MARKS["E"], None)
    assert "secret" not in repr(decision)


def test_the_end_of_time_denies_rather_than_overflows():
    window = {"time_window": {"days": ["MONDAY"], "time_zone": "Asia/Tokyo"}}
    decision = decide(policy(window | DENY, ALLOW), request(time=datetime.max.replace(tzinfo=UTC)))
    assert (decision.action, decision.reason) == MARKS["E"]


def test_the_trace_ends_where_no_rule_is_left():
    rules = policy({"client_name": "nobody", "roles": ["red"]}, {"client_name": "noone"})
    decision = decide(rules, request())
    assert [step.predicate for step in decision.trace.steps] == ["client_name"]
    assert (decision.trace.matched, decision.trace.uncertain) == (0, 0)


def test_labels_are_only_read():
    labels = MappingProxyType({"app": "web"})
    assert matches({"client_selector": {"expressions": ["app=web,!x"]}}, labels=labels)
    assert labels == {"app": "web"}


def test_the_256th_rule_decides_as_the_first_would():
    rules = [
        {"client_selector": {"expressions": [f"app=w{number}", f"tier=t{number}"]}, "roles": [f"r{number}"]}
        for number in range(256)
    ]
    decision = decide(policy(*rules), request(labels={"tier": "t255"}, roles=frozenset({"r255", "r0"})))
    assert (decision.action, decision.rule_index) == (Action.ALLOW, 255)
