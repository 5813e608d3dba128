"""`kms policy test` and `kms secret-policy test`: tables of requests, decided offline."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import kms
from cli.exit_codes import ExitCode

POLICY = """\
rules:
  - name: not at night
    action: DENY
    time_window: {start_time: "22:00", end_time: "06:00"}
  - name: web may encrypt
    action: ALLOW
    client_selector: {expressions: ["app=web"]}
    ip_prefixes: [10.0.0.0/8]
    operations: [ENCRYPT]
    label_matcher: {keys: [team]}
    aad_matcher: {starts_with: ["b3JkZXJzLw=="]}
"""
WEB = """
    labels: {app: web, team: a}
    key_labels: {team: a}
    address: 10.0.0.7
    operation: ENCRYPT
    key: orders
    aad: b3JkZXJzLw==
"""
TABLE = f"""\
policy: orders.yaml
time: "2026-01-05T12:00:00Z"
requests:
  - expect: ALLOW
    rule: web may encrypt{WEB}
  - name: at night
    expect: DENY
    rule: not at night
    time: "2026-01-05T23:00:00Z"{WEB}
  - expect: DENY
    operation: DECRYPT
"""


def run(tmp_path: Path, table: str, *arguments: str, group: str = "policy", policy: str = POLICY) -> Result:
    (tmp_path / "orders.yaml").write_text(policy)
    (tmp_path / "table.yaml").write_text(table)
    return CliRunner().invoke(kms.program, [group, "test", str(tmp_path / "table.yaml"), *arguments])


def test_table_that_holds_ends_well(tmp_path: Path) -> None:
    ended = run(tmp_path, TABLE)
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert ended.stderr == "3 requests are decided as expected\n"


def test_rows_that_differ_are_shown_and_the_exit_code_is_1(tmp_path: Path) -> None:
    ended = run(tmp_path, TABLE.replace("expect: ALLOW", "expect: DENY"))
    assert (ended.exit_code, "1 of 3 requests" in ended.stderr) == (ExitCode.FAILED, True)
    assert "requests[0]  DENY web may encrypt  ALLOW web may encrypt  ALLOW: rules[1]" in ended.stdout


def test_other_rule_than_the_expected_one_differs_for_programs_too(tmp_path: Path) -> None:
    ended = run(tmp_path, TABLE.replace("rule: not at night", "rule: web may encrypt"), "--json")
    [row] = json.loads(ended.stdout)
    assert (row["request"], row["expected"], row["decided"]) == (
        "at night", "DENY web may encrypt", "DENY not at night",
    )  # fmt: skip
    assert json.loads(ended.stderr)["error"]["exit_code"] == ExitCode.FAILED


# What is put in the place of a part of the table, and how that is refused.
REFUSED = [
    ("operation: DECRYPT", "operation: READ", "table.yaml:25: requests[2].operation: is not an operation"),
    ("    operation: DECRYPT", "    roles: [a]", "requests[2].operation: is missing"),
    ("  - expect: DENY", "  - except: DENY", 'requests[2]: unknown field or predicate "except"'),
    ('time: "2026-01-05T12:00:00Z"\n', "", "requests[0].time: is missing, and the policy has a time_window"),
    ("policy: orders.yaml\n", "", "policy: is missing"),
    ("aad: b3JkZXJzLw==", "aad: orders", "table.yaml:11: requests[0].aad: is not base64"),
    ("labels: {app: web", "labels: {app: no", "requests[0].labels.app: no is a boolean"),
]


@pytest.mark.parametrize(("part", "other", "words"), REFUSED)
def test_table_that_is_wrong_is_a_usage_error(tmp_path: Path, part: str, other: str, words: str) -> None:
    assert part in TABLE
    ended = run(tmp_path, TABLE.replace(part, other, 1))
    assert (ended.exit_code, words in ended.stderr) == (ExitCode.USAGE, True), ended.stderr


def test_selector_with_a_syntax_error_shows_the_position(tmp_path: Path) -> None:
    ended = run(tmp_path, TABLE, policy=POLICY.replace("app=web", "app in web"))
    assert ended.exit_code == ExitCode.USAGE
    assert "orders.yaml:7: rules[1].client_selector.expressions[0]: position 8: found 'web'" in ended.stderr


def test_secret_policy_compares_with_its_own_labels_and_knows_no_keys(tmp_path: Path) -> None:
    policy = "labels: {team: a}\nrules:\n- name: team\n  action: ALLOW\n  label_matcher: {keys: [team]}\n"
    rows: list[dict[str, Any]] = [
        {"expect": "ALLOW", "labels": {"team": "a"}, "names": ["web.example"], "roles": ["reader"]},
        {"expect": "DENY", "labels": {"team": "b"}},
    ]
    table = json.dumps({"policy": "orders.yaml", "requests": rows})
    ended = run(tmp_path, table, group="secret-policy", policy=policy)
    assert (ended.exit_code, ended.stderr) == (0, "2 requests are decided as expected\n")
    rows[0]["operation"] = "ENCRYPT"
    table = json.dumps({"policy": "orders.yaml", "requests": rows})
    ended = run(tmp_path, table, group="secret-policy", policy=policy)
    assert (ended.exit_code, 'unknown field or predicate "operation"' in ended.stderr) == (2, True)


@pytest.mark.parametrize("group", ["policy", "secret-policy"])
def test_schema_is_printed(group: str) -> None:
    ended = CliRunner().invoke(kms.program, [group, "schema"])
    assert json.loads(ended.stdout)["required"] == ["kind", "name", "content"]
