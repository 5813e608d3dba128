"""What is read from a vault: key-value secrets in both versions, and transit."""

import asyncio
import base64
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import pytest
from vault.fetching import fetch, read, source_of, wanted
from vault.workshop import Answered, Workshop, clear

from kms.errors import InvalidField
from kms.external.errors import Forbidden, NotAsExpected, NotThere, Refused, TooLarge, VersionGone
from kms.external.vault.api import Health
from kms.model.secret_management_access import Engine, SecretManagementAccess, TokenAuthentication
from kms.model.secret_type import SecretEncoding


@dataclass(frozen=True)
class Shelf:
    """A mount with one secret at db/password."""

    vault: Workshop
    mount: str
    engine: Engine

    @property
    def access(self) -> SecretManagementAccess:
        return self.vault.access((self.mount, self.engine))

    @property
    def path(self) -> str:
        return f"{self.mount}/db/password"

    def put(self, **data: Any) -> None:
        if self.engine is Engine.KV_V1:
            self.vault.write(f"{self.mount}/db/password", **data)
        else:
            self.vault.write(f"{self.mount}/data/db/password", data=data)


@pytest.fixture(params=[Engine.KV_V1, Engine.KV_V2], ids=["v1", "v2"])
def shelf(vault: Workshop, request: pytest.FixtureRequest) -> Shelf:
    return Shelf(
        vault, vault.mount("kv", version="2" if request.param is Engine.KV_V2 else "1"), request.param
    )


@pytest.fixture
def second(vault: Workshop) -> Shelf:
    return Shelf(vault, vault.mount("kv", version="2"), Engine.KV_V2)


def test_one_key_of_a_map_is_read(shelf: Shelf) -> None:
    shelf.put(user="orders", password="hunter2 é")
    assert read(shelf.access, wanted(shelf.path, key="password")) == "hunter2 é".encode()


def test_all_of_a_map_is_its_json(shelf: Shelf) -> None:
    shelf.put(a="é")
    assert read(shelf.access, wanted(shelf.path)) == '{"a":"é"}'.encode()


def test_what_is_no_text_is_its_json(shelf: Shelf) -> None:
    shelf.put(port=5432, hosts=["a", "b"])
    assert read(shelf.access, wanted(shelf.path, key="port")) == b"5432"
    assert read(shelf.access, wanted(shelf.path, key="hosts")) == b'["a","b"]'


def test_base64_is_decoded_where_it_is_said_to_be_so(shelf: Shelf) -> None:
    binary = bytes(range(256))
    shelf.put(key=base64.b64encode(binary).decode())
    assert read(shelf.access, wanted(shelf.path, key="key", encoding=SecretEncoding.BASE64)) == binary


@pytest.mark.parametrize(
    ("data", "key", "problem"),
    [
        ({"a": "b"}, "c", "has no c"),
        ({"a": None}, "a", "has no a"),
        ({"a": "not base64!"}, "a", "not standard base64"),
    ],
)
def test_what_is_not_there_as_said_is_refused(
    shelf: Shelf, data: dict[str, Any], key: str, problem: str
) -> None:
    shelf.put(**data)
    with pytest.raises(NotAsExpected, match=problem):
        read(shelf.access, wanted(shelf.path, key=key, encoding=SecretEncoding.BASE64))


def test_a_path_with_nothing_is_not_found(shelf: Shelf) -> None:
    with pytest.raises(NotThere):
        read(shelf.access, wanted(f"{shelf.mount}/db/nothing"))


def test_a_path_below_no_mount_is_not_asked_for(shelf: Shelf) -> None:
    with pytest.raises(InvalidField, match="below none"):
        read(shelf.access, wanted("elsewhere/db/password"))


def test_more_than_the_access_allows_is_not_taken(shelf: Shelf) -> None:
    shelf.put(a="x" * 101)
    access = shelf.vault.access((shelf.mount, shelf.engine), max_secret_bytes=100)
    with pytest.raises(TooLarge):
        read(access, wanted(shelf.path, key="a"))


