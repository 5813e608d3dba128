"""Policies as values: every limit, with the exact path of the field at fault, and the JSON form."""

import base64
import json
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta, timezone

import pytest

from blindfold import predicates
from blindfold.exponent import Binding
from kms.errors import InvalidField, LimitExceeded
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import IdentityName
from kms.model.policy import (
    KMS_PREDICATES,
    OPERATIONS,
    AadMatcher,
    Action,
    ClientSelector,
    LabelMatcher,
    NameMatcher,
    PolicyContent,
    PolicyKind,
    Rule,
    RuleCombining,
    TimeWindow,
)
from kms.model.policy_json import parse_policy, to_json

SECRET, KMS = PolicyKind.SECRET, PolicyKind.KMS
B64 = base64.b64encode(b"x" * 1024).decode()
B64_LONG = base64.b64encode(b"x" * 1025).decode()

EVERYTHING = {
    "rule_combining": "DENY_OVERRIDES",
    "rules": [
        {
            "name": "Everything, once",
            "action": "ALLOW",
            "description": "why",
            "client_name": "spiffe://corp.example/a",
            "client_name_matcher": {
                "exact_values": ["a"],
                "regex_values": ["b.*"],
                "transformers": ["TRIM", "TRIM"],
            },
            "client_selector": {"expressions": ["app=web", "tier"]},
            "label_matcher": {"keys": ["corp.example/team"]},
            "roles": ["reader"],
            "ip_prefixes": ["10.0.0.0/8", "2001:db8::/32"],
            "ip_prefixes_except": ["10.1.0.0/16"],
            "operations": ["ENCRYPT", "DECRYPT"],
            "key_matcher": {"exact_values": ["orders"]},
            "time_window": {
                "not_before": "2026-01-01T00:00:00Z",
                "not_after": "2026-12-31T23:59:59.500000Z",
                "days": ["MONDAY", "SUNDAY"],
                "start_time": "22:00",
                "end_time": "00:00",
                "time_zone": "America/Argentina/Buenos_Aires",
            },
            "aad_matcher": {"equals": ["", "YQ=="], "starts_with": ["YQ=="], "lacks": ["Yg=="]},
        },
        {"name": "none", "action": "DENY"},
    ],
    "description": "all of it",
}


def rule(**members):
    return {"name": "r", "action": "ALLOW"} | members


def refused(policy, kind=KMS):
    with pytest.raises(InvalidField) as caught:
        parse_policy(policy, kind)
    return caught.value


def test_every_field_is_read_and_written_again():
    content = parse_policy(EVERYTHING, KMS)
    assert to_json(content) == EVERYTHING
    first = content.rules[0]
    assert first.time_window == TimeWindow(
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 59, 59, 500000, tzinfo=UTC),
        ("MONDAY", "SUNDAY"),
        time(22),
        time(0),
        "America/Argentina/Buenos_Aires",
    )
    assert first.aad_matcher == AadMatcher((b"", b"a"), (b"a",), (b"b",))
    assert (first.action, content.rule_combining) == (Action.ALLOW, RuleCombining.DENY_OVERRIDES)
    assert json.loads(json.dumps(to_json(content))) == EVERYTHING


def test_what_is_unset_is_left_out():
    assert to_json(parse_policy({"rules": [rule(description="")], "labels": {}}, KMS)) == {
        "rule_combining": "FIRST_MATCH",
        "rules": [rule()],
    }


def test_equal_contents_have_equal_json():
    one = parse_policy({"rules": [rule(time_window={"not_before": "2026-01-01T00:00:00.0Z"})]}, KMS)
    other = parse_policy({"rules": [rule(time_window={"not_before": "2026-01-01T00:00:00Z"})]}, KMS)
    assert one == other
    assert to_json(one) == to_json(other)


def test_defaults_of_a_secret_policy():
    content = parse_policy({}, SECRET)
    assert content == PolicyContent(SECRET, (), RuleCombining.FIRST_MATCH, {}, "", Binding.REVISION, 0)
    assert to_json(content) == {"rule_combining": "FIRST_MATCH", "rules": [], "binding": "REVISION"}


