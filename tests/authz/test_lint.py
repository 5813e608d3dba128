"""Warnings: each for what it is meant, and none for what only looks like it."""

from datetime import UTC, datetime

import pytest

from kms.authz import implication
from kms.authz import lint as linter
from kms.authz.implication import Implications
from kms.authz.lint import lint
from kms.authz.matcher import RegexFault, RegexSet
from kms.model.policy import PolicyKind
from kms.model.policy_json import parse_policy

NOW = datetime(2026, 6, 3, 12, tzinfo=UTC)
CLIENT = {"client_name": "a"}


def warnings(*rules, combining="FIRST_MATCH", kind=PolicyKind.KMS, **content):
    named = [{"name": f"rule {number}", "action": "ALLOW"} | rule for number, rule in enumerate(rules)]
    policy = parse_policy({"rules": named, "rule_combining": combining} | content, kind)
    return [(str(warning.code), warning.field) for warning in lint(policy, NOW)]


def matcher(*exact, regexes=(), transformers=()):
    members = {"exact_values": list(exact), "regex_values": list(regexes), "transformers": list(transformers)}
    return {name: values for name, values in members.items() if values}


def names(*exact, **rest):
    return {"client_name_matcher": matcher(*exact, **rest)}


def selector(*expressions):
    return {"client_selector": {"expressions": list(expressions)}}


def window(**members):
    return {"time_window": members}


def aad(**members):
    return {"aad_matcher": members}


CLEAN = [
    CLIENT,
    {"action": "DENY"},
    {"action": "DENY", "ip_prefixes": ["10.0.0.0/8"]},
    names(regexes=[r".*\.example\.com", "[.]com", r"a\\\.b", "v1.*", "a.+", ".", "x.{3}", "[^]a.b]"]),
    CLIENT | window(not_after="2026-06-03T12:00:01Z"),
    names(regexes=[r"spiffe://kms\.test/tenant/acme/ns/[^/]+/sa/web", "spiffe://kms/tenant/a/ns/b/.*"]),
    {"action": "DENY"} | names(regexes=[".*/sa/web"]),
    names("abc", transformers=["UPPER_CASE", "LOWER_CASE"]),
    names("ABC", transformers=["LOWER_CASE", "BASE64_DECODE"]),
    CLIENT | {"ip_prefixes": ["10.0.0.0/8"], "ip_prefixes_except": ["10.1.0.0/16"]},
    CLIENT | aad(equals=["YQ==", "Yg=="], lacks=["YQ=="]),
    CLIENT | aad(lacks=["YQ=="]),
    CLIENT | {"key_matcher": matcher("a"), "operations": ["GENERATE_RANDOM", "SIGN"]},
    selector("app=a,app!=a", "app=b"),
    selector("app notin (a),!app"),
    {"action": "DENY"} | names("a", transformers=["TRIM"]),
    {"label_matcher": {"keys": ["team"]}},
]


@pytest.mark.parametrize("rule", CLEAN, ids=str)
def test_says_nothing_of_a_good_rule(rule):
    assert warnings(rule) == []


ALONE = [
    ({}, "NO_CLIENT_PREDICATE", ""),
    ({"ip_prefixes": ["10.0.0.0/8"]}, "NO_CLIENT_PREDICATE", ""),
    (CLIENT | window(not_after="2026-06-03T12:00:00Z"), "EXPIRED_WINDOW", ".time_window"),
    (names(regexes=["a", r"api.example\.com"]), "UNESCAPED_DOT", ".client_name_matcher.regex_values[1]"),
    (names(regexes=[r".*.example"]), "UNESCAPED_DOT", ".client_name_matcher.regex_values[0]"),
    (names(regexes=["web", ".*/ns/prod/sa/web"]), "LOOSE_NAME", ".client_name_matcher.regex_values[1]"),
    (names(regexes=["spiffe://kms/.+/sa/web"]), "LOOSE_NAME", ".client_name_matcher.regex_values[0]"),
    (names(regexes=["spiffe://corp.example/.*"]), "UNESCAPED_DOT", ".client_name_matcher.regex_values[0]"),
    (CLIENT | {"key_matcher": matcher(regexes=["a.b"])}, "UNESCAPED_DOT", ".key_matcher.regex_values[0]"),
    (names("a", "Bc", transformers=["LOWER_CASE"]), "CONTRADICTORY", ".client_name_matcher.exact_values[1]"),
    (names(" a", transformers=["TRIM_LEFT"]), "CONTRADICTORY", ".client_name_matcher.exact_values[0]"),
    (
        names("a/../b", transformers=["NORMALIZE_PATH"]),
        "CONTRADICTORY",
        ".client_name_matcher.exact_values[0]",
    ),
    (selector("app=a,app!=a", "!app,app"), "CONTRADICTORY", ".client_selector"),
    (selector("app in (a),app in (b)"), "CONTRADICTORY", ".client_selector"),
    (
        CLIENT | {"ip_prefixes": ["10.1.0.0/16", "10.2.0.0/16"], "ip_prefixes_except": ["10.0.0.0/8"]},
        "CONTRADICTORY",
        ".ip_prefixes",
    ),
    (
        CLIENT | aad(equals=["YQ=="], starts_with=["Ym8="], lacks=["YQ==", "bw=="]),
        "CONTRADICTORY",
        ".aad_matcher",
    ),
    (
        CLIENT | {"key_matcher": matcher("a"), "operations": ["GENERATE_RANDOM"]},
        "CONTRADICTORY",
        ".key_matcher",
    ),
    (
        {"action": "DENY"} | names("a", transformers=["URL_DECODE"]),
        "UNDECODABLE_NAMES",
        ".client_name_matcher.transformers",
    ),
]


