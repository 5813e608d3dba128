"""`test`: a table of requests, each with the decision that a policy file must make. Offline, for a CI."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, repeat
from pathlib import Path

import click

from cli.errors import CliError
from cli.options import FILE, json_option
from cli.output import write_json, write_table
from cli.policy_kind import Kind
from cli.resource_file import read_content
from cli.structured_file import read_one_text
from kms.authz.compile import CompiledPolicy, compile_policy
from kms.authz.explain import explain
from kms.errors import InvalidField
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.json_form import BYTES, MOMENT, STRINGS, Form, list_of, map_of, member_of, object_of, string
from kms.model.labels import check_labels, check_roles
from kms.model.names import IdentityName
from kms.model.policy import MAX_PREFIXES, Action, PolicyContent, PolicyKind
from kms.model.predicate import check_each, check_prefix, within

# Rules read names, labels, roles and the address, but never who it is that has them.
NOBODY = IdentityName("nobody", "nobody", "nobody")
# For rules that ask for none.
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and what is expected of it: the decision and, if not "", the rule that makes it."""

    expect: Action
    name: str = ""
    rule: str = ""
    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    address: str = ""
    time: datetime | None = None
    operation: str | None = None
    key: str = ""
    key_labels: Mapping[str, str] = field(default_factory=dict)
    aad: bytes = b""


@dataclass(frozen=True, slots=True)
class Table:
    """`policy` is a policy's file, its path beginning where the table is; `time` that of rows without one.

    `prefix_sets` are those that the policy names, by their ids.
    """

    policy: str
    requests: tuple[Row, ...]
    time: datetime | None = None
    prefix_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_TEXT = string()
_ROW: Mapping[str, Form] = {
    "name": _TEXT,
    "expect": member_of(Action),
    "rule": _TEXT,
    "names": list_of(_TEXT),
    "labels": STRINGS,
    "roles": list_of(_TEXT),
    "address": _TEXT,
    "time": MOMENT,
}
_OF_KEYS: Mapping[str, Form] = {"operation": _TEXT, "key": _TEXT, "key_labels": STRINGS, "aad": BYTES}


def table_form(kind: PolicyKind) -> Form:
    """The form of a table about policies of that kind."""
    members = {**_ROW, **_OF_KEYS} if kind is PolicyKind.KMS else _ROW
    required = ("expect", "operation") if kind is PolicyKind.KMS else ("expect",)
    rows = list_of(object_of(Row, members, required))
    return object_of(
        Table,
        {"policy": _TEXT, "time": MOMENT, "prefix_sets": map_of(list_of(_TEXT)), "requests": rows},
        required=("policy", "requests"),
    )


def test(kind: Kind) -> click.Command:
    text = """Check what a policy file decides, offline.

    FILE holds a table of requests and the decisions they must get, as docs/policies.md describes it. Prints
    the rows that are decided otherwise; if there are any, the exit code is 1.
    """

    @kind.command("test", text, "orders-test.yaml")
    @click.argument("path", metavar="FILE", type=FILE)
    @json_option
    def command(path: Path, as_json: bool) -> None:
        differing, asked = _differing(path, kind)
        if as_json:
            write_json(differing)
        else:
            write_table(differing)
        if differing:
            raise CliError(f"{len(differing)} of {asked} requests are decided otherwise")
        click.echo(f"{asked} requests are decided as expected", err=True)

    return command


def _differing(path: Path, kind: Kind) -> tuple[list[dict[str, object]], int]:
    """The rows that are decided otherwise, and how many there are in all. Raises `CliError`."""
    text = read_one_text(str(path))
    try:
        table: Table = table_form(kind.policy).decode(text.value)
        with within("prefix_sets"):
            for name, prefixes in table.prefix_sets.items():
                check_each(name, prefixes, MAX_PREFIXES, check_prefix)
        content = read_content(str(path.parent / table.policy), kind.file)
        policy = compile_policy(content, table.prefix_sets)
        requests = _requests(table, policy.content)
    except InvalidField as error:
        place, problem, reason = error.field, error.description, error.reason
    else:
        compared = map(_compare, repeat(policy), table.requests, requests, count())
        return list(filter(None, compared)), len(requests)
    raise text.fault(place, problem, reason)


def _requests(table: Table, content: PolicyContent) -> list[AccessRequest]:
    """Raises `InvalidField`."""
    depends_on_time = any(rule.time_window for rule in content.rules)
    requests = []
    for number, row in enumerate(table.requests):
        with within(f"requests[{number}]"):
            time = row.time or table.time
            if time is None and depends_on_time:
                raise InvalidField("time", "is missing, and the policy has a time_window")
            requests.append(_request(row, time or ANY_TIME, content))
    return requests


def _request(row: Row, time: datetime, content: PolicyContent) -> AccessRequest:
    caller = Caller(
        identity=NOBODY,
        spiffe_id="".join(row.names[:1]),
        names=row.names,
        labels=check_labels(row.labels),
        roles=check_roles(row.roles),
        address=row.address,
    )
    of_key = check_labels(row.key_labels, "key_labels")
    return AccessRequest(
        caller=caller,
        time=time,
        operation=row.operation,
        resource_labels=content.labels if content.kind is PolicyKind.SECRET else of_key,
        key_name=row.key,
        aad=row.aad,
    )


def _compare(policy: CompiledPolicy, row: Row, request: AccessRequest, number: int) -> dict[str, object]:
    """What is otherwise than the row says; {} if nothing is."""
    explained = explain(policy, request)
    decision = explained.decision
    rule = "" if decision.rule_index is None else policy.content.rules[decision.rule_index].name
    if decision.action is row.expect and row.rule in ("", rule):
        return {}
    return {
        "request": row.name or f"requests[{number}]",
        "expected": " ".join(filter(None, [row.expect, row.rule])),
        "decided": " ".join(filter(None, [decision.action, rule])),
        "why": explained.summary,
    }
