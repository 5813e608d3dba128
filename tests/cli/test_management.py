"""The commands over tenants, namespaces, identities, secret policies, Blindfold keys and the audit trail."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import ADMIN, POLICY, House, furnish

from cli.exit_codes import ExitCode

OPERATOR = "kms/credentials/operator"
PROD = "tenants/acme/namespaces/prod"


def lines(text: bytes) -> list[list[str]]:
    return [line.split() for line in text.decode().splitlines()]


def test_operator_sees_the_server_and_makes_tenants(house: House) -> None:
    status = house.must("kms", "status", who=OPERATOR)
    assert (status["ready"], status["root_of_trust"]["grade"]) == (True, "DEVELOPMENT")
    assert isinstance(status["store"]["last_event"], int)
    assert "root of trust kind     keyfile" in house.kms("status", who=OPERATOR).out.decode()
    house.must("kms", "tenant", "create", "globex", "--description", "Globex", who=OPERATOR)
    assert house.must("kms", "tenant", "get", "globex", who=OPERATOR)["description"] == "Globex"
    table = lines(house.kms("tenant", "list", who=OPERATOR).out)
    assert table[0] == ["NAME", "STATE", "CREATE", "TIME", "DESCRIPTION"]
    tenants = [row[0] for row in table[1:]]
    assert tenants == sorted(tenants)
    assert {"tenants/acme", "tenants/globex"} <= {*tenants}


def test_administrator_is_no_operator_and_the_other_way_round(house: House) -> None:
    assert house.kms("status").code == ExitCode.DENIED
    assert house.kms("namespace", "list", "--tenant", "acme", who=OPERATOR).code == ExitCode.DENIED


def test_namespace_lives_from_create_to_delete(house: House) -> None:
    made = house.must("kms", "namespace", "create", "staging", "--label", "tier=test")
    assert (made["name"], made["labels"]) == ("tenants/acme/namespaces/staging", {"tier": "test"})
    assert house.must("kms", "namespace", "get", made["name"]) == made
    again = house.kms("namespace", "create", "staging", "--json")
    assert (again.code, again.error["reason"]) == (ExitCode.CONFLICT, "ALREADY_EXISTS")
    assert house.kms("namespace", "delete", "staging", "--etag", "99").code == ExitCode.CONFLICT
    assert house.must("kms", "namespace", "delete", "staging") == {"name": made["name"], "deleted": True}
    assert house.kms("namespace", "get", "staging").code == ExitCode.MISMATCH


def test_namespace_with_something_in_it_is_not_deleted(house: House) -> None:
    ended = house.kms("namespace", "delete", "prod")
    assert (ended.code, "still holds" in ended.words) == (ExitCode.CONFLICT, True)


def test_token_is_printed_alone_and_serves_once(house: House, tmp_path: Path) -> None:
    ended = house.kms(
        "identity", "create-token", "prod/worker", "--role", "secret-sealer@prod", "--ttl", "1h"
    )
    token = ended.out
    assert (ended.code, ended.words, token.startswith(b"kjt1_"), token.count(b"\n")) == (0, "", True, 1)
    enrol = ("identity", "enrol", "--out", tmp_path / "worker")
    assert house.kms(*enrol, stdin=token).code == 0
    assert house.must("kms", "identity", "get", "prod/worker")["roles"] == ["secret-sealer@prod"]
    again = house.kms("identity", "enrol", "--json", "--out", tmp_path / "thief", stdin=token)
    assert (again.code, (tmp_path / "thief").exists()) == (ExitCode.UNAUTHENTICATED, False)
    assert "join token" in again.error["hint"]
    assert token.decode().strip() not in again.words


def test_enrolling_replaces_no_credentials_unasked(house: House) -> None:
    token = house.kms("identity", "create-token", "prod/guest").out
    before = (house.data / "credentials" / "acme-admin" / "cert.pem").read_bytes()
    for who in ("", "prod-web"):
        ended = house.kms("identity", "enrol", stdin=token, who=who)
        assert (ended.code, "holds credentials already" in ended.words) == (ExitCode.USAGE, True)
    assert (house.data / "credentials" / "acme-admin" / "cert.pem").read_bytes() == before
    assert house.must("kms", "identity", "enrol", stdin=token, who="guest")["credentials"].endswith("guest")
    assert house.kms("namespace", "list", who="guest").code == ExitCode.DENIED


@pytest.mark.parametrize("text", [b"kjt1_AAAA", b"nonsense", b"\xff"])
def test_what_is_no_token_is_refused_and_not_repeated(house: House, tmp_path: Path, text: bytes) -> None:
    ended = house.kms("identity", "enrol", "--out", tmp_path / "out", stdin=text)
    assert (ended.code, ended.out) == (ExitCode.USAGE, b"")
    assert text.decode("ascii", "replace") not in ended.words


def test_identities_are_listed_for_people_and_programs(house: House) -> None:
    found = house.must("kms", "identity", "list", "prod")
    assert f"{PROD}/identities/web" in [item["name"] for item in found]
    names = [item["name"] for item in house.must("kms", "identity", "list")]
    assert ADMIN in names
    assert "app=web" in house.kms("identity", "get", "prod/web").out.decode()


def test_revoked_identity_is_exit_code_11_and_told_what_to_do(house: House) -> None:
    who = house.enrol("prod/leaver", "--label", "app=web")
    house.must("kms", "identity", "revoke", "prod/leaver", "--comment", "left")
    ended = house.kms("namespace", "list", "--json", who=who)
    assert (ended.code, ended.error["reason"]) == (ExitCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert "kms identity enrol" in ended.error["hint"]


def test_policy_can_be_fetched_edited_and_sent_back(house: House) -> None:
    made = house.must("kms", "secret-policy", "create", "prod/edited", house.file("edited.json", POLICY))
    assert (made["revision"], made["state"], len(bytes.fromhex(made["digest"]))) == (1, "ACTIVE", 32)
    content = house.must("kms", "secret-policy", "get", "prod/edited")["content"]
    rule = {
        "name": "named",
        "action": "DENY",
        "client_name_matcher": {"exact_values": ["a.example"], "transformers": ["LOWER_CASE"]},
        "time_window": {"not_after": "2030-01-01T00:00:00Z", "days": ["MONDAY"]},
    }
    content |= {"rules": [rule, *content["rules"]], "decrypt_cache_timeout_seconds": 60}
    arguments = ("kms", "secret-policy", "update", "prod/edited", house.file("edited.json", content))
    updated = house.must(*arguments, "--etag", made["etag"])
    assert (updated["revision"], updated["content"]) == (2, content)
    assert house.kms(*arguments[1:], "--etag", made["etag"]).code == ExitCode.CONFLICT
    revisions = house.must("kms", "secret-policy", "revisions", "prod/edited")
    assert [item["digest"] for item in revisions] == [made["digest"], updated["digest"]]
    old = house.must("kms", "secret-policy", "get", "prod/edited", "--revision", 1)
    assert old["content"] == made["content"]
    assert "DENY named: client_name_matcher" in house.kms("secret-policy", "get", "prod/edited").out.decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"rules": [{"name": "a", "action": "ALLOW", "colour": "red"}]}', "rules[0]: unknown field"),
        ('{"rules": [], "rules": []}', "a name occurs twice"),
        ('{"rules": NaN}', "NaN is not a JSON value"),
        ("[]", "not an object"),
        ("{", "standard input:1: is not JSON"),
    ],
)
def test_policy_that_is_wrong_is_refused_with_its_place(house: House, content: str, words: str) -> None:
    ended = house.kms("secret-policy", "create", "prod/wrong", "-", stdin=content.encode())
    assert (ended.code, words in ended.words) == (ExitCode.USAGE, True), ended.words


def test_validate_warns_and_is_strict_when_asked(house: House) -> None:
    rule: dict[str, Any] = {"name": "anybody", "action": "ALLOW"}
    path = house.file("anybody.json", {"rules": [rule]})
    ended = house.kms("secret-policy", "validate", "prod", path)
    assert (ended.code, "NO_CLIENT_PREDICATE" in ended.out.decode()) == (0, True)
    assert house.kms("secret-policy", "validate", "--strict", "prod", path).code == ExitCode.FAILED
    assert house.must("kms", "secret-policy", "validate", "prod", house.file("good.json", POLICY)) == []


def test_explain_says_why(house: House) -> None:
    allowed = house.must("kms", "secret-policy", "explain", "prod/web-tls", "--identity", "prod/web")
    assert (allowed["action"], allowed["rule"]) == ("ALLOW", "web servers")
    made_up = ("--label", "app=db", "--address", "192.0.2.1", "--time", "2030-01-01T00:00:00Z")
    denied = house.must("kms", "secret-policy", "explain", "prod/web-tls", *made_up)
    assert (denied["action"], denied["trace"][0]["failed_predicate"]) == ("DENY", "client_selector")
    words = house.kms("secret-policy", "explain", "prod/web-tls", "--revision", 1, *made_up).out.decode()
    assert "client_selector failed" in words


def test_deleted_policy_denies_until_it_is_undeleted(house: House) -> None:
    sealed = house.file("gone.sealed", house.seal(house.policy("gone")))
    assert house.must("kms", "secret-policy", "delete", "prod/gone")["state"] == "DELETED"
    assert house.blindfold("open", sealed, who="prod-web").code == ExitCode.DENIED
    listed = house.must("kms", "secret-policy", "list", "prod")
    assert f"{PROD}/secretPolicies/gone" not in [item["name"] for item in listed]
    shown = house.must("kms", "secret-policy", "list", "--show-deleted", "prod")
    assert f"{PROD}/secretPolicies/gone" in [item["name"] for item in shown]
    assert house.must("kms", "secret-policy", "undelete", "prod/gone")["state"] == "ACTIVE"
    assert house.blindfold("open", sealed, who="prod-web").code == 0


def test_narrowed_and_revoked_revisions_deny(house: House) -> None:
    sealed = house.file("narrow.sealed", house.seal(house.policy("narrow")))
    narrowed = house.must("kms", "secret-policy", "narrow", "prod/narrow", 1, "--deny", "prod/web")
    assert narrowed["denied_identities"] == ["spiffe://kms.internal/tenant/acme/ns/prod/sa/web"]
    assert house.blindfold("open", sealed, who="prod-web").code == ExitCode.DENIED
    other = house.enrol("prod/web-two", "--label", "app=web")
    assert house.blindfold("open", sealed, who=other).code == 0
    assert house.must("kms", "secret-policy", "revoke", "prod/narrow", 1, "--comment", "old")["revoke_time"]
    assert house.blindfold("open", sealed, who=other).code == ExitCode.DENIED


def test_disabled_key_opens_nothing_until_it_is_enabled(house: House) -> None:
    sealed = house.file("disabled.sealed", house.seal(house.path / "web-tls.policy"))
    assert house.must("kms", "blindfold-key", "disable", 1)["state"] == "DISABLED"
    try:
        assert house.blindfold("open", sealed, who="prod-web").code == ExitCode.CONFLICT
        assert house.blindfold("public-key", "get").code == ExitCode.CONFLICT
    finally:
        assert house.must("kms", "blindfold-key", "enable", "tenants/acme/blindfoldKeys/1")["primary"] is True
    assert house.blindfold("open", sealed, who="prod-web").code == 0


def test_primary_key_is_not_destroyed(house: House) -> None:
    ended = house.kms("blindfold-key", "schedule-destroy", 1, "--delay", "24h")
    assert (ended.code, "primary" in ended.words) == (ExitCode.CONFLICT, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("blindfold-key", "get", "one"), "blindfoldKeys/{version}, in short {version}"),
        (("secret-policy", "get", "web-tls"), "in short {namespace}/{policy}"),
        (("secret-policy", "get", "Prod/web"), "in short {namespace}/{policy}"),
        (("blindfold-key", "schedule-destroy", "1", "--delay", "soon"), "not a number of seconds"),
        (("audit", "list", "--since", "yesterday"), "not a time"),
        (("namespace", "create", "x", "--label", "=v"), "not of the form KEY=VALUE"),
        (("secret-policy", "explain", "a/b", "--identity", "a/b", "--role", "r"), "--identity excludes"),
    ],
)
def test_call_that_is_wrong_is_a_usage_error(house: House, arguments: tuple[str, ...], words: str) -> None:
    ended = house.kms(*arguments)
    assert (ended.code, words in ended.words) == (ExitCode.USAGE, True), ended.words


def test_audit_trail_is_filtered(house: House) -> None:
    sealed = house.file("audited.sealed", house.seal(house.path / "web-tls.policy"))
    house.blindfold("open", sealed, who="prod-db")
    chosen = ("--action", "EvaluateBlinded", "--decision", "DENY", "--limit", 1)
    [event] = house.must("kms", "audit", "list", *chosen)
    assert (event["action"], event["decision"], event["tenant"]) == ("EvaluateBlinded", "DENY", "acme")
    assert len(lines(house.kms("audit", "list", *chosen).out)) == 2
    assert house.must("kms", "audit", "list", "--since", "2100-01-01T00:00:00Z") == []


@pytest.fixture(scope="module")
def trail(house: House) -> Path:
    path = house.path / "audit.jsonl"
    exported = house.must("kms", "audit", "export", "--out", path)
    assert exported["lines"] == path.read_bytes().count(b"\n")
    return path


def verify(house: House, path: Path, *arguments: object, key: str = "") -> Any:
    key = key or house.made["audit_key"]
    return house.kms("audit", "verify", path, "--audit-key", key, "--json", *arguments)


def test_exported_trail_verifies_offline(house: House, trail: Path) -> None:
    report = verify(house, trail).json
    assert (report["verified"], report["first"], report["signed_through"]) == (True, 1, report["last"])
    bodies = [json.loads(line).get("body", {}) for line in trail.read_text().splitlines()]
    assert "EvaluateBlinded" in [body.get("action") for body in bodies]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.replace(b'"decision":"DENY"', b'"decision":"FAIL"', 1), "was changed"),
        (lambda data: re.sub(rb".*,\"sequence\":3}\n", b"", data), "3 is missing"),
        (lambda data: data.replace(b"\n", b"\n\xff\n", 1), "is not an event"),
    ],
)
def test_changed_trail_is_refused_with_the_event_at_fault(
    house: House, trail: Path, tmp_path: Path, change: Any, words: str
) -> None:
    (tmp_path / "changed").write_bytes(change(trail.read_bytes()))
    ended = verify(house, tmp_path / "changed")
    assert (ended.code, ended.error["reason"]) == (ExitCode.DAMAGED, "AUDIT_CHAIN_BROKEN")
    assert words in ended.error["message"]


def test_copy_that_begins_later_says_so(house: House, trail: Path, tmp_path: Path) -> None:
    lines = trail.read_bytes().splitlines(keepends=True)
    checkpoints = [index for index, line in enumerate(lines) if line.startswith(b'{"checkpoint"')]
    (tmp_path / "later").write_bytes(b"".join(lines[checkpoints[0] :]))
    ended = verify(house, tmp_path / "later")
    assert (ended.code, ended.json["first"] > 1, "begins with event" in ended.words) == (0, True, True)


def test_checkpoint_kept_elsewhere_shows_a_cut_end(house: House, trail: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert house.kms("audit", "checkpoint", "--out", kept).code == 0
    assert verify(house, trail, "--checkpoint", kept).code == ExitCode.DAMAGED
    whole = tmp_path / "whole"
    assert house.kms("audit", "export", "--out", whole).code == 0
    assert verify(house, whole, "--checkpoint", kept).code == 0


def test_trail_of_another_key_is_refused(house: House, trail: Path) -> None:
    assert verify(house, trail, key="00" * 32).code == ExitCode.DAMAGED
    assert verify(house, trail, key="00").code == ExitCode.USAGE
    assert verify(house, trail, "--checkpoint", trail).code == ExitCode.DAMAGED


def test_receipts_of_calls_are_proven_by_the_trail(house: House, tmp_path: Path) -> None:
    kept = tmp_path / "kept.receipts"
    assert house.kms("namespace", "list", "--receipts", kept).code == 0
    assert house.kms("key", "get", "prod/none", "--receipts", tmp_path / "refused").code == ExitCode.MISMATCH
    kept.write_bytes(kept.read_bytes() + (tmp_path / "refused").read_bytes())
    whole = tmp_path / "whole"
    assert house.kms("audit", "export", "--out", whole).code == 0
    assert verify(house, whole, "--receipts", kept).code == 0
    how = ("--receipts", kept, "--audit-key", house.made["audit_key"])
    proofs = house.kms("audit", "prove", whole, *how, "--json").json
    said = [(proof["signed"], proof["event"]["action"], proof["event"]["decision"]) for proof in proofs]
    assert said == [(True, "ListNamespaces", "ALLOW"), (True, "GetKey", "FAIL")]
    assert "ListNamespaces" in house.kms("audit", "prove", whole, *how).out.decode()


def test_receipt_that_a_trail_does_not_bear_out_is_refused(house: House, trail: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.receipts"
    assert house.kms("namespace", "list", "--receipts", kept).code == 0
    assert verify(house, trail, "--receipts", kept).code == ExitCode.DAMAGED
    kept.write_text("1:2:3\n")
    assert verify(house, trail, "--receipts", kept).code == ExitCode.DAMAGED


@pytest.fixture
def rotating(tmp_path: Path) -> Iterator[House]:
    """A house to itself: a rotation is not taken back."""
    house = House(tmp_path / "rotating")
    house.path.mkdir()
    house.init()
    with house.served():
        furnish(house)
        yield house


@pytest.mark.slow
def test_rotation_keeps_old_secrets_and_reseal_moves_them(rotating: House, tmp_path: Path) -> None:
    house, policy, path = rotating, rotating.path / "web-tls.policy", tmp_path / "sealed"
    path.write_bytes(house.seal(policy))
    made = house.must("kms", "blindfold-key", "rotate", "--no-make-primary", "--wait")
    assert (made["state"], made["primary"]) == ("ENABLED", False)
    assert house.must("kms", "blindfold-key", "set-primary", 2)["primary"] is True
    new = tmp_path / "new.key"
    house.must("blindfold", "public-key", "get", "--out", new)
    assert house.blindfold("open", path, who="prod-web").code == 0
    documents = ("--public-key", new, "--policy-document", policy, "--any-policy", "--no-state")
    assert house.must("blindfold", "reseal", *documents, path, who="prod-web")["key_version"] == 2
    assert house.blindfold("open", path, who="prod-web").code == 0
    back = house.kms("blindfold-key", "set-primary", 1)
    assert (back.code, "generate a new version" in back.words) == (ExitCode.CONFLICT, True)
    assert house.must("kms", "blindfold-key", "disable", 1)["state"] == "DISABLED"
    scheduled = house.must("kms", "blindfold-key", "schedule-destroy", 1, "--delay", "24h")
    assert (scheduled["state"], "destroy_time" in scheduled) == ("DESTROY_SCHEDULED", True)
    assert house.must("kms", "blindfold-key", "cancel-destroy", 1)["state"] == "DISABLED"
    table = lines(house.kms("blindfold-key", "list").out)
    assert [row[:3] for row in table[1:]] == [
        ["tenants/acme/blindfoldKeys/1", "DISABLED", "no"],
        [made["name"], "ENABLED", "yes"],
    ]
