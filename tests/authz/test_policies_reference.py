"""The reference of the policy language is complete, and its examples are what the engine accepts."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blindfold.predicates import ACTIONS, DAYS, RULE_COMBINING, TRANSFORMERS
from kms.authz.compile import BUILDERS, validate_policy
from kms.authz.lint import WarningCode
from kms.authz.roles import ROLES
from kms.model.policy import OPERATIONS, PolicyKind

NOW = datetime(2026, 6, 3, tzinfo=UTC)
TEXT = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
POLICIES = [example for example in EXAMPLES if "rules" in example]
PREDICATES = [example for example in EXAMPLES if "rules" not in example]
NAMES = [*BUILDERS, *ACTIONS, *RULE_COMBINING, *TRANSFORMERS, *OPERATIONS, *WarningCode, *ROLES]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_documented(name):
    assert f"`{name}`" in TEXT


def test_every_predicate_has_an_example():
    assert {name for example in PREDICATES for name in example} == set(BUILDERS)


@pytest.mark.parametrize("example", PREDICATES, ids=lambda example: next(iter(example)))
def test_the_examples_of_predicates_compile(example):
    policy = {"rules": [{"name": "example", "action": "DENY"} | example]}
    content, warnings = validate_policy(policy, PolicyKind.KMS, NOW)
    assert content.rules[0].is_set(next(iter(example)))
    assert warnings == ()


def test_the_example_of_a_policy_has_no_warnings():
    assert len(POLICIES) == 1
    assert validate_policy(POLICIES[0], PolicyKind.SECRET, NOW)[1] == ()


def test_the_days_of_the_example_are_days():
    days = [day for example in PREDICATES for day in example.get("time_window", {}).get("days", [])]
    assert set(days) < set(DAYS)
