"""`blindfold external get`: the caller connects to the vault, with credentials that the KMS never sees."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from house import Ended, House
from vault.conftest import vault  # noqa: F401
from vault.workshop import Workshop

from cli.exit_codes import ExitCode

PASSWORD = "correct horse"


@dataclass
class Shop:
    """A vault with a secret in it, and the access prod/vault."""

    house: House
    vault: Workshop
    mount: str
    transit: str
    tokens: list[str] = field(default_factory=list)

    def file(self, directory: Path, **members: Any) -> Path:
        """Of an access whose token is sealed for the vault."""
        paths = {f"{self.mount}/data/*": "read", f"{self.transit}/decrypt/*": "update"}
        self.tokens.append(self.vault.make_token(self.vault.policy_of(paths)))
        policy = self.house.path / "web-tls.policy"
        name = self.house.must("kms", "secret-access", "addressee", *self.authorities(directory))["name"]
        location = self.house.seal(policy, "--location", "--name", name, secret=self.tokens[-1].encode())
        content = {
            "provider": "corp",
            "where": {"expressions": ["app=web"]},
            "endpoint": self.vault.address,
            "authentication": {
                "type": "token",
                "token": {"type": "blindfold", "location": location.decode().strip()},
            },
            "tls": {"ca_pem": self.vault.ca_pem},
            "mounts": [
                {"path": self.mount, "engine": "KV_V2"},
                {"path": self.transit, "engine": "TRANSIT"},
            ],
        }
        path = directory / "vault.json"
        whole = {"kind": "SecretManagementAccess", "name": "prod/vault", "content": content | members}
        path.write_text(json.dumps(whole))
        return path

    def authorities(self, directory: Path) -> list[object]:
        """The vault's address, and the file of its authorities if it has any."""
        ca = directory / "vault-ca.pem"
        ca.write_text(self.vault.ca_pem)
        return [*(["--ca", ca] if self.vault.ca_pem else []), self.vault.address]

    def get(self, path: str, *arguments: object, who: str = "prod-web", **how: Any) -> Ended:
        plain = ["--allow-http"] if self.vault.address.startswith("http:") else []
        words = ("external", "get", *plain, *arguments, "prod/vault", path)
        return self.house.blindfold(*words, who=who, **how)


@pytest.fixture
def shop(house: House, vault: Workshop, tmp_path: Path) -> Iterator[Shop]:  # noqa: F811
    if not vault.ca_pem:
        pytest.skip("the KMS of these tests takes no accesses over http")
    shop = Shop(house, vault, vault.mount("kv", version="2"), vault.mount("transit"))
    data = {"password": PASSWORD, "binary": base64.b64encode(b"\x00\xff").decode()}
    vault.write(f"{shop.mount}/data/db/web", data=data)
    vault.write(f"{shop.mount}/data/db/web", data={"password": "newer"})
    house.must("kms", "secret-access", "apply", "-f", shop.file(tmp_path))
    yield shop
    house.must("kms", "secret-access", "delete", "prod/vault")


def test_secret_goes_to_standard_output_or_to_a_private_file(shop: Shop, tmp_path: Path) -> None:
    path = f"{shop.mount}/db/web"
    assert shop.get(path, "--key", "password").out == b"newer"
    assert shop.get(path, "--key", "password", "--version", 1).out == PASSWORD.encode()
    assert shop.get(path, "--key", "binary", "--version", 1, "--base64").out == b"\x00\xff"
    assert json.loads(shop.get(path).out) == {"password": "newer"}
    out = tmp_path / "password"
    ended = shop.get(path, "--key", "password", "--out", out, "--json")
    assert (ended.json["out"], ended.json["version"]) == (str(out), 2)
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (b"newer", 0o600)
    told = shop.get(path, "--key", "password", "--json").json
    assert base64.b64decode(told["secret"]) == b"newer"


def test_vault_decrypts_what_it_encrypted(shop: Shop, tmp_path: Path) -> None:
    shop.vault.write(f"{shop.transit}/keys/orders", type="aes256-gcm96")
    plaintext = base64.b64encode(b"an order").decode()
    made = shop.vault.write(f"{shop.transit}/encrypt/orders", plaintext=plaintext)
    (tmp_path / "order").write_text(made["data"]["ciphertext"] + "\n")
    assert shop.get(f"{shop.transit}/orders", "--ciphertext", tmp_path / "order").out == b"an order"


def test_whoever_is_not_selected_is_denied_with_or_without_a_copy_of_the_access(
    shop: Shop, tmp_path: Path
) -> None:
    path = f"{shop.mount}/db/web"
    assert shop.get(path, who="prod-db").code == ExitCode.DENIED
    copy = ("--access-file", tmp_path / "vault.json")
    assert shop.get(path, *copy, who="prod-db").code == ExitCode.DENIED
    assert shop.get(path, *copy, "--key", "password").out == b"newer"


def test_access_in_a_file_is_held_to_the_same_rules(shop: Shop, tmp_path: Path) -> None:
    clear = {"type": "clear", "location": "string:///aHVudGVyMg=="}
    file = shop.file(tmp_path, authentication={"type": "token", "token": clear})
    ended = shop.get(f"{shop.mount}/db/web", "--access-file", file)
    assert (ended.code, "is in clear" in ended.words) == (ExitCode.USAGE, True)
    ended = shop.get(f"{shop.mount}/db/web", "--access-file", file, "--allow-clear")
    assert ended.code == ExitCode.UNAUTHENTICATED
    assert "aHVudGVyMg" not in ended.words
    circle = {"type": "vault", "access": "tenants/acme/namespaces/prod/secretManagementAccesses/vault"}
    token = circle | {"path": f"{shop.mount}/token"}
    file = shop.file(tmp_path, authentication={"type": "token", "token": token})
    ended = shop.get(f"{shop.mount}/db/web", "--access-file", file)
    assert (ended.code, "is not sealed for the endpoint" in ended.words) == (ExitCode.USAGE, True)
    ended = shop.get(f"{shop.mount}/db/web", "--access-file", file, "--endpoint", shop.vault.address)
    assert (ended.code, "is a cycle" in ended.words) == (ExitCode.USAGE, True)
    ended = shop.get(f"{shop.mount}/db/web", "--endpoint", "https://vault.example")
    assert (ended.code, "none of those that are allowed" in ended.words) == (ExitCode.USAGE, True)


def test_what_the_vault_refuses_is_told_without_what_it_said(shop: Shop) -> None:
    ended = shop.get(f"{shop.mount}/db/none", "--json")
    assert (ended.code, ended.error["reason"]) == (ExitCode.MISMATCH, "EXTERNAL_NOT_FOUND")
    shop.vault.write("auth/token/revoke", token=shop.tokens[-1])
    ended = shop.get(f"{shop.mount}/db/web", "--json")
    assert (ended.code, ended.error["reason"]) == (ExitCode.UNAUTHENTICATED, "EXTERNAL_LOGIN_REFUSED")


@pytest.mark.parametrize(
    "path", ["elsewhere/x", "{mount}/../sys/raw", "{mount}", "/{mount}/x", "{mount}/x?y"]
)
def test_path_leads_to_the_mounts_of_the_access_alone(shop: Shop, path: str) -> None:
    ended = shop.get(path.format(mount=shop.mount))
    assert (ended.code, ended.out) == (ExitCode.USAGE, b"")
