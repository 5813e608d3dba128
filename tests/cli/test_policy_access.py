"""`who-can` of both kinds: about policies, keys and sealed secrets."""

from pathlib import Path
from typing import Any

import pytest
from house import POLICY, House

from cli.exit_codes import ExitCode

WEB = "tenants/acme/namespaces/prod/identities/web"
DAYTIME = {"time_window": {"start_time": "06:00", "end_time": "22:00"}}
NIGHT = ("--time", "2030-01-31T23:00:00Z")


def names(found: list[dict[str, Any]]) -> list[str]:
    return [item["identity"] for item in found]


def test_secret_policy_says_who_can_open(house: House) -> None:
    [web] = [
        item
        for item in house.must("kms", "secret-policy", "who-can", "prod/web-tls")
        if item["identity"] == WEB
    ]
    assert (web["verdict"], web["allowing_rules"]) == ("ALLOW", ["web servers"])
    table = house.kms("secret-policy", "who-can", "prod/web-tls", "--revision", 1).out.decode()
    assert table.splitlines()[0].split("  ")[0] == "IDENTITY"


@pytest.mark.parametrize("binding", ["REVISION", "POLICY"])
def test_sealed_secret_is_asked_about_by_what_it_is_bound_to(house: House, binding: str) -> None:
    name = f"who-{binding.lower()}"
    day = {"rules": [POLICY["rules"][0] | DAYTIME], "binding": binding}
    sealed = house.file(f"{name}.sealed", house.seal(house.policy(name, day)))
    asked = ("kms", "secret-policy", "who-can", "--sealed", sealed)
    [web] = [item for item in house.must(*asked) if item["identity"] == WEB]
    assert (web["verdict"], web["depends_on"]) == ("UNKNOWN", ["time_window"])
    assert WEB not in names(house.must(*asked, *NIGHT))


def test_kms_policy_and_key_say_who_can_use_them(house: House) -> None:
    content = {"rules": [{"name": "users", "action": "ALLOW", "roles": ["key-user"]}]}
    house.must("kms", "policy", "create", "prod/who", house.file("who.json", content))
    house.must("kms", "key", "create", "prod/who", "--policy", "prod/who")
    house.enrol("prod/user", "--role", "key-user@prod", "--role", "key-user")
    user = "tenants/acme/namespaces/prod/identities/user"
    for subject in (("prod/who",), ("--key", "prod/who")):
        found = house.must("kms", "policy", "who-can", *subject, "--operation", "ENCRYPT", "--aad", "x")
        assert user in names(found)
    assert user not in names(
        house.must("kms", "policy", "who-can", "--key", "prod/who", "--operation", "IMPORT")
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("policy", "who-can", "--operation", "SIGN"), "give either POLICY or --key"),
        (("policy", "who-can", "a/b", "--key", "a/b", "--operation", "SIGN"), "give either POLICY or --key"),
        (("secret-policy", "who-can"), "give either POLICY or --sealed"),
        (("policy", "who-can", "--key", "a/b", "--operation", "SIGN", "--revision", "1"), "--revision needs"),
    ],
)
def test_exactly_one_thing_is_asked_about(house: House, arguments: tuple[str, ...], words: str) -> None:
    ended = house.kms(*arguments)
    assert (ended.code, words in ended.words) == (ExitCode.USAGE, True), ended.words


def test_what_is_not_sealed_is_damaged(house: House, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"not sealed")
    ended = house.kms("secret-policy", "who-can", "--sealed", tmp_path / "plain")
    assert ended.code == ExitCode.DAMAGED
