"""The commands over keys, KMS policies, and what keys are used for, against a served KMS."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House

from cli.exit_codes import ExitCode

RULES = {
    "rules": [
        {
            "name": "workers",
            "action": "ALLOW",
            "client_selector": {"expressions": ["app=worker"]},
            "operations": ["ENCRYPT", "DECRYPT", "GENERATE_DATA_KEY", "SIGN", "VERIFY", "MAC", "MAC_VERIFY",
                           "REENCRYPT_FROM", "REENCRYPT_TO", "GET_PUBLIC_KEY"],
        }
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def workshop(house: House) -> Iterator[House]:
    """The house with a policy prod/keys, and a worker whom it allows."""
    house.must("kms", "policy", "create", "prod/keys", house.file("keys.json", RULES))
    house.enrol("prod/worker-of-keys", "--label", "app=worker", "--role", "key-user")
    house.enrol("prod/stranger", "--role", "key-user")
    return house


WORKER, STRANGER = "prod-worker-of-keys", "prod-stranger"


def add_key(house: House, name: str, *options: object) -> Any:
    return house.must("kms", "key", "create", f"prod/{name}", "--policy", "prod/keys", *options)


def test_key_lives_from_create_to_destruction(workshop: House) -> None:
    made = add_key(workshop, "life", "--rotation", "90d", "--label", "team=sales")
    assert (made["purpose"], made["algorithm"], made["sensitivity"]) == (
        "ENCRYPT_DECRYPT",
        "AES_256_GCM",
        "MEDIUM",
    )
    assert workshop.must("kms", "key", "rotate", "prod/life")["primary_version"].endswith("/versions/2")
    listed = workshop.must("kms", "key", "list", "prod", "--selector", "team=sales")
    assert [key["name"] for key in listed] == [made["name"]]
    changed = workshop.must("kms", "key", "update", "prod/life", "--no-rotation")
    assert "rotation_period" not in changed
    for command, state in (
        ("disable", "DISABLED"),
        ("enable", "ENABLED"),
        ("mark-compromised", "COMPROMISED"),
        ("schedule-destroy", "DESTROY_SCHEDULED"),
        ("cancel-destroy", "COMPROMISED"),
    ):
        assert workshop.must("kms", "key", command, "prod/life/1")["state"] == state
    versions = workshop.must("kms", "key", "versions", "prod/life")
    assert [version["state"] for version in versions] == ["COMPROMISED", "ENABLED"]


def test_what_is_encrypted_decrypts_for_whom_the_policy_allows(workshop: House, tmp_path: Path) -> None:
    add_key(workshop, "files")
    secret = workshop.file("order.json", b'{"order": 17}')
    sealed, opened = tmp_path / "order.enc", tmp_path / "order.out"
    workshop.must("kms", "encrypt", "prod/files", secret, "--aad", "17", "--out", sealed, who=WORKER)
    workshop.must("kms", "decrypt", "prod/files", sealed, "--aad", "17", "--out", opened, who=WORKER)
    assert opened.read_bytes() == secret.read_bytes()
    assert opened.stat().st_mode & 0o777 == 0o600
    wrong = workshop.kms("decrypt", "prod/files", sealed, "--aad", "18", "--json", who=WORKER)
    assert wrong.error["reason"] == "DECRYPTION_FAILED"
    refused = workshop.kms("decrypt", "prod/files", sealed, "--aad", "17", who=STRANGER)
    assert refused.code == ExitCode.DENIED
    assert workshop.kms("encrypt", "prod/files", secret).code == ExitCode.DENIED


def test_ciphertext_moves_to_another_key(workshop: House, tmp_path: Path) -> None:
    add_key(workshop, "old")
    add_key(workshop, "new")
    old, new = tmp_path / "old.enc", tmp_path / "new.enc"
    workshop.must("kms", "encrypt", "prod/old", "-", "--out", old, who=WORKER, stdin=b"secret")
    workshop.must("kms", "reencrypt", "prod/old", old, "--to", "prod/new", "--out", new, who=WORKER)
    ended = workshop.kms("decrypt", "prod/new", new, who=WORKER)
    assert (ended.code, ended.out) == (0, b"secret")


def test_signatures_and_codes_verify_or_end_in_an_error(workshop: House, tmp_path: Path) -> None:
    options = ("--purpose", "ASYMMETRIC_SIGN", "--algorithm", "RSA_PSS_2048_SHA256")
    add_key(workshop, "signing", *options)
    add_key(workshop, "webhooks", "--purpose", "MAC")
    message, proof = workshop.file("message", b"a message"), tmp_path / "proof"
    other = workshop.file("other", b"another")
    for make, check, name, option in (
        ("sign", "verify", "signing", "--signature"),
        ("mac", "mac-verify", "webhooks", "--mac"),
    ):
        workshop.must("kms", make, f"prod/{name}", message, "--out", proof, who=WORKER)
        checked = workshop.must("kms", check, f"prod/{name}/1", message, option, proof, who=WORKER)
        assert checked["verified"] is True
        assert workshop.kms(check, f"prod/{name}/1", other, option, proof, who=WORKER).code != 0
    pem = workshop.kms("public-key", "prod/signing/1", who=WORKER)
    assert pem.out.startswith(b"-----BEGIN PUBLIC KEY-----")
    shown = workshop.must("kms", "public-key", "prod/signing/1", "--format", "DER", who=WORKER)
    assert base64.b64decode(shown["public_key"]).startswith(b"\x30")


@pytest.mark.parametrize("length", [16, 32, 64])
def test_data_key_comes_back_from_its_wrapped_form(workshop: House, tmp_path: Path, length: int) -> None:
    add_key(workshop, f"data-{length}")
    wrapped, plain, again = (tmp_path / name for name in ("wrapped", "plain", "again"))
    name = f"prod/data-{length}"
    call = ("kms", "data-key", name, "--bytes", length, "--aad", "a", "--wrapped", wrapped, "--out", plain)
    workshop.must(*call, who=WORKER)
    workshop.must("kms", "decrypt", name, "--aad", "a", "--out", again, wrapped, who=WORKER)
    assert len(plain.read_bytes()) == length
    assert again.read_bytes() == plain.read_bytes()
    assert plain.stat().st_mode & 0o777 == 0o600


def test_data_key_may_stay_in_the_kms(workshop: House, tmp_path: Path) -> None:
    add_key(workshop, "hidden")
    call = ("data-key", "prod/hidden", "--wrapped", tmp_path / "w", "--wrapped-only")
    shown = workshop.must("kms", *call, who=WORKER)
    assert set(shown) == {"name", "wrapped"}
    refused = workshop.kms(*call, "--out", tmp_path / "k", who=WORKER)
    assert refused.code == ExitCode.USAGE
    assert not (tmp_path / "k").exists()


def test_random_bytes_are_for_whom_the_namespace_s_policy_allows(workshop: House, tmp_path: Path) -> None:
    rules = {"rules": [{"name": "r", "action": "ALLOW", "operations": ["GENERATE_RANDOM"]}]}
    workshop.must("kms", "namespace", "create", "dice")
    workshop.must("kms", "policy", "create", "dice/random", workshop.file("random.json", rules))
    assert workshop.kms("random", "dice", who=WORKER).code == ExitCode.DENIED
    workshop.must("kms", "policy", "set-namespace", "dice", "dice/random")
    seed = tmp_path / "seed"
    workshop.must("kms", "random", "dice", "--bytes", 48, "--out", seed, who=WORKER)
    assert len(seed.read_bytes()) == 48


def test_policy_is_shown_changed_deleted_and_brought_back(workshop: House) -> None:
    workshop.must("kms", "policy", "create", "prod/other", workshop.file("other.json", RULES))
    shown = workshop.must("kms", "policy", "get", "prod/other")
    assert shown["content"]["rules"] == RULES["rules"]
    closed = workshop.file("closed.json", {"rules": []})
    assert workshop.must("kms", "policy", "update", "prod/other", closed)["revision"] == 2
    assert workshop.must("kms", "policy", "delete", "prod/other")["state"] == "DELETED"
    assert "prod/other" not in str(workshop.must("kms", "policy", "list", "prod"))
    assert workshop.must("kms", "policy", "undelete", "prod/other")["state"] == "ACTIVE"
    everybody = workshop.file("everybody.json", {"rules": [{"name": "all", "action": "ALLOW"}]})
    assert workshop.kms("policy", "validate", "prod", everybody, "--strict").code == ExitCode.FAILED


def test_too_much_input_is_refused_with_a_next_step(workshop: House) -> None:
    add_key(workshop, "small")
    ended = workshop.kms("encrypt", "prod/small", "-", "--json", who=WORKER, stdin=bytes(70_000))
    assert ended.code == ExitCode.USAGE
    assert "data key" in ended.error["hint"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "update", "prod/x"),
        ("key", "update", "prod/x", "--rotation", "90d", "--no-rotation"),
        ("key", "get", "no-namespace"),
        ("key", "version", "prod/x"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(workshop: House, arguments: tuple[str, ...]) -> None:
    assert workshop.kms(*arguments).code == ExitCode.USAGE