def test_fields_of_secret_policies():
    policy = {"rules": [], "rule_combining": "FIRST_MATCH"}
    policy |= {"binding": "POLICY", "decrypt_cache_timeout_seconds": 30 * 86400}
    content = parse_policy(policy, SECRET)
    assert (content.binding, content.decrypt_cache_timeout_seconds) == (Binding.POLICY, 2_592_000)
    assert to_json(content) == policy
    assert refused({"binding": "POLICY"}).field == "binding"
    assert refused({"decrypt_cache_timeout_seconds": 1}).field == "decrypt_cache_timeout_seconds"


@pytest.mark.parametrize("predicate", KMS_PREDICATES)
def test_predicates_of_kms_policies_are_refused_in_secret_policies(predicate):
    policy = {"rules": [rule(), rule(name="s") | {predicate: EVERYTHING["rules"][0][predicate]}]}
    parse_policy(policy, KMS)
    error = refused(policy, SECRET)
    assert (error.field, error.description) == (f"rules[1].{predicate}", "is a predicate of KMS policies")


# A predicate, the path below the rule, and whether it is a limit.
REFUSED_PREDICATES = [
    ({"client_name": ""}, "client_name", False),
    ({"client_name": "é" * 129}, "client_name", True),
    ({"client_name": "\ud800"}, "client_name", False),
    ({"client_name": None}, "client_name", False),
    ({"client_name": ["a"]}, "client_name", False),
    ({"client_name_matcher": "a"}, "client_name_matcher", False),
    ({"client_name_matcher": {}}, "client_name_matcher", False),
    ({"client_name_matcher": {"transformers": ["TRIM"]}}, "client_name_matcher", False),
    ({"client_name_matcher": {"exact": ["a"]}}, "client_name_matcher", False),
    ({"client_name_matcher": {"exact_values": []}}, "client_name_matcher.exact_values", False),
    ({"client_name_matcher": {"exact_values": "a"}}, "client_name_matcher.exact_values", False),
    ({"client_name_matcher": {"exact_values": ["a", 1]}}, "client_name_matcher.exact_values[1]", False),
    ({"client_name_matcher": {"exact_values": ["a", "a"]}}, "client_name_matcher.exact_values[1]", False),
    ({"client_name_matcher": {"exact_values": ["x" * 257]}}, "client_name_matcher.exact_values[0]", True),
    (
        {"client_name_matcher": {"exact_values": [str(i) for i in range(65)]}},
        "client_name_matcher.exact_values",
        True,
    ),
    ({"client_name_matcher": {"regex_values": ["x" * 257]}}, "client_name_matcher.regex_values[0]", True),
    (
        {"client_name_matcher": {"regex_values": [str(i) for i in range(17)]}},
        "client_name_matcher.regex_values",
        True,
    ),
    (
        {"client_name_matcher": {"exact_values": ["a"], "transformers": ["TRIM"] * 10}},
        "client_name_matcher.transformers",
        True,
    ),
    (
        {"client_name_matcher": {"exact_values": ["a"], "transformers": ["TRIM", "trim"]}},
        "client_name_matcher.transformers[1]",
        False,
    ),
    ({"client_selector": {}}, "client_selector", False),
    ({"client_selector": {"expressions": ["a", " \t"]}}, "client_selector.expressions[1]", False),
    ({"client_selector": {"expressions": ["\udfff"]}}, "client_selector.expressions[0]", False),
    ({"client_selector": {"expressions": ["a" * 4097]}}, "client_selector.expressions", True),
    ({"client_selector": {"expressions": ["a" * 2048, "b" * 2049]}}, "client_selector.expressions", True),
    ({"client_selector": {"expressions": [str(i) for i in range(17)]}}, "client_selector.expressions", True),
    ({"label_matcher": {}}, "label_matcher", False),
    ({"label_matcher": {"keys": ["a", "b c"]}}, "label_matcher.keys[1]", False),
    ({"label_matcher": {"keys": [f"k{i}" for i in range(17)]}}, "label_matcher.keys", True),
    ({"roles": []}, "roles", False),
    ({"roles": ["a", ""]}, "roles[1]", False),
    ({"roles": [str(i) for i in range(65)]}, "roles", True),
    ({"ip_prefixes": ["10.0.0.0/8", "10.0.0.1/8"]}, "ip_prefixes[1]", False),
    ({"ip_prefixes": ["10.0.0.0"]}, "ip_prefixes[0]", False),
    ({"ip_prefixes": ["10.0.0.0/255.0.0.0"]}, "ip_prefixes[0]", False),
    ({"ip_prefixes": ["2001:DB8::/32"]}, "ip_prefixes[0]", False),
    ({"ip_prefixes": ["::ffff:10.0.0.0/104"]}, "ip_prefixes[0]", False),
    ({"ip_prefixes": ["fe80::1%1/128"]}, "ip_prefixes[0]", False),
    ({"ip_prefixes": ["internal"]}, "ip_prefixes[0]", False),
    ({"ip_prefixes": [f"10.{i}.0.0/16" for i in range(256)] + ["::/0"]}, "ip_prefixes", True),
    ({"ip_prefixes_except": ["10.0.0.0/33"]}, "ip_prefixes_except[0]", False),
    ({"operations": ["ENCRYPT", "encrypt"]}, "operations[1]", False),
    ({"operations": ["SIGN", "SIGN"]}, "operations[1]", False),
    ({"operations": [*OPERATIONS, "SIGN"]}, "operations", True),
    ({"key_matcher": {"exact_values": [""]}}, "key_matcher.exact_values[0]", False),
    ({"time_window": {}}, "time_window", False),
    ({"time_window": {"time_zone": "UTC"}}, "time_window", False),
    ({"time_window": {"not_before": "2026-01-01"}}, "time_window.not_before", False),
    ({"time_window": {"not_before": "2026-01-01T00:00:00+00:00"}}, "time_window.not_before", False),
    ({"time_window": {"not_before": "2026-01-01T24:00:00Z"}}, "time_window.not_before", False),
    ({"time_window": {"not_before": "2026-02-30T00:00:00Z"}}, "time_window.not_before", False),
    ({"time_window": {"not_before": "2026-01-01T00:00:60Z"}}, "time_window.not_before", False),
    ({"time_window": {"not_after": 1767225600}}, "time_window.not_after", False),
    (
        {"time_window": {"not_before": "2026-01-01T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"}},
        "time_window.not_after",
        False,
    ),
    ({"time_window": {"days": ["MONDAY", "Tuesday"]}}, "time_window.days[1]", False),
    ({"time_window": {"days": ["MONDAY", "MONDAY"]}}, "time_window.days[1]", False),
    ({"time_window": {"start_time": "8:00", "end_time": "16:00"}}, "time_window.start_time", False),
    ({"time_window": {"start_time": "08:00", "end_time": "24:00"}}, "time_window.end_time", False),
    ({"time_window": {"start_time": "08:00"}}, "time_window.end_time", False),
    ({"time_window": {"days": ["MONDAY"], "end_time": "08:00"}}, "time_window.end_time", False),
    ({"time_window": {"start_time": "08:00", "end_time": "08:00"}}, "time_window.end_time", False),
    ({"time_window": {"days": ["MONDAY"], "time_zone": "../etc"}}, "time_window.time_zone", False),
    ({"time_window": {"days": ["MONDAY"], "time_zone": "A" * 65}}, "time_window.time_zone", False),
    (
        {"time_window": {"not_before": "2026-01-01T00:00:00Z", "time_zone": "UTC"}},
        "time_window.time_zone",
        False,
    ),
    ({"aad_matcher": {}}, "aad_matcher", False),
    ({"aad_matcher": {"equals": ["YQ"]}}, "aad_matcher.equals[0]", False),
    ({"aad_matcher": {"equals": ["YR=="]}}, "aad_matcher.equals[0]", False),
    ({"aad_matcher": {"equals": ["é"]}}, "aad_matcher.equals[0]", False),
    ({"aad_matcher": {"equals": [B64, B64_LONG]}}, "aad_matcher.equals[1]", True),
    ({"aad_matcher": {"starts_with": [""]}}, "aad_matcher.starts_with[0]", False),
    ({"aad_matcher": {"lacks": ["YQ==", ""]}}, "aad_matcher.lacks[1]", False),
    ({"aad_matcher": {"lacks": ["YQ=="] * 65}}, "aad_matcher.lacks", True),
    ({"name": ""}, "name", False),
    ({"name": "a\nb"}, "name", False),
    ({"name": "x" * 129}, "name", True),
    ({"name": 1}, "name", False),
    ({"action": "allow"}, "action", False),
    ({"action": 1}, "action", False),
    ({"description": "x" * 2049}, "description", True),
    ({"description": 1.5}, "description", False),
]


