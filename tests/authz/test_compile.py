"""Compiling: what only the engine can refuse, with the exact path; and that rules are cheap in number."""

import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import shake_256

import pytest
from policy_strategies import caller

from blindfold.predicates import SECRET_PREDICATES
from kms.authz import compile as compiler
from kms.authz.compile import BUILDERS, compile_policy, validate_policy
from kms.authz.decide import Reason, decide
from kms.authz.lint import WarningCode
from kms.errors import InvalidField, LimitExceeded
from kms.model.access_request import AccessRequest
from kms.model.policy import KMS_PREDICATES, PolicyKind
from kms.model.policy_json import parse_policy

NOW = datetime(2026, 6, 3, 12, tzinfo=UTC)
GOOD = {"name": "good", "action": "ALLOW", "client_name": "a"}


def with_rule(**predicates):
    return {"rules": [GOOD, {"name": "bad", "action": "DENY"} | predicates]}


REFUSED = [
    (
        {"client_selector": {"expressions": ["a=b", "app <= 3"]}},
        "client_selector.expressions[1]",
        "position 5: ",
    ),
    ({"client_name_matcher": {"regex_values": ["a", "b("]}}, "client_name_matcher.regex_values[1]", "RE2"),
    ({"key_matcher": {"regex_values": ["(?<=a)b"]}}, "key_matcher.regex_values[0]", "RE2"),
    ({"time_window": {"days": ["MONDAY"], "time_zone": "Mars/Phobos"}}, "time_window.time_zone", "time zone"),
    ({"time_window": {"days": ["MONDAY"], "time_zone": "Europe"}}, "time_window.time_zone", "time zone"),
    ({"time_window": {"days": ["MONDAY"], "time_zone": "localtime"}}, "time_window.time_zone", "time zone"),
    ({"time_window": {"days": ["MONDAY"], "time_zone": "right/UTC"}}, "time_window.time_zone", "time zone"),
]


@pytest.mark.parametrize(("predicates", "path", "words"), REFUSED)
def test_refuses_with_the_exact_path(predicates, path, words):
    with pytest.raises(InvalidField) as caught:
        validate_policy(with_rule(**predicates), PolicyKind.KMS, NOW)
    assert caught.value.field == f"rules[1].{path}"
    assert words in caught.value.description


def with_matchers(*matchers):
    return {
        "rules": [
            {"name": f"r{number}", "action": "DENY", "client_name_matcher": matcher}
            for number, matcher in enumerate(matchers)
        ]
    }


def with_patterns(*patterns):
    """Rules of 16 patterns each."""
    return with_matchers(*({"regex_values": patterns[at : at + 16]} for at in range(0, len(patterns), 16)))


def test_expressions_that_are_together_too_large_are_refused():
    with pytest.raises(LimitExceeded, match="1048576 bytes together"):
        validate_policy(with_patterns(*(f"{i}[a-z]{{900}}" for i in range(200))), PolicyKind.SECRET, NOW)


def test_expressions_are_limited_in_number():
    policy = with_patterns(*(rf".*\.host-{i}\.example\.com" for i in range(256)))
    assert validate_policy(policy, PolicyKind.SECRET, NOW)
    policy["rules"].append(GOOD | {"client_name_matcher": {"regex_values": ["one more"]}})
    with pytest.raises(LimitExceeded, match="257 regular expressions"):
        validate_policy(policy, PolicyKind.SECRET, NOW)


def test_lists_of_transformers_are_limited_in_number():
    lists = [[name] * length for length in range(1, 9) for name in ("TRIM", "UPPER_CASE")]
    policy = with_matchers(*({"exact_values": ["a"], "transformers": those} for those in lists))
    assert validate_policy(policy, PolicyKind.SECRET, NOW)
    policy["rules"].append(GOOD | {"client_name_matcher": {"exact_values": ["a"]}})
    with pytest.raises(LimitExceeded, match="17 lists of transformers"):
        validate_policy(policy, PolicyKind.SECRET, NOW)


SLOW_PATTERNS = [f".*{'abcdef'[i % 6]}[a-z.]{{{i % 7 + 10}}}b{i}.*" for i in range(255)]


def test_the_slowest_expressions_do_not_stop_other_threads():
    """They take a worker's time, a few milliseconds a name, and the interpreter goes on beside them."""
    compiled = compile_policy(parse_policy(with_patterns(*SLOW_PATTERNS[:128]), PolicyKind.SECRET))
    names = tuple(
        "".join("abcdef."[byte % 7] for byte in shake_256(b"%d" % i).digest(253)) for i in range(16)
    )
    request = AccessRequest(caller=replace(caller(), names=names), time=NOW)
    beside = 0
    with ThreadPoolExecutor(1) as worker:
        deciding = worker.submit(decide, compiled, request)
        while not deciding.done():
            beside += 1
            time.sleep(0.0005)
    assert not deciding.result().is_allowed
    # A decision that kept the interpreter to itself would end before the second look.
    assert beside > 5


def test_every_predicate_has_an_index():
    assert set(BUILDERS) == {*SECRET_PREDICATES, *KMS_PREDICATES}


def test_validate_returns_the_content_and_the_warnings():
    content, warnings = validate_policy(
        {"rules": [{"name": "all", "action": "ALLOW"}]}, PolicyKind.SECRET, NOW
    )
    assert content == parse_policy({"rules": [{"name": "all", "action": "ALLOW"}]}, PolicyKind.SECRET)
    assert [warning.code for warning in warnings] == [WarningCode.NO_CLIENT_PREDICATE]


def test_validate_reads_the_clock_where_no_time_is_given(monkeypatch):
    seen = []
    monkeypatch.setattr(compiler, "lint", lambda content, now, sets: seen.append(now) or ())
    validate_policy({}, PolicyKind.SECRET)
    assert abs((seen[0] - datetime.now(UTC)).total_seconds()) < 60


def test_a_policy_without_rules_denies():
    request = AccessRequest(caller=caller(), time=NOW)
    assert (
        decide(compile_policy(parse_policy({}, PolicyKind.SECRET)), request).reason is Reason.NO_RULE_MATCHED
    )


def test_values_that_data_must_lack_are_limited_in_number():
    def policy(count):
        values = [b64encode(f"{i}".encode()).decode() for i in range(count)]
        rules = [
            {"name": f"r{i}", "action": "ALLOW", "aad_matcher": {"lacks": values[i : i + 64]}}
            for i in range(0, count, 64)
        ]
        return parse_policy({"rules": rules}, PolicyKind.KMS)

    assert compile_policy(policy(256)).searches == 256
    with pytest.raises(LimitExceeded, match="257 values, 256 at most"):
        compile_policy(policy(257))
