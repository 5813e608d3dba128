"""The commands over rate limiters and user identifications, and the examples of docs/limits.md."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House

from cli.exit_codes import ExitCode

PAGE = (Path(__file__).parents[2] / "docs/limits.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (kms .+)$", PAGE, re.MULTILINE)
LIMITERS = "tenants/acme/rateLimiters/"


@pytest.fixture(autouse=True)
def nothing_left(house: House) -> Iterator[None]:
    yield
    for kind in ("rate-limiter", "user-identification"):
        for item in house.must("kms", kind, "list"):
            house.must("kms", kind, "delete", item["name"])


def test_limiter_lives_from_create_to_delete(house: House) -> None:
    made = house.must(
        "kms", "rate-limiter", "create", "app", "--class", "USE", "--class", "OPEN",
        "--rate", "100/second", "--description", "the application",
    )  # fmt: skip
    assert {name: made[name] for name in ("name", "operation_classes", "number", "period")} == {
        "name": f"{LIMITERS}app",
        "operation_classes": ["OPEN", "USE"],
        "number": 100,
        "period": "SECOND",
    }
    assert house.must("kms", "rate-limiter", "get", "app") == made
    changed = house.must("kms", "rate-limiter", "update", "app", "--rate", "5/hour", "--burst", "9")
    assert (changed["number"], changed["period"], changed["burst"]) == (5, "HOUR", 9)
    assert changed["operation_classes"] == made["operation_classes"]
    stale = house.kms("rate-limiter", "delete", "app", "--etag", made["etag"])
    assert stale.code == ExitCode.CONFLICT
    assert house.must("kms", "rate-limiter", "delete", made["name"]) == {
        "name": made["name"],
        "deleted": True,
    }
    assert house.kms("rate-limiter", "get", "app").code == ExitCode.MISMATCH


def test_limiter_by_header_goes_back_to_identities(house: House) -> None:
    house.must("kms", "user-identification", "create", "user", "--kind", "HEADER", "--header", "x-user")
    by = ("--by", "user", "--each-value", "10", "--each-value-burst", "20")
    made = house.must("kms", "rate-limiter", "create", "u", "--class", "USE", "--rate", "99/minute", *by)
    assert made["user_identification"] == "tenants/acme/userIdentifications/user"
    assert (made["value_number"], made["value_burst"]) == (10, 20)
    busy = house.kms("user-identification", "delete", "user")
    assert (busy.code, "rateLimiters/u" in busy.words) == (ExitCode.CONFLICT, True)
    changed = house.must("kms", "rate-limiter", "update", "u", "--by-identity")
    assert not {"user_identification", "value_number", "value_burst"} & changed.keys()
    renamed = house.must("kms", "user-identification", "update", "user", "--header", "x-end-user")
    assert (renamed["kind"], renamed["header"]) == ("HEADER", "x-end-user")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "app", "--rate", "1/second"),
        ("create", "app", "--class", "USE", "--rate", "1/day"),
        ("create", "app", "--class", "USE", "--rate", "1"),
        ("create", "app", "--class", "ENROL", "--rate", "1/second"),
        ("create", "app", "--class", "USE"),
        ("create", "a/b", "--class", "USE", "--rate", "1/second"),
        ("update", "app"),
        ("update", "app", "--by-identity", "--by", "user"),
    ],
)
def test_what_is_no_limiter_is_not_sent(house: House, arguments: tuple[str, ...]) -> None:
    assert house.kms("rate-limiter", *arguments).code == ExitCode.USAGE


def test_limit_of_nothing_is_refused_with_its_field(house: House) -> None:
    ended = house.kms("rate-limiter", "create", "app", "--class", "USE", "--rate", "0/second", "--json")
    assert (ended.code, ended.error["reason"]) == (ExitCode.USAGE, "INVALID_FIELD")
    assert "number" in ended.words


def test_limited_caller_is_told_when_to_come_back(house: House) -> None:
    house.must("kms", "rate-limiter", "create", "slow", "--class", "USE", "--rate", "1/hour")
    who = house.enrol("prod/hasty", "--role", "key-user")
    house.kms("random", "prod", who=who)
    ended = house.kms("random", "prod", "--json", who=who)
    assert (ended.code, ended.error["reason"]) == (ExitCode.LIMITED, "RATE_LIMITED")
    assert "Try again after" in ended.words


def test_commands_of_the_page_do_what_they_say(house: House) -> None:
    assert len(COMMANDS) > 5
    for command in COMMANDS:
        ended = house.kms(*shlex.split(command)[1:])
        assert ended.code == 0, (command, ended.words)
    limiters = {item["name"]: item for item in house.must("kms", "rate-limiter", "list")}
    assert limiters.keys() == {f"{LIMITERS}{name}" for name in ("app", "sites", "users")}
    assert limiters[f"{LIMITERS}app"]["number"] == 200
