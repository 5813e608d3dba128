"""Secrets of vaults through Wingman: access from the KMS, token opened blindly, secret from the vault."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from server.kms_harness import PROD, RunningKms
from sidecar import Answer, Sidecar, ready_sidecar, wait_until
from vault.conftest import vault  # noqa: F401
from vault.workshop import Workshop

from blindfold.forms import to_location
from kms.client.accesses import SERVICE
from kms.model.secret_management_access import Allowances

MAIN = f"{PROD}/secretManagementAccesses/vault"
PASSWORD = "correct horse"


@dataclass
class Shop:
    """A vault with a password in it, and an access to it with a token that may read that."""

    kms: RunningKms
    vault: Workshop
    mount: str
    policy: str
    token: str = ""

    @property
    def reference(self) -> dict[str, str]:
        return {"type": "vault", "access": MAIN, "path": f"{self.mount}/db/web", "key": "password"}

    def content(self, **members: Any) -> dict[str, Any]:
        self.token = self.vault.make_token(self.policy)
        sealed = self.kms.seal(self.token.encode(), name=self.vault.addressee)
        token = {"blindfold": {"location": to_location(sealed)}}
        return {
            "provider": "corp",
            "where": {"expressions": ["app=web"]},
            "endpoint": self.vault.address,
            "authentication": {"token": {"token": token}},
            "tls": {"ca_pem": self.vault.ca_pem},
            "mounts": [{"path": self.mount, "engine": "VAULT_ENGINE_KV_V2"}],
        } | members

    def write(self, method: str, **request: Any) -> dict[str, Any]:
        return self.kms.as_("author").call(SERVICE, method, request)

    def update(self, **members: Any) -> None:
        sent = {"name": MAIN, "content": self.content(**members)}
        self.write("UpdateSecretManagementAccess", secret_management_access=sent)


@contextmanager
def beside(shop: Shop, directory: Path, who: str = "web", **members: Any) -> Iterator[Sidecar]:
    """A Wingman. A real server for development may speak http."""
    plain = {"allow_plain_http": shop.vault.address.startswith("http:")}
    with ready_sidecar(shop.kms, directory, who, **plain | members) as sidecar:
        yield sidecar


@pytest.fixture
def shop(kms: RunningKms, vault: Workshop) -> Iterator[Shop]:  # noqa: F811
    mount = vault.mount("kv", version="2")
    vault.write(f"{mount}/data/db/web", data={"password": PASSWORD})
    shop = Shop(kms, vault, mount, vault.policy_of({f"{mount}/data/*": "read"}))
    kms.parts.secret_management_accesses._allowances = Allowances(plain_http=True)
    shop.write(
        "CreateSecretManagementAccess",
        parent=PROD,
        secret_management_access_id="vault",
        secret_management_access={"content": shop.content()},
    )
    yield shop
    shop.write("DeleteSecretManagementAccess", name=MAIN)


def ask(sidecar: Sidecar, shop: Shop, **members: Any) -> Answer:
    return sidecar.post("/secret/unseal", shop.reference | members)


def test_program_gets_a_secret_of_a_vault(shop: Shop, tmp_path: Path) -> None:
    with beside(shop, tmp_path) as sidecar:
        answer = ask(sidecar, shop)
    assert (answer.status, base64.b64decode(answer.body)) == (200, PASSWORD.encode())


def test_whoever_the_access_does_not_select_gets_nothing(shop: Shop, tmp_path: Path) -> None:
    asked = list(shop.vault.server.requests) if shop.vault.server else []
    with beside(shop, tmp_path, "batch") as sidecar:
        answer = ask(sidecar, shop)
    assert (answer.status, answer.text) == (403, "permission denied, or the resource does not exist\n")
    assert shop.vault.server is None or shop.vault.server.requests == asked


def test_workload_that_is_selected_but_may_not_open_the_token_gets_nothing(
    shop: Shop, tmp_path: Path
) -> None:
    shop.update(where={"expressions": ["app=batch"]})
    asked = list(shop.vault.server.requests) if shop.vault.server else []
    with beside(shop, tmp_path, "batch") as sidecar:
        answer = ask(sidecar, shop)
    assert (answer.status, answer.text) == (403, "permission denied, or the resource does not exist\n")
    assert shop.kms.events()[-1]["action"] == "EvaluateBlinded"
    assert shop.vault.server is None or shop.vault.server.requests == asked


def test_workload_that_is_selected_no_longer_is_refused_at_once(shop: Shop, tmp_path: Path) -> None:
    with beside(shop, tmp_path) as sidecar:
        assert ask(sidecar, shop).status == 200
        shop.update(where={"expressions": ["app=batch"]})
        assert ask(sidecar, shop).status == 403


def test_token_is_rotated_under_a_running_wingman(shop: Shop, tmp_path: Path) -> None:
    with beside(shop, tmp_path) as sidecar:
        assert ask(sidecar, shop).status == 200
        old = shop.token
        shop.update()
        shop.vault.write("auth/token/revoke", token=old)
        assert ask(sidecar, shop).status == 200


@pytest.mark.parametrize(("seconds", "status"), [(0, 403), (300, 200)])
def test_secret_is_kept_as_long_as_the_access_says(
    shop: Shop, tmp_path: Path, seconds: int, status: int
) -> None:
    shop.update(cache_timeout=f"{seconds}s")
    with beside(shop, tmp_path) as sidecar:
        assert ask(sidecar, shop).status == 200
        shop.update(where={"expressions": ["app=batch"]})
        answer = ask(sidecar, shop)
    assert answer.status == status
    assert status != 200 or base64.b64decode(answer.body) == PASSWORD.encode()


def test_refused_access_takes_all_along_that_came_by_it(shop: Shop, tmp_path: Path) -> None:
    shop.update(cache_timeout="300s")
    shop.vault.write(f"{shop.mount}/data/db/other", data={"password": PASSWORD})
    with beside(shop, tmp_path) as sidecar:
        assert ask(sidecar, shop).status == 200
        shop.update(where={"expressions": ["app=batch"]}, cache_timeout="300s")
        assert ask(sidecar, shop, path=f"{shop.mount}/db/other").status == 403
        assert ask(sidecar, shop).status == 403


def test_access_that_needs_a_flag_is_refused_by_wingman_itself(shop: Shop, tmp_path: Path) -> None:
    shop.kms.parts.secret_management_accesses._allowances = Allowances(True, plain_http=True)
    clear = {"clear": {"location": "string:///aHVudGVyMg=="}}
    shop.update(authentication={"token": {"token": clear}})
    with beside(shop, tmp_path) as sidecar:
        answer = ask(sidecar, shop)
    assert (answer.status, "is in clear" in answer.text) == (400, True)
    assert "aHVudGVyMg" not in answer.text


def test_wingman_connects_to_no_other_endpoint_than_it_is_told(shop: Shop, tmp_path: Path) -> None:
    for endpoints, status in ((["https://vault.example"], 400), ([shop.vault.address], 200)):
        with beside(shop, tmp_path, vault_endpoints=endpoints) as sidecar:
            assert ask(sidecar, shop).status == status


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"path": "elsewhere/db/web"}, 400),
        ({"path": "{mount}/../sys/raw"}, 400),
        ({"path": "{mount}/db/none"}, 403),
        ({"key": "none"}, 400),
        ({"access": f"{PROD}/secretManagementAccesses/none"}, 403),
        ({"access": "tenants/globex/namespaces/prod/secretManagementAccesses/vault"}, 404),
        ({"endpoint": "https://evil.example"}, 400),
    ],
)
def test_what_is_not_there_or_wrong_is_told_by_its_status(
    shop: Shop, tmp_path: Path, members: dict[str, str], status: int
) -> None:
    changed = {name: value.format(mount=shop.mount) for name, value in members.items()}
    with beside(shop, tmp_path) as sidecar:
        answer = ask(sidecar, shop, **changed)
    assert answer.status == status
    assert PASSWORD not in answer.text
    assert shop.token not in answer.text


def test_vault_that_is_sealed_is_told_as_unavailable(shop: Shop, tmp_path: Path) -> None:
    server = shop.vault.only_stand_in("sealing")
    with beside(shop, tmp_path) as sidecar:
        server.system.sealed = True
        answer = ask(sidecar, shop)
    assert answer.status == 503


@pytest.mark.parametrize("missing", ["path", "vault"])
def test_vault_that_gives_nothing_keeps_no_other_file_back(shop: Shop, tmp_path: Path, missing: str) -> None:
    wrong = {"path": f"{shop.mount}/db/none"} if missing == "path" else {}
    if missing == "vault":
        shop.vault.only_stand_in("sealing").system.sealed = True
    sealed = {"type": "blindfold", "location": to_location(shop.kms.seal(b"sealed"))}
    with beside(
        shop,
        tmp_path,
        secrets={"a-vaults": shop.reference | wrong, "sealed": sealed},
        files={"directory": str(tmp_path / "files"), "secrets": ["a-vaults", "sealed"]},
    ) as sidecar:
        wait_until((tmp_path / "files" / "sealed").exists)
        assert not (tmp_path / "files" / "a-vaults").exists()
        assert sidecar.get("/readyz").status == 200
        if missing == "path":
            shop.vault.write(f"{shop.mount}/data/db/none", data={"password": PASSWORD})
            wait_until((tmp_path / "files" / "a-vaults").exists)


def test_clear_secrets_are_served_by_a_wingman_that_allows_them(kms: RunningKms, tmp_path: Path) -> None:
    clear = {"type": "clear", "location": "string:///aHVudGVyMg=="}
    with ready_sidecar(kms, tmp_path) as sidecar:
        assert sidecar.post("/secret/unseal", clear).status == 400
    with ready_sidecar(kms, tmp_path, allow_clear_secrets=True) as sidecar:
        assert base64.b64decode(sidecar.post("/secret/unseal", clear).body) == b"hunter2"
