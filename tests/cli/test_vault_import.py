"""`kms import`: transit keys with their numbers, their ciphertexts, and both asked for the same."""

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from house import Ended, House
from vault.conftest import vault  # noqa: F401
from vault.workshop import Workshop

from cli.exit_codes import ExitCode

WHO = "prod-mover"
RULE = {"rules": [{"name": "all", "action": "ALLOW"}]}


@dataclass
class Move:
    """A key `orders` of the vault, and keys of the KMS that it is to become."""

    house: House
    vault: Workshop
    mount: str
    access: Path
    policy: str

    def key(self, *arguments: object) -> str:
        name = f"prod/k-{secrets.token_hex(6)}"
        self.house.must("kms", "key", "create", name, "--policy", self.policy, *arguments, who=WHO)
        return name

    def raw_key(self) -> str:
        return self.key("--purpose", "RAW_ENCRYPT_DECRYPT", "--import-only")

    def rotate(self) -> None:
        self.vault.write(f"{self.mount}/keys/orders/rotate")

    def encrypt(self, plaintext: str, aad: str = "") -> str:
        body = {"plaintext": b64(plaintext)} | ({"associated_data": b64(aad)} if aad else {})
        return str(self.vault.write(f"{self.mount}/encrypt/orders", **body)["data"]["ciphertext"])

    def call(self, command: str, *arguments: object, stdin: bytes | None = None) -> Ended:
        reach = ("--access-file", self.access, "--endpoint", self.vault.address)
        flags = ("--allow-clear", "--allow-http")
        return self.house.kms("import", command, *arguments, *reach, *flags, who=WHO, stdin=stdin)

    def bring(self, key: str, *more: object) -> Ended:
        return self.call("vault-transit", "prod/vault", f"{self.mount}/orders", key, "--json", *more)

    def move(self, source: str, target: str, lines: str, *more: object) -> Ended:
        to = ("--to", target, *more)
        return self.house.kms("import", "vault-ciphertexts", source, *to, who=WHO, stdin=lines.encode())

    def compare(self, key: str, lines: str, *more: object) -> Ended:
        return self.call(
            "vault-compare", "prod/vault", f"{self.mount}/orders", key, *more, stdin=lines.encode()
        )


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def policy(house: House) -> str:
    """It allows everything; `prod-mover` has the roles to make, import and use keys."""
    name = "prod/vault-import"
    house.must("kms", "policy", "create", name, house.file("vault-import.json", RULE))
    house.enrol("prod/mover", "--role", "key-user", "--role", "key-admin")
    return name


@pytest.fixture
def move(house: House, vault: Workshop, policy: str, tmp_path: Path) -> Move:  # noqa: F811
    mount = vault.mount("transit")
    vault.write(f"{mount}/keys/orders", type="aes256-gcm96", exportable=True)
    content = {
        "provider": "corp",
        "where": {"expressions": ["app=web"]},
        "endpoint": vault.address,
        "authentication": {
            "type": "token",
            "token": {"type": "clear", "location": f"string:///{b64(vault.token)}"},
        },
        "tls": {"ca_pem": vault.ca_pem} if vault.ca_pem else {},
        "mounts": [{"path": mount, "engine": "TRANSIT"}],
    }
    access = tmp_path / "vault.json"
    access.write_text(
        json.dumps({"kind": "SecretManagementAccess", "name": "prod/vault", "content": content})
    )
    return Move(house, vault, mount, access, policy)


def test_versions_come_with_their_numbers_and_later_ones_when_they_are_there(move: Move) -> None:
    key = move.raw_key()
    move.rotate()
    assert move.bring(key).json["imported"] == [1, 2]
    assert move.bring(key).json["imported"] == []
    move.rotate()
    assert move.bring(key, "--primary").json["imported"] == [3]
    shown: Any = move.house.must("kms", "key", "get", key, who=WHO)
    assert shown["primary_version"].endswith("/versions/3")


