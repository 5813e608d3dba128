"""All that a party fetches: a source for each access, credentials through other accesses, flags."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from external.https_site import Site, https_site
from vault.workshop import WHERE, clear

from blindfold.secret import SecretBytes
from kms.errors import InvalidField
from kms.external.sources import SecretSources
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import (
    AccessTls,
    Allowances,
    HeaderAuthentication,
    SecretManagementAccess,
)
from kms.model.secret_type import BlindfoldSecret, SecretType, VaultSecret

SEALED = BlindfoldSecret("string:///" + "k0JGT0xEDQo=")


def name(access: str, tenant: str = "acme") -> SecretManagementAccessName:
    return SecretManagementAccessName(tenant, "prod", access)


def at(access: str, path: str, **how: Any) -> VaultSecret:
    return VaultSecret(name(access), path, **how)


@dataclass
class Shop:
    """Accesses to one site by their names; `found` are those that were asked for."""

    site: Site
    accesses: dict[str, SecretManagementAccess] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    opened: list[SecretType] = field(default_factory=list)

    def add(self, access: str, credential: SecretType, **settings: Any) -> None:
        values = {
            "provider": "rest",
            "where": WHERE,
            "endpoint": self.site.url,
            "authentication": HeaderAuthentication("x-api-key", credential),
            "tls": AccessTls(self.site.ca_pem),
        }
        self.accesses[access] = SecretManagementAccess(**values | settings)

    async def find(self, wanted: SecretManagementAccessName) -> SecretManagementAccess:
        self.found.append(wanted.access)
        return self.accesses[wanted.access]

    async def open_blindfold(self, secret: BlindfoldSecret) -> SecretBytes:
        self.opened.append(secret)
        return SecretBytes(b"opened")

    def sources(self, **allowed: bool) -> SecretSources:
        return SecretSources(self.find, self.open_blindfold, Allowances(**allowed))

    def get(self, secret: VaultSecret, **allowed: bool) -> bytes:
        async def run() -> bytes:
            sources = self.sources(**allowed)
            try:
                return (await sources.get(secret)).secret.reveal()
            finally:
                await sources.close()

        return asyncio.run(run())


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with https_site(tmp_path) as site:
        site.pages = {"/a": (200, b"of a"), "/b": (200, b"of b")}
        yield Shop(site)


def test_a_sealed_credential_is_opened_by_who_connects(shop: Shop) -> None:
    shop.add("one", SEALED)
    assert shop.get(at("one", "a")) == b"of a"
    assert (shop.site.headers["x-api-key"], shop.opened) == ("opened", [SEALED])


def test_a_credential_may_be_a_secret_of_another_access(shop: Shop) -> None:
    shop.add("one", SEALED)
    shop.add("two", at("one", "a"))
    assert shop.get(at("two", "b")) == b"of b"
    assert shop.site.asked == ["/a", "/b"]
    assert shop.site.headers["x-api-key"] == "of a"


@pytest.mark.parametrize("circle", [("one",), ("one", "two"), ("one", "two", "three")])
def test_a_circle_of_accesses_is_refused_and_nobody_asked(shop: Shop, circle: tuple[str, ...]) -> None:
    for place, access in enumerate(circle):
        shop.add(access, at(circle[place - 1], "a"))
    with pytest.raises(InvalidField, match="cycle"):
        shop.get(at("one", "a"))
    assert shop.site.asked == []


def test_a_chain_of_more_than_four_accesses_is_refused(shop: Shop) -> None:
    shop.add("a1", SEALED)
    for number in range(2, 6):
        shop.add(f"a{number}", at(f"a{number - 1}", "a"))
    assert shop.get(at("a4", "a"))
    with pytest.raises(InvalidField, match="more than 4"):
        shop.get(at("a5", "a"))


def test_an_access_of_another_tenant_is_no_credential(shop: Shop) -> None:
    shop.add("one", VaultSecret(name("two", "globex"), "a"))
    shop.add("two", SEALED)
    with pytest.raises(InvalidField, match="another tenant"):
        shop.get(at("one", "a"))


def test_a_credential_in_clear_needs_a_flag(shop: Shop) -> None:
    shop.add("one", clear("k-1"))
    with pytest.raises(InvalidField, match="in clear"):
        shop.get(at("one", "a"))
    assert shop.get(at("one", "a"), clear_secrets=True) == b"of a"


def test_http_needs_a_flag(shop: Shop) -> None:
    shop.add("one", SEALED, endpoint="http://127.0.0.1:1", tls=AccessTls())
    with pytest.raises(InvalidField, match="must be https"):
        shop.get(at("one", "a"))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def test_every_type_of_secret_is_opened(shop: Shop) -> None:
    shop.add("one", SEALED)

    async def test() -> list[bytes]:
        sources = shop.sources(clear_secrets=True)
        wanted: list[SecretType] = [SEALED, at("one", "a"), clear("in clear")]
        return [(await sources.open(secret)).reveal() for secret in wanted]

    assert run(test()) == [b"opened", b"of a", b"in clear"]


def test_a_secret_in_clear_needs_a_flag(shop: Shop) -> None:
    with pytest.raises(InvalidField, match="is clear"):
        run(shop.sources().open(clear("in clear")))


def test_an_access_that_was_changed_is_followed(shop: Shop) -> None:
    shop.add("one", SEALED)

    async def test() -> None:
        sources = shop.sources(clear_secrets=True)
        await sources.get(at("one", "a"))
        shop.add("one", clear("changed"))
        await sources.get(at("one", "a"))
        await sources.close()

    run(test())
    assert shop.site.headers["x-api-key"] == "changed"