@pytest.mark.parametrize(("predicate", "path", "is_limit"), REFUSED_PREDICATES, ids=str)
def test_a_rule_is_refused_with_the_exact_path(predicate, path, is_limit):
    error = refused({"rules": [rule(name="good"), rule(**predicate)]})
    assert error.field == f"rules[1].{path}"
    assert isinstance(error, LimitExceeded) is is_limit
    assert error.message == f"{error.field}: {error.description}"


AT_THE_LIMIT = [
    {"name": "é" * 64},
    {"description": "x" * 2048},
    {"client_name": "x" * 256},
    {
        "client_name_matcher": {
            "exact_values": [f"{i:0256}" for i in range(64)],
            "regex_values": [f"{i:0256}" for i in range(16)],
            "transformers": list(predicates.TRANSFORMERS),
        }
    },
    {"client_selector": {"expressions": ["é" * 4096]}},
    {"client_selector": {"expressions": [f"x{i}" for i in range(16)]}},
    {"label_matcher": {"keys": [f"k{i}" for i in range(16)]}},
    {"roles": [str(i) for i in range(64)]},
    {"ip_prefixes": [f"10.{i}.0.0/16" for i in range(256)]},
    {"ip_prefixes": ["0.0.0.0/0", "::/0"]},
    {"operations": list(OPERATIONS)},
    {"aad_matcher": {"equals": [B64] * 64}},
    {"time_window": {"days": list(predicates.DAYS)}},
]


