"""Decisions by 256 rules of which none matches, beside CEL; and calls in a tenant that holds a lot."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.encryption import PLAIN
from benchmarks.figure import Figure, at_most, shown
from benchmarks.load import Load
from benchmarks.server import ADMIN, KEY, KMS_POLICY, Prepared, Running, admin_call, opened, prepare, serving
from kms.authz.compile import compile_policy
from kms.authz.decide import decide
from kms.main.parts import Parts
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import IdentityName
from kms.model.policy import PolicyKind
from kms.model.policy_json import parse_policy
from kms.model.policy_records import KmsPolicyRecord, KmsPolicyRevisionRecord
from kms.model.records import IdentityRecord
from kms.services.policy_changes import revision_row
from kms.services.repository import create
from kms.storage.interface import Change
from protos.kms.v1.crypto_pb2 import EncryptRequest

RULES = 256
LIMIT_MICROSECONDS = 100
DECISIONS = 2000
ROUNDS = 7
# Optional, and not locked: `pip install cel-expr-python`.
CEL = "cel_expr_python"

IDENTITIES, POLICIES = 10_000, 1_000
AT_ONCE = 500
CALLS = 2_000
BY_SIZE = 1.20

SPIFFE_ID = "spiffe://bench.test/tenant/acme/ns/prod/sa/web"
NAMES = (SPIFFE_ID, "web.acme.test")
# A regex of a rule, with its number, for other names.
OTHERS = ".*/ns/ns{}/sa/[a-z]+"
LABELS = {"app": "web", "tier": "front"}


def measure() -> list[Figure]:
    """Microseconds of a decision, milliseconds of a call; the best of some rounds. Takes about a minute."""
    many = microseconds(RULES)
    return [
        at_most(f"a decision, {RULES} rules, no match", many, "us", LIMIT_MICROSECONDS),
        *beside_cel(many),
        at_most(
            f"a decision, {RULES} rules, whose selectors alone do not match",
            microseconds(RULES, ".*/sa/(?:web|x{})"),
            "us",
            LIMIT_MICROSECONDS,
        ),
        shown("a decision, 16 rules, no match", microseconds(16), "us"),
        shown("a decision, 1 rule, no match", microseconds(1), "us"),
        *by_size(),
    ]


def microseconds(rules: int, regex: str = OTHERS) -> float:
    described = [rule(number, regex) for number in range(rules)]
    content = parse_policy({"rules": described}, PolicyKind.SECRET)
    compiled = compile_policy(content)
    caller = Caller(IdentityName("acme", "prod", "web"), SPIFFE_ID, NAMES, LABELS)
    request = AccessRequest(caller=caller, time=datetime.now(UTC))
    if decide(compiled, request).is_allowed:
        raise AssertionError("a rule matches")
    return best(lambda: decide(compiled, request), DECISIONS)


def rule(number: int, regex: str) -> dict[str, object]:
    return {
        "name": f"rule-{number}",
        "action": "ALLOW",
        "client_selector": {"expressions": [f"app in (web, api), zone=z{number}"]},
        "client_name_matcher": {"regex_values": [regex.format(number)]},
    }


def best(act: Callable[[], object], times: int) -> float:
    """Microseconds."""
    found = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(times):
            act()
        found = min(found, time.perf_counter() - start)
    return 1e6 * found / times


def beside_cel(ours: float) -> list[Figure]:
    """The same policy as one CEL expression, what is cheap first; nothing where CEL is not installed."""
    if find_spec(CEL) is None:
        return []
    cel: Any = import_module(f"{CEL}.cel")
    text = cel.Type.STRING
    environment = cel.NewEnv(variables={"names": cel.Type.List(text), "labels": cel.Type.Map(text, text)})
    expression = environment.compile(" || ".join(cel_rule(number) for number in range(RULES)))
    data = {"names": list(NAMES), "labels": LABELS}
    if expression.eval(data=data).value():
        raise AssertionError("a rule matches")
    theirs = best(lambda: expression.eval(data=data), DECISIONS // 10)
    return [
        shown(f"... in cel-expr-python, {RULES} rules, no match", theirs, "us"),
        at_most("... ours, times that", ours / theirs, "", 1.0),
    ]


def cel_rule(number: int) -> str:
    return (
        f'("app" in labels && labels["app"] in ["web", "api"] && "zone" in labels && '
        f'labels["zone"] == "z{number}" && names.exists(n, n.matches("^{OTHERS.format(number)}$")))'
    )


def by_size() -> list[Figure]:
    """The median time of a call, one after the other, by how much the tenant holds."""
    small, large = median_call(0, 0), median_call(IDENTITIES, POLICIES)
    return [
        shown("Encrypt 256 B, median, one caller", small, "ms"),
        shown(f"... with {IDENTITIES:,} identities and {POLICIES:,} policies", large, "ms", small),
        at_most("... times that", large / small, "", BY_SIZE),
    ]


def median_call(identities: int, policies: int) -> float:
    """Milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        prepared = prepare(Path(directory))
        with opened(prepared.configuration) as parts:
            commit(parts, [change for number in range(identities) for change in identity(parts, number)])
            commit(parts, [change for number in range(policies) for change in policy(parts, number)])
        with serving(prepared) as running:
            return min(asyncio.run(median(running, prepared)) for _ in range(3))


async def median(running: Running, prepared: Prepared) -> float:
    request = EncryptRequest(name=str(KEY), plaintext=PLAIN)
    async with Load(running, prepared.user_credentials, "Encrypt", [request]).calling() as call:
        await call()
        times = []
        for _ in range(CALLS):
            start = time.perf_counter()
            await call()
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def commit(parts: Parts, changes: list[Change]) -> None:
    for start in range(0, len(changes), AT_ONCE):
        event = admin_call().event("Kms.Fill", str(KEY), "ALLOW")
        asyncio.run(parts.guard.commit(changes[start : start + AT_ONCE], [event]))


def identity(parts: Parts, number: int) -> list[Change]:
    """One like the administrator, without its roles."""
    name = replace(ADMIN, identity=f"app-{number}")
    record = parts.repository.require(IdentityRecord, str(ADMIN)).record
    spiffe_id = record.spiffe_id.replace("/sa/admin", f"/sa/app-{number}")
    labels = {"app": f"app-{number}", "zone": f"z{number % RULES}"}
    return [create(str(name), replace(record, spiffe_id=spiffe_id, labels=labels, roles=()))]


def policy(parts: Parts, number: int) -> list[Change]:
    """One like the policy of the key."""
    name = replace(KMS_POLICY, policy=f"p-{number}")
    head = parts.repository.require(KmsPolicyRecord, str(KMS_POLICY)).record
    revision = parts.repository.require(KmsPolicyRevisionRecord, revision_row(KMS_POLICY, 1)).record
    return [create(str(name), head), create(revision_row(name, 1), revision)]