@pytest.mark.parametrize(("rule", "code", "field"), ALONE, ids=str)
def test_warns_of_one_rule(rule, code, field):
    assert warnings({"action": "DENY", "roles": ["x"]}, rule) == [(code, f"rules[1]{field}")]


def test_a_secret_policy_needs_the_labels_that_its_label_matcher_names():
    rule = {"label_matcher": {"keys": ["team", "env"]}}
    secret = {"kind": PolicyKind.SECRET}
    assert warnings(rule, labels={"team": "a"}, **secret) == [("CONTRADICTORY", "rules[0].label_matcher")]
    assert warnings(rule, labels={"team": "a", "env": "prod"}, **secret) == []


# The wide rule, a narrow one that it covers, and one that it does not.
COVERED = [
    ({"roles": ["a"]}, {"roles": ["a"], "client_name": "x"}, {"client_name": "x"}),
    ({"client_name": "a"}, {"client_name": "a"}, {"client_name": "b"}),
    ({"client_name": "a"}, names("a"), names("a", "b")),
    ({"client_name": "a"}, names("a"), names("a", transformers=["TRIM"])),
    (names("x", regexes=["a+"]), {"client_name": "aa"}, {"client_name": "b"}),
    (names("a", transformers=["LOWER_CASE"]), {"client_name": "A"}, {"client_name": "B"}),
    (names("a", transformers=["BASE64_DECODE"]), {"client_name": "YQ=="}, {"client_name": "a"}),
    (names("x", regexes=["a+", "b"]), names("x", "aaa", regexes=["b"]), names("y", regexes=["b"])),
    (names(regexes=["a.*"]), names("ab"), names(regexes=["ab.*"])),
    (names(regexes=[".*"]), names("ab", regexes=["x+"]), names("a", transformers=["TRIM"])),
    (selector("app"), selector("app=a", "app in (b,c)"), selector("app=a", "tier")),
    (selector("app!=a"), selector("app=b", "!app"), selector("app")),
    (selector("app in (a,b)", "tier"), selector("app=a,tier=x", "tier=y"), selector("app in (a,c)")),
    (
        {"label_matcher": {"keys": ["a"]}},
        {"label_matcher": {"keys": ["b", "a"]}},
        {"label_matcher": {"keys": ["b"]}},
    ),
    ({"roles": ["a", "b"]}, {"roles": ["b"]}, {"roles": ["b", "c"]}),
    (
        {"ip_prefixes": ["10.0.0.0/9", "10.128.0.0/9"]},
        {"ip_prefixes": ["10.0.0.0/8"]},
        {"ip_prefixes": ["::/0"]},
    ),
    ({"ip_prefixes": ["10.0.0.0/8"]}, {"ip_prefixes": ["10.1.0.0/16"]}, {"ip_prefixes": ["10.0.0.0/7"]}),
    (
        {"ip_prefixes": ["2001:db8::/32"]},
        {"ip_prefixes": ["2001:db8:1::/48"]},
        {"ip_prefixes": ["10.0.0.0/8"]},
    ),
    (
        {"ip_prefixes_except": ["10.1.0.0/16"]},
        {"ip_prefixes_except": ["10.0.0.0/8"]},
        {"ip_prefixes_except": ["::/0"]},
    ),
    (
        {"ip_prefixes_except": ["10.1.0.0/16"]},
        {"ip_prefixes": ["10.2.0.0/16"]},
        {"ip_prefixes": ["10.0.0.0/8"]},
    ),
    ({"operations": ["SIGN", "MAC"]}, {"operations": ["MAC"]}, {"operations": ["MAC", "COPY"]}),
    ({"key_matcher": matcher("a", "b")}, {"key_matcher": matcher("b")}, {"key_matcher": matcher("c")}),
    (
        window(not_before="2026-01-01T00:00:00Z", not_after="2027-01-01T00:00:00Z"),
        window(not_before="2026-01-01T00:00:00Z", not_after="2026-12-01T00:00:00Z", days=["MONDAY"]),
        window(not_before="2026-01-01T00:00:00Z"),
    ),
    (
        window(not_before="2026-01-01T00:00:00Z"),
        window(not_before="2026-02-01T00:00:00Z"),
        window(days=["MONDAY"]),
    ),
    (window(days=["MONDAY", "FRIDAY"]), window(days=["FRIDAY"], time_zone="UTC"), window(days=["SUNDAY"])),
    (
        window(start_time="08:00", end_time="16:00"),
        window(days=["FRIDAY"], start_time="08:00", end_time="16:00"),
        window(start_time="08:00", end_time="16:00", time_zone="Europe/Prague"),
    ),
    (aad(lacks=["YQ=="]), aad(equals=["Yg==", ""]), aad(starts_with=["Yg=="])),
    (aad(equals=["YQ=="]), aad(equals=["YQ=="]), aad(equals=["YQ=="], starts_with=["Yg=="])),
    (aad(starts_with=["YQ=="]), aad(equals=["YWI="]), aad(equals=["YWI=", ""])),
]