@pytest.mark.parametrize("predicate", AT_THE_LIMIT, ids=lambda predicate: next(iter(predicate)))
def test_a_rule_at_the_limit_is_accepted(predicate):
    policy = {"rule_combining": "FIRST_MATCH", "rules": [rule(**predicate)]}
    assert to_json(parse_policy(policy, KMS)) == policy


REFUSED_CONTENTS = [
    ({"rules": {}}, "rules"),
    ({"rules": [1]}, "rules[0]"),
    ({"rules": [{"action": "ALLOW"}]}, "rules[0].name"),
    ({"rules": [{"name": "a"}]}, "rules[0].action"),
    ({"rules": [rule(), rule(name="s"), rule()]}, "rules[2].name"),
    ({"rules": [rule(name=str(i)) for i in range(257)]}, "rules"),
    ({"rules": [rule(users=["a"])]}, "rules[0]"),
    ({"rule_combining": "first_match"}, "rule_combining"),
    ({"labels": ["a"]}, "labels"),
    ({"labels": {"a": 1}}, "labels"),
    ({"labels": {"a b": "x"}}, "labels"),
    ({"labels": {f"k{i}": "" for i in range(65)}}, "labels"),
    ({"description": "x" * 2049}, "description"),
    ({"binding": "POLICY_SET"}, "binding"),
    ({"binding": 1}, "binding"),
    ({"decrypt_cache_timeout_seconds": 2_592_001}, "decrypt_cache_timeout_seconds"),
    ({"decrypt_cache_timeout_seconds": -1}, "decrypt_cache_timeout_seconds"),
    ({"decrypt_cache_timeout_seconds": 1.0}, "decrypt_cache_timeout_seconds"),
    ({"decrypt_cache_timeout_seconds": True}, "decrypt_cache_timeout_seconds"),
    ({"uid": "x"}, ""),
    ([], ""),
]


