"""`verify`, `fingerprint`, and `show` of each type of signed document."""

import json
from dataclasses import replace

import pytest
from desk import DAY, KEY, POLICY, Desk

from cli.exit_codes import ExitCode
from testvectors import material

TRUST = ("--trust-key", material.trust())


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        ("tenant.key", {"type": "public-key", "key_version": 1, "fingerprint": KEY.fingerprint.hex()}),
        ("web-tls.policy", {"type": "policy-document", "revision": 1, "digest": POLICY.digest.hex()}),
    ],
)
def test_verify_says_what_it_is_and_until_when(desk: Desk, file: str, shown: dict[str, object]) -> None:
    result = desk.call("verify", *TRUST, "--json", desk.path / file)
    value = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert value.items() >= (shown | {"tenant": "acme", "verified": True, "expired": False}).items()
    assert value["root"] == material.trust()
    assert value["issued_at"] < value["not_after"] < value["delegation_not_after"]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"root": bytes(32)}, ExitCode.DAMAGED),
        ({"signer": bytes(32)}, ExitCode.DAMAGED),
        ({"issued": -9 * DAY}, ExitCode.STALE),
        ({"tenant": "umbrella"}, ExitCode.MISMATCH),
    ],
)
def test_verify_refuses(desk: Desk, how: dict[str, object], code: ExitCode) -> None:
    result = desk.call("verify", *TRUST, desk.bundle("tenant.key", KEY, **how))
    assert (result.exit_code, result.stdout) == (code, "")


def test_verify_refuses_a_modulus_that_sealing_would_refuse(desk: Desk) -> None:
    result = desk.call("verify", *TRUST, desk.bundle("tenant.key", material.key("small")))
    assert (result.exit_code, result.stdout) == (ExitCode.DAMAGED, "")


def test_verify_refuses_another_type_than_asked_for(desk: Desk) -> None:
    result = desk.call("verify", *TRUST, "--type", "policy-document", desk.path / "tenant.key")
    assert result.exit_code == ExitCode.DAMAGED
    assert "the delegation is for 'blindfold/v1 public-key'" in result.stderr


def test_verify_refuses_another_tenant_than_asked_for(desk: Desk) -> None:
    result = desk.call("verify", *TRUST, "--tenant", "umbrella", desk.path / "tenant.key")
    assert result.exit_code == ExitCode.MISMATCH


def test_verify_accepts_expired_when_asked_for(desk: Desk) -> None:
    path = desk.bundle("tenant.key", KEY, issued=-9 * DAY)
    result = desk.call("verify", *TRUST, "--allow-expired", path)
    assert (result.exit_code, "expired               yes" in result.stdout) == (0, True)


def test_verify_needs_a_pinned_root(desk: Desk) -> None:
    assert desk.call("verify", desk.path / "tenant.key").exit_code == ExitCode.USAGE


def test_fingerprint_is_the_one_to_pin(desk: Desk) -> None:
    result = desk.call("fingerprint", desk.path / "tenant.key")
    assert (result.exit_code, result.stdout) == (0, material.trust() + "\n")
    assert json.loads(desk.call("fingerprint", "--json", desk.path / "tenant.key").stdout) == {
        "root": material.trust()
    }


def test_fingerprint_is_not_given_for_a_root_that_did_not_sign(desk: Desk) -> None:
    result = desk.call("fingerprint", desk.bundle("tenant.key", KEY, signer=bytes(32)))
    assert (result.exit_code, result.stdout) == (ExitCode.DAMAGED, "")


def test_policy_document_is_shown_rule_by_rule(desk: Desk) -> None:
    result = desk.call("policy-document", "show", *TRUST, desk.path / "web-tls.policy")
    assert (result.exit_code, result.stderr) == (0, "")
    assert 'ALLOW web servers: client_selector {"expressions":["app=web"]}' in result.stdout
    assert "tier=front" in result.stdout
    assert "verified               yes" in result.stdout


def test_policy_without_rules_is_shown_to_deny(desk: Desk) -> None:
    path = desk.bundle("web-tls.policy", replace(POLICY, rules=()))
    assert "none: everybody is denied" in desk.call("policy-document", "show", path).stdout


def test_rule_without_predicates_is_shown_to_hold_always(desk: Desk) -> None:
    policy = replace(POLICY, rules=({"name": "all", "action": "DENY", "description": "closed"},))
    result = desk.call("policy-document", "show", desk.bundle("web-tls.policy", policy))
    assert "DENY all: always  (closed)" in result.stdout


def test_json_shows_the_document_as_it_was_signed(desk: Desk) -> None:
    result = desk.call("public-key", "show", "--json", *TRUST, desk.path / "tenant.key")
    assert json.loads(result.stdout)["document"] == json.loads(KEY.to_bytes())


def test_show_without_a_pinned_root_warns(desk: Desk) -> None:
    result = desk.call("public-key", "show", desk.path / "tenant.key")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: not verified")
    assert "verified              no" in result.stdout


def test_show_shows_an_expired_document(desk: Desk) -> None:
    path = desk.bundle("tenant.key", KEY, issued=-9 * DAY)
    result = desk.call("public-key", "show", "--json", *TRUST, path)
    assert (result.exit_code, json.loads(result.stdout)["expired"]) == (0, True)


@pytest.mark.parametrize("trust", [TRUST, ()])
def test_show_refuses_the_other_type(desk: Desk, trust: tuple[str, ...]) -> None:
    result = desk.call("public-key", "show", *trust, desk.path / "web-tls.policy")
    assert (result.exit_code, result.stdout) in [(ExitCode.DAMAGED, ""), (ExitCode.MISMATCH, "")]


def test_show_refuses_an_unpinned_root(desk: Desk) -> None:
    path = desk.bundle("tenant.key", KEY, root=bytes(32))
    assert desk.call("public-key", "show", *TRUST, path).exit_code == ExitCode.DAMAGED


def test_text_of_others_cannot_command_the_terminal(desk: Desk) -> None:
    policy = replace(POLICY, description="\x1b]0;owned\x07 \u202ereversed", labels={"a\x1b[2J": "b"})
    result = desk.call("policy-document", "show", desk.bundle("web-tls.policy", policy))
    assert "\\x1b]0;owned\\x07 \\u202ereversed" in result.stdout
    assert "\x1b" not in result.stdout