def test_what_the_vault_encrypted_is_read_by_a_key_of_the_kms(move: Move, tmp_path: Path) -> None:
    source, target = move.raw_key(), move.key()
    texts = [move.encrypt("first", "ctx")]
    move.rotate()
    texts += [move.encrypt("second", "ctx"), move.encrypt("", "ctx")]
    assert move.bring(source).code == ExitCode.OK
    out = tmp_path / "moved"
    ended = move.move(source, target, "\n".join(texts) + "\n\n", "--aad", "ctx", "--out", out, "--json")
    assert (ended.code, ended.json["moved"]) == (ExitCode.OK, 3)
    opened = []
    for line in out.read_text().splitlines():
        sealed = tmp_path / "sealed"
        sealed.write_bytes(base64.b64decode(line))
        opened.append(move.house.kms("decrypt", target, "--aad", "ctx", sealed, who=WHO).out)
    assert opened == [b"first", b"second", b""]


@pytest.mark.parametrize(
    ("line", "problem", "code"),
    [
        ("vault:v1:AAAA", "nonce", ExitCode.USAGE),
        ("vault:v9:" + "A" * 40, "no version 9", ExitCode.CONFLICT),
        ("enc:v1:AAAA", "must be vault:v", ExitCode.USAGE),
    ],
)
def test_the_first_line_that_cannot_be_moved_is_named_and_no_file_left(
    move: Move, tmp_path: Path, line: str, problem: str, code: ExitCode
) -> None:
    source, target = move.raw_key(), move.key()
    good = move.encrypt("first")
    move.bring(source)
    out = tmp_path / "moved"
    ended = move.move(source, target, f"{good}\n{line}\n", "--out", out)
    assert ended.code == code
    assert "line 2" in ended.words
    assert problem in ended.words
    assert not out.exists()


def test_both_are_asked_and_no_plaintext_is_said(move: Move) -> None:
    key = move.raw_key()
    texts = [move.encrypt(text, "ctx") for text in ("first secret", "second secret")]
    move.bring(key)
    ended = move.compare(key, "\n".join(texts), "--aad", "ctx", "--json")
    assert ended.code == ExitCode.OK
    assert (ended.json["same"], ended.json["lines"]) == (2, [])
    assert b"secret" not in ended.out
    assert "secret" not in ended.words


def test_a_key_that_is_not_the_vaults_is_noticed(move: Move) -> None:
    key = move.raw_key()
    text = move.encrypt("first")
    move.bring(key)
    move.rotate()
    later = move.encrypt("second")
    other = move.key("--purpose", "RAW_ENCRYPT_DECRYPT")
    ended = move.compare(other, text, "--json")
    assert (ended.code, ended.json["only_old"]) == (ExitCode.MISMATCH, 1)
    ended = move.compare(key, f"{text}\n{later}", "--json")
    assert ended.json["lines"] == [{"line": 2, "verdict": "ONLY_OLD"}]


def test_a_key_with_bytes_of_its_own_takes_none_in_their_place(move: Move) -> None:
    move_to = move.key("--purpose", "RAW_ENCRYPT_DECRYPT")
    move.house.must("kms", "key", "rotate", move_to, who=WHO)
    ended = move.bring(move_to)
    assert (ended.code, "has 2 versions" in ended.words) == (ExitCode.USAGE, True)


def test_a_key_that_may_not_leave_stays(move: Move) -> None:
    move.vault.write(f"{move.mount}/keys/kept", type="aes256-gcm96")
    ended = move.call("vault-transit", "prod/vault", f"{move.mount}/kept", move.raw_key(), "--json")
    assert (ended.code, ended.error["reason"]) == (ExitCode.CONFLICT, "EXTERNAL_NOT_MOVABLE")


@pytest.mark.parametrize("how", [(), ("--in-clear",)], ids=["wrapped", "in clear"])
def test_material_is_in_no_word_of_the_program(move: Move, how: tuple[str, ...]) -> None:
    exported = move.vault.read(f"{move.mount}/export/encryption-key/orders")["keys"]["1"]
    key = move.raw_key()
    ended = move.bring(key, *how)
    assert ended.json["imported"] == [1]
    assert exported not in ended.words + ended.out.decode()
    assert move.compare(key, move.encrypt("first")).code == ExitCode.OK