@pytest.mark.parametrize(("content", "path"), REFUSED_CONTENTS, ids=lambda value: str(value)[:60])
def test_a_content_is_refused_with_the_path(content, path):
    assert refused(content, SECRET).field == path


def test_an_unknown_predicate_is_named_no_longer_than_is_readable():
    assert 'predicate "users"' in refused({"rules": [rule(users=1)]}).description
    assert len(refused({"rules": [rule(**{"u" * 5000: 1})]}).message) < 200


def test_a_policy_has_at_most_256_rules():
    assert len(parse_policy({"rules": [rule(name=str(i)) for i in range(256)]}, KMS).rules) == 256


def test_a_policy_has_at_most_a_million_bytes():
    matcher = {"exact_values": [f"{i:0256}" for i in range(64)]}
    error = refused({"rules": [rule(name=str(i), client_name_matcher=matcher) for i in range(64)]})
    assert isinstance(error, LimitExceeded)
    assert error.field == "rules"


def test_values_are_valid_once_built():
    for build in (NameMatcher, ClientSelector, LabelMatcher, AadMatcher, TimeWindow):
        with pytest.raises(InvalidField):
            build()
    with pytest.raises(InvalidField, match="not_before: must be in UTC"):
        TimeWindow(not_before=datetime(2026, 1, 1))
    with pytest.raises(InvalidField, match="not_after: must be in UTC"):
        TimeWindow(not_after=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    with pytest.raises(InvalidField, match=r"rules\[0\]\.operations"):
        PolicyContent(SECRET, (Rule("a", Action.ALLOW, operations=("SIGN",)),))


def test_the_labels_of_a_content_cannot_be_changed():
    labels = {"team": "a"}
    content = PolicyContent(SECRET, labels=labels)
    labels["team"] = "b"
    assert content.labels == {"team": "a"}
    with pytest.raises(TypeError):
        content.labels["team"] = "c"


AAD = [
    (AadMatcher(equals=(b"ab",)), b"ab", True),
    (AadMatcher(equals=(b"ab",)), b"abc", False),
    (AadMatcher(starts_with=(b"x", b"ab")), b"abc", True),
    (AadMatcher(lacks=(b"b",)), b"", True),
    (AadMatcher(equals=(b"ab",), lacks=(b"b",)), b"ab", False),
]


@pytest.mark.parametrize(("matcher", "aad", "accepted"), AAD, ids=str)
def test_what_an_aad_matcher_accepts(matcher, aad, accepted):
    assert matcher.accepts(aad) is accepted


def test_sealer_and_kms_agree_on_every_name():
    by_name = {item.name: item for item in fields(Rule)}
    assert set(by_name) == {*predicates.RULE.members, *KMS_PREDICATES}
    objects = {
        "client_name_matcher": NameMatcher,
        "client_selector": ClientSelector,
        "label_matcher": LabelMatcher,
        "time_window": TimeWindow,
    }
    for name, shape in predicates.SECRET_PREDICATES.items():
        members = set(shape.members) if isinstance(shape, predicates.Fields) else None
        assert members == ({item.name for item in fields(objects[name])} if name in objects else None)
    assert tuple(Action) == predicates.ACTIONS
    assert tuple(RuleCombining) == predicates.RULE_COMBINING


def test_a_request_is_valid_once_built():
    caller = Caller(IdentityName("acme", "prod", "web"), "a", ("a",))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert AccessRequest(caller=caller, time=now).operation is None
    for operation in OPERATIONS:
        assert AccessRequest(caller=caller, time=now, operation=operation).operation == operation
    with pytest.raises(InvalidField, match="operation"):
        AccessRequest(caller=caller, time=now, operation="encrypt")
    for moment in (now.replace(tzinfo=None), now.astimezone(timezone(timedelta(hours=1)))):
        with pytest.raises(InvalidField, match="time: must be in UTC"):
            AccessRequest(caller=caller, time=moment)
