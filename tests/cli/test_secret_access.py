"""`kms secret-access`: accesses to vaults, by hand and as files."""

import hashlib
import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from house import House
from jsonschema import Draft202012Validator

from cli.exit_codes import ExitCode

ENDPOINT = "https://vault.corp.example:8200"


@pytest.fixture(scope="module")
def token(house: House) -> str:
    """A location with a sealed token."""
    sealed = house.seal(house.path / "web-tls.policy", "--location", "--name", ENDPOINT, secret=b"hvs.1")
    return sealed.decode().strip()


@pytest.fixture
def content(token: str) -> dict[str, Any]:
    return {
        "provider": "corp-vault",
        "where": {"expressions": ["app=web", "tier in (a,b)"]},
        "endpoint": ENDPOINT,
        "authentication": {
            "type": "app_role",
            "role_id": "r",
            "secret_id": {"type": "blindfold", "location": token},
            "wrapped": True,
            "mount": "approle",
        },
        "mounts": [{"path": "secret", "engine": "KV_V2"}],
        "timeout_seconds": 10,
        "max_secret_bytes": 65536,
        "cache_timeout_seconds": 60,
    }


def test_access_is_made_shown_changed_and_removed(
    house: House, content: dict[str, Any], tmp_path: Path
) -> None:
    file = house.file("access.json", content)
    made = house.must("kms", "secret-access", "create", "prod/vault", file)
    assert made["content"] == content
    assert house.must("kms", "secret-access", "get", "prod/vault") == made
    assert house.must("kms", "secret-access", "list", "prod") == [made]
    text = house.kms("secret-access", "get", "prod/vault").out.decode()
    assert re.search(rf"^endpoint +{ENDPOINT}$", text, re.MULTILINE)
    assert re.search(r"^authentication secret id location +\d+ characters$", text, re.MULTILINE)
    listed = house.kms("secret-access", "list", "prod").out.decode()
    assert "app=web or tier in (a,b)" in listed
    changed = house.must(
        "kms", "secret-access", "update", "prod/vault", "-", "--etag", made["etag"],
        stdin=json.dumps(content | {"timeout_seconds": 20}).encode(),
    )  # fmt: skip
    assert changed["content"]["timeout_seconds"] == 20
    stale = house.kms("secret-access", "update", "prod/vault", file, "--etag", made["etag"])
    assert stale.code == ExitCode.CONFLICT
    assert house.must("kms", "secret-access", "delete", "prod/vault")["deleted"] is True
    assert house.kms("secret-access", "get", "prod/vault").code == ExitCode.MISMATCH


def test_files_are_applied_once_and_come_back_as_yaml(
    house: House, content: dict[str, Any], tmp_path: Path
) -> None:
    file = {"kind": "SecretManagementAccess", "name": "prod/vault", "content": content}
    (tmp_path / "vault.json").write_text(json.dumps(file))
    (tmp_path / "policy.yaml").write_text("kind: KmsPolicy\nname: prod/x\ncontent: {rules: []}\n")
    apply = ("kms", "secret-access", "apply", "-f", tmp_path)
    assert [step["change"] for step in house.must(*apply, "--dry-run")] == ["CREATED"]
    assert [step["change"] for step in house.must(*apply)] == ["CREATED"]
    assert [step["change"] for step in house.must(*apply)] == ["UNCHANGED"]
    printed = house.kms("secret-access", "get", "prod/vault", "--yaml").out
    (tmp_path / "vault.json").write_text(
        printed.decode().replace("timeout_seconds: 10", "timeout_seconds: 20")
    )
    (tmp_path / "vault.json").rename(tmp_path / "vault.yaml")
    shown = house.kms("secret-access", "apply", "-f", tmp_path, "--dry-run").out.decode()
    assert "-  timeout_seconds: 10" in shown
    assert "+  timeout_seconds: 20" in shown
    [step] = house.must(*apply)
    assert (step["change"], step["etag"]) == ("UPDATED", "2")
    house.must("kms", "secret-access", "delete", "prod/vault")


