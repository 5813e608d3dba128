"""One decision by a policy of 256 rules with selectors and regular expressions, none of which matches."""

import time
from datetime import UTC, datetime

from benchmarks.figure import Figure, at_most, shown
from kms.authz.compile import compile_policy
from kms.authz.decide import decide
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import IdentityName
from kms.model.policy import PolicyKind
from kms.model.policy_json import parse_policy

RULES = 256
LIMIT_MICROSECONDS = 100
DECISIONS = 2000
ROUNDS = 7


def measure() -> list[Figure]:
    """Microseconds, the best of some rounds."""
    return [
        at_most(f"a decision, {RULES} rules, no match", microseconds(RULES), "us", LIMIT_MICROSECONDS),
        shown("a decision, 16 rules, no match", microseconds(16), "us"),
        shown("a decision, 1 rule, no match", microseconds(1), "us"),
    ]


def microseconds(rules: int) -> float:
    content = parse_policy({"rules": [rule(number) for number in range(rules)]}, PolicyKind.SECRET)
    compiled = compile_policy(content)
    spiffe_id = "spiffe://bench.test/tenant/acme/ns/prod/sa/web"
    caller = Caller(
        IdentityName("acme", "prod", "web"),
        spiffe_id,
        (spiffe_id, "web.acme.test"),
        {"app": "web", "tier": "front"},
    )
    request = AccessRequest(caller=caller, time=datetime.now(UTC))
    if decide(compiled, request).is_allowed:
        raise AssertionError("a rule matches")
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(DECISIONS):
            decide(compiled, request)
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / DECISIONS


def rule(number: int) -> dict[str, object]:
    return {
        "name": f"rule-{number}",
        "action": "ALLOW",
        "client_selector": {"expressions": [f"app in (web, api), zone=z{number}"]},
        "client_name_matcher": {"regex_values": [f".*/ns/ns{number}/sa/[a-z]+"]},
    }