def test_an_answer_without_end_is_not_read_to_its_end(shelf: Shelf) -> None:
    shelf.put(a="x" * 300_000)
    access = shelf.vault.access((shelf.mount, shelf.engine), max_secret_bytes=1)
    with pytest.raises(TooLarge, match="more than 65542"):
        read(access, wanted(shelf.path, key="a"))


def test_versions_are_read_by_number_and_the_newest_by_default(second: Shelf) -> None:
    second.put(a="1")
    second.put(a="2")
    found = fetch(second.access, wanted(second.path, key="a"), wanted(second.path, key="a", version=1))
    assert [(item.secret.reveal(), item.version) for item in found] == [(b"2", 2), (b"1", 1)]


def test_a_version_that_never_was_is_not_found(second: Shelf) -> None:
    second.put(a="1")
    with pytest.raises(NotThere):
        read(second.access, wanted(second.path, key="a", version=7))


@pytest.mark.parametrize("how", ["delete", "destroy"])
def test_a_deleted_version_is_told_from_one_that_never_was(second: Shelf, how: str) -> None:
    second.put(a="1")
    second.put(a="2")
    second.vault.write(f"{second.mount}/{how}/db/password", versions=[1])
    assert read(second.access, wanted(second.path, key="a")) == b"2"
    with pytest.raises(VersionGone):
        read(second.access, wanted(second.path, key="a", version=1))


def test_a_mount_of_the_other_version_has_nothing_there(second: Shelf) -> None:
    second.put(a="1")
    access = second.vault.access((second.mount, Engine.KV_V1))
    with pytest.raises(NotThere):
        read(access, wanted(second.path, key="a"))


def test_what_the_policy_of_the_token_does_not_allow_is_denied(second: Shelf) -> None:
    second.put(a="1")
    policy = second.vault.policy_of({f"{second.mount}/data/other": "read"})
    token = second.vault.make_token(policy)
    access = second.vault.access(
        (second.mount, Engine.KV_V2), authentication=TokenAuthentication(clear(token))
    )
    with pytest.raises(Forbidden):
        read(access, wanted(second.path, key="a"))


def test_transit_decrypts(vault: Workshop) -> None:
    mount = vault.mount("transit")
    vault.write(f"{mount}/keys/orders", type="aes256-gcm96")
    made = vault.write(f"{mount}/encrypt/orders", plaintext=base64.b64encode(b"\x00\xffx").decode())
    access = vault.access((mount, Engine.TRANSIT), cache_timeout_seconds=60)
    [found] = fetch(access, wanted(f"{mount}/orders", ciphertext=made["data"]["ciphertext"]))
    assert (found.secret.reveal(), found.keep_seconds, found.is_leased) == (b"\x00\xffx", 60, False)


def test_transit_refuses_what_the_key_did_not_encrypt(vault: Workshop) -> None:
    mount = vault.mount("transit")
    vault.write(f"{mount}/keys/orders", type="aes256-gcm96")
    access = vault.access((mount, Engine.TRANSIT))
    forged = f"vault:v1:{base64.b64encode(bytes(40)).decode()}"
    with pytest.raises(Refused):
        read(access, wanted(f"{mount}/orders", ciphertext=forged))


def test_namespaces_are_kept_apart(vault: Workshop) -> None:
    name = f"test-{token_hex(4)}"
    try:
        vault.write(f"sys/namespaces/{name}")
    except Answered:
        if vault.server is None:
            pytest.skip("the real server has no namespaces")
        raise
    vault.write(f"{name}/sys/mounts/kv", type="kv")
    vault.write(f"{name}/kv/a", x="of the team")
    access = vault.access(("kv", Engine.KV_V1), vault_namespace=name)
    assert read(access, wanted("kv/a", key="x")) == b"of the team"
    with pytest.raises(NotThere):
        read(vault.access(("kv", Engine.KV_V1)), wanted("kv/a", key="x"))
    vault.call("DELETE", f"sys/namespaces/{name}")


def test_health_needs_no_token(vault: Workshop) -> None:
    stranger = TokenAuthentication(clear("none"))
    access = vault.access(("kv", Engine.KV_V1), authentication=stranger)

    async def health() -> Health:
        async with source_of(access) as source:
            return await source.health()

    assert asyncio.run(health()) is Health.ACTIVE