@pytest.mark.parametrize(("wide", "covered", "free"), COVERED, ids=str)
def test_warns_of_a_rule_that_an_earlier_one_shadows(wide, covered, free):
    deny = {"action": "DENY"}
    assert ("SHADOWED", "rules[1]") in warnings(wide | deny, covered | deny)
    assert ("SHADOWED", "rules[1]") not in warnings(wide | deny, free | deny)


# Actions of two rules that are alike, and by algorithm which is warned of.
ORDER = [
    ("ALLOW", "ALLOW", 1, 1, 1),
    ("DENY", "DENY", 1, 1, 1),
    ("ALLOW", "DENY", 1, 0, 1),
    ("DENY", "ALLOW", 1, 1, 0),
]


@pytest.mark.parametrize("case", ORDER, ids=str)
def test_which_rule_overrules_depends_on_the_algorithm(case):
    rules = [CLIENT | {"action": action} for action in case[:2]]
    for combining, shadowed in zip(
        ["FIRST_MATCH", "DENY_OVERRIDES", "ALLOW_OVERRIDES"], case[2:], strict=True
    ):
        assert warnings(*rules, combining=combining) == [("SHADOWED", f"rules[{shadowed}]")]


def test_a_rule_is_shadowed_once_and_the_warning_names_by_which():
    policy = parse_policy(
        {"rules": [CLIENT | {"name": name, "action": "DENY"} for name in ("first", "second", "third")]},
        PolicyKind.KMS,
    )
    texts = [str(warning) for warning in lint(policy, NOW)]
    assert texts == [
        "rules[1]: never decides: rules[0] (first) matches wherever it does (SHADOWED)",
        "rules[2]: never decides: rules[0] (first) matches wherever it does (SHADOWED)",
    ]


def test_says_so_when_a_policy_is_too_large_to_compare(monkeypatch):
    monkeypatch.setattr(linter, "MAX_COMPARISONS", 2)
    rules = [selector("app in (a,b)", f"n{number}") for number in range(4)]
    assert warnings(*rules) == [("NOT_COMPARED", "rules")]


def test_an_engine_that_gives_up_proves_nothing(monkeypatch):
    rules = parse_policy(
        {
            "rules": [
                names(regexes=["a+"]) | {"name": "a", "action": "DENY"},
                CLIENT | {"name": "b", "action": "DENY"},
            ]
        },
        PolicyKind.KMS,
    ).rules
    implications = Implications(rules)
    assert implications.implies(1, 0)

    def give_up(self, text):
        raise RegexFault

    monkeypatch.setattr(RegexSet, "matches", give_up)
    assert not Implications(rules).implies(1, 0)


def test_after_many_names_nothing_more_is_matched_and_nothing_more_is_claimed(monkeypatch):
    rules = [{"client_name_matcher": matcher(regexes=["a+"])}]
    rules += [{"client_name_matcher": matcher(name)} for name in ("a", "aa")]
    shadowed = [("SHADOWED", "rules[1]"), ("SHADOWED", "rules[2]")]
    assert warnings(*rules) == shadowed
    monkeypatch.setattr(implication, "MAX_MATCHED", 1)
    assert warnings(*rules) == shadowed[:1]