def test_file_of_an_older_state_is_not_applied(house: House, content: dict[str, Any], tmp_path: Path) -> None:
    file = {"kind": "SecretManagementAccess", "name": "prod/vault", "etag": "7", "content": content}
    (tmp_path / "vault.json").write_text(json.dumps(file))
    assert house.kms("secret-access", "apply", "-f", tmp_path).code == ExitCode.CONFLICT


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"where": {"expressions": ["app in web"]}}, "content.where.expressions[0]: position 8"),
        ({"endpoint": "http://vault.corp.example"}, "content.endpoint"),
        ({"mounts": [{"path": "../sys", "engine": "KV_V1"}]}, "content.mounts[0].path"),
        ({"password": "x"}, "content: unknown field"),
    ],
)
def test_mistake_in_a_file_is_found_before_the_kms_is_asked(
    house: House, content: dict[str, Any], tmp_path: Path, members: Any, words: str
) -> None:
    file = {"kind": "SecretManagementAccess", "name": "prod/vault", "content": content | members}
    (tmp_path / "vault.json").write_text(json.dumps(file))
    ended = house.kms("secret-access", "apply", "-f", tmp_path, "--server", "127.0.0.1:1")
    assert ended.code == ExitCode.USAGE
    assert words in ended.words


def test_clear_credential_is_refused_and_shown_in_no_diff(
    house: House, content: dict[str, Any], tmp_path: Path
) -> None:
    clear = {"type": "clear", "location": "string:///aHVudGVyMg=="}
    file = {
        "kind": "SecretManagementAccess",
        "name": "prod/vault",
        "content": content | {"authentication": {"type": "token", "token": clear}},
    }
    (tmp_path / "vault.json").write_text(json.dumps(file))
    for ended in (
        house.kms("secret-access", "apply", "-f", tmp_path),
        house.kms("secret-access", "apply", "-f", tmp_path, "--json"),
    ):
        assert ended.code == ExitCode.USAGE
        assert "is in clear" in ended.words
        assert "aHVudGVyMg" not in ended.out.decode() + ended.words


def test_schema_lets_the_files_pass_that_are_read(house: House, content: dict[str, Any]) -> None:
    schema = json.loads(house.kms("secret-access", "schema").out)
    Draft202012Validator.check_schema(schema)
    file = {"kind": "SecretManagementAccess", "name": "prod/vault", "content": content}
    validator = Draft202012Validator(schema)
    assert validator.is_valid(file)
    for wrong in (
        file | {"kind": "KmsPolicy"},
        file | {"content": content | {"password": "x"}},
        file | {"content": content | {"authentication": {"type": "token", "token": "hvs.1"}}},
        file | {"content": content | {"timeout_seconds": "10"}},
    ):
        assert not validator.is_valid(wrong)


def test_addressee_is_the_endpoint_and_the_fingerprint_of_its_authority(house: House) -> None:
    ca = Path(house.made["admin_credentials"]) / "ca.pem"
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca.read_text())).hexdigest()
    words = ("secret-access", "addressee", "--ca", ca, "--server-name", "v.test", ENDPOINT)
    assert house.kms(*words).out.decode() == f"{ENDPOINT}#ca-sha256={fingerprint}&server-name=v.test\n"
    assert house.must("kms", "secret-access", "addressee", ENDPOINT) == {"name": ENDPOINT}


@pytest.mark.parametrize(
    "wrong", ["http://127.0.0.1:8200", f"{ENDPOINT}/", "vault.corp.example", "HTTPS://x.test"]
)
def test_addressee_of_no_endpoint_with_authorities_is_refused(house: House, wrong: str) -> None:
    ca = Path(house.made["admin_credentials"]) / "ca.pem"
    assert house.kms("secret-access", "addressee", "--ca", ca, wrong).code == ExitCode.USAGE
