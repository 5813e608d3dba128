"""All that a party fetches: a source for each access, credentials through other accesses, flags."""

import asyncio
import math
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from external.https_site import Site, https_site
from server.server_harness import Authority
from vault.workshop import WHERE, clear

from blindfold.envelope import MAC_SIZE, Header, Metadata, PolicyLock
from blindfold.exponent import Binding
from blindfold.forms import to_location
from blindfold.secret import SecretBytes
from kms.errors import InvalidField
from kms.external.fetched import Fetched
from kms.external.sources import SecretSources
from kms.external.vault.source import VaultSource
from kms.model.names import SecretManagementAccessName
from kms.model.predicate import ClientSelector
from kms.model.secret_management_access import (
    JWT_DIRECTORY,
    AccessTls,
    Allowances,
    Engine,
    HeaderAuthentication,
    KubernetesAuthentication,
    Mount,
    SecretManagementAccess,
    TokenAuthentication,
    addressee,
)
from kms.model.secret_type import BlindfoldSecret, SecretType, VaultSecret


def sealed_for(addressee: str, tenant: str = "acme") -> BlindfoldSecret:
    """The public part of a credential that was sealed for that endpoint, and nothing behind it."""
    lock = PolicyLock(tenant, 1, Binding.REVISION, bytes(32), bytes(32), b"\x01" * 64)
    header = Header(lock, Metadata(name=addressee)).to_bytes()
    return BlindfoldSecret(to_location(header + bytes(MAC_SIZE)))


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

    @property
    def sealed(self) -> BlindfoldSecret:
        """A credential for the site."""
        return sealed_for(self.addressee)

    @property
    def addressee(self) -> str:
        return addressee(self.site.url, AccessTls(self.site.ca_pem))

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

    def sources(self, **allowed: Any) -> SecretSources:
        allowances = Allowances(**{"endpoints": (self.site.url,)} | allowed)
        return SecretSources(self.find, self.open_blindfold, allowances)

    def get(self, secret: VaultSecret, **allowed: Any) -> bytes:
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
    shop.add("one", shop.sealed)
    assert shop.get(at("one", "a")) == b"of a"
    assert (shop.site.headers["x-api-key"], shop.opened) == ("opened", [shop.sealed])


def test_a_credential_may_be_a_secret_of_another_access(shop: Shop) -> None:
    shop.add("one", shop.sealed)
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
    shop.add("a1", shop.sealed)
    for number in range(2, 6):
        shop.add(f"a{number}", at(f"a{number - 1}", "a"))
    assert shop.get(at("a4", "a"))
    with pytest.raises(InvalidField, match="more than 4"):
        shop.get(at("a5", "a"))


def test_an_access_of_another_tenant_is_no_credential(shop: Shop) -> None:
    shop.add("one", VaultSecret(name("two", "globex"), "a"))
    shop.add("two", shop.sealed)
    with pytest.raises(InvalidField, match="another tenant"):
        shop.get(at("one", "a"))


def test_a_credential_in_clear_needs_a_flag(shop: Shop) -> None:
    shop.add("one", clear("k-1"))
    with pytest.raises(InvalidField, match="in clear"):
        shop.get(at("one", "a"))
    assert shop.get(at("one", "a"), clear_secrets=True) == b"of a"


def test_http_needs_a_flag(shop: Shop) -> None:
    shop.add("one", sealed_for("http://127.0.0.1:1"), endpoint="http://127.0.0.1:1", tls=AccessTls())
    with pytest.raises(InvalidField, match="must be https"):
        shop.get(at("one", "a"), endpoints=())


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def test_every_type_of_secret_is_opened(shop: Shop) -> None:
    shop.add("one", shop.sealed)

    async def test() -> list[bytes]:
        sources = shop.sources(clear_secrets=True)
        wanted: list[SecretType] = [shop.sealed, at("one", "a"), clear("in clear")]
        return [(await sources.open(secret)).reveal() for secret in wanted]

    assert run(test()) == [b"opened", b"of a", b"in clear"]


def test_a_secret_in_clear_needs_a_flag(shop: Shop) -> None:
    with pytest.raises(InvalidField, match="is clear"):
        run(shop.sources().open(clear("in clear")))


def test_an_access_that_was_changed_is_followed(shop: Shop) -> None:
    shop.add("one", shop.sealed)

    async def test() -> None:
        sources = shop.sources(clear_secrets=True)
        await sources.get(at("one", "a"))
        shop.add("one", clear("changed"))
        await sources.get(at("one", "a"))
        await sources.close()

    run(test())
    assert shop.site.headers["x-api-key"] == "changed"


@pytest.mark.parametrize(
    ("endpoint", "tenant", "problem"),
    [
        ("https://evil.example", "acme", "not sealed for the endpoint"),
        ("", "acme", "not sealed for the endpoint"),
        ("{site}", "acme", "not sealed for the endpoint"),
        ("{addressee}0", "acme", "not sealed for the endpoint"),
        ("{addressee}&server-name=other.test", "acme", "not sealed for the endpoint"),
        ("{addressee}", "globex", "another tenant"),
    ],
)
def test_a_credential_is_sent_nowhere_but_where_it_was_sealed_for(
    shop: Shop, endpoint: str, tenant: str, problem: str
) -> None:
    name = endpoint.format(site=shop.site.url, addressee=shop.addressee)
    shop.add("one", sealed_for(name, tenant))
    with pytest.raises(InvalidField, match=problem):
        shop.get(at("one", "a"))
    assert (shop.opened, shop.site.asked) == ([], [])


def test_a_credential_is_sent_to_no_server_that_another_authority_certifies(shop: Shop) -> None:
    shop.add("one", sealed_for(shop.site.url), tls=AccessTls())
    own, other = shop.site.ca_pem, Authority("an author's").pem.decode()
    for tls in (AccessTls(other), AccessTls(own + other), AccessTls(own, "x.test"), AccessTls("", "x.test")):
        for credential in (shop.sealed, sealed_for(shop.site.url)):
            shop.add("one", credential, tls=tls)
            with pytest.raises(InvalidField, match="not sealed for the endpoint"):
                shop.get(at("one", "a"))
    shop.add("one", shop.sealed, tls=AccessTls())
    with pytest.raises(InvalidField, match="not sealed for the endpoint"):
        shop.get(at("one", "a"))
    assert (shop.opened, shop.site.asked) == ([], [])


def test_an_endpoint_that_is_not_allowed_is_not_connected_to(shop: Shop) -> None:
    shop.add("one", shop.sealed)
    with pytest.raises(InvalidField, match="none of those that are allowed"):
        shop.get(at("one", "a"), endpoints=("https://vault.example",))
    assert shop.site.asked == []
    assert shop.get(at("one", "a"), endpoints=(shop.site.url,)) == b"of a"


def test_an_access_that_is_forgotten_is_connected_anew(shop: Shop) -> None:
    shop.add("one", shop.sealed)

    async def test() -> None:
        sources = shop.sources()
        await sources.get(at("one", "a"))
        await sources.forget(name("one"))
        await sources.forget(name("never-there"))
        await sources.get(at("one", "a"))
        await sources.close()

    run(test())
    assert shop.site.asked == ["/a", "/a"]


def test_a_secret_of_another_vault_goes_to_endpoints_that_are_listed_alone(shop: Shop) -> None:
    shop.add("one", shop.sealed)
    shop.add("two", at("one", "a"))
    with pytest.raises(InvalidField, match="not sealed for the endpoint"):
        shop.get(at("two", "b"), endpoints=())
    assert shop.site.asked == []


def test_a_token_of_a_cluster_goes_to_endpoints_that_are_listed_alone(shop: Shop) -> None:
    how = KubernetesAuthentication("web", jwt_file=f"{JWT_DIRECTORY}token")
    mounts = (Mount("secret", Engine.KV_V2),)
    shop.add("one", shop.sealed, authentication=how, mounts=mounts)
    with pytest.raises(InvalidField) as caught:
        shop.get(at("one", "secret/a"), endpoints=())
    assert caught.value.field == "authentication.jwt_file"
    assert shop.site.asked == []


@dataclass
class Counted:
    """A source that says when it is asked and closed, and waits where it is told to."""

    key: str
    told: list[str]
    gate: asyncio.Event | None = None
    due: float = math.inf

    async def get(self, secret: VaultSecret) -> Fetched:
        self.told.append(f"get {self.key}")
        if self.gate is not None:
            await self.gate.wait()
        return Fetched(SecretBytes(self.key.encode()), 0)

    async def renew_due(self) -> None:
        self.told.append(f"renew {self.key}")
        self.due = math.inf

    async def close(self, *, revoke: bool = True) -> None:
        self.told.append(f"close {self.key}")


def counted(monkeypatch: pytest.MonkeyPatch, gates: dict[str, asyncio.Event] | None = None) -> list[str]:
    """What sources of vaults are told; each is called by the description of its access."""
    told: list[str] = []

    async def connect(access: SecretManagementAccess, _: object) -> Counted:
        return Counted(access.description, told, (gates or {}).get(access.description))

    monkeypatch.setattr(VaultSource, "connect", connect)
    return told


def add_vault(shop: Shop, key: str, engine: Engine = Engine.KV_V2, **settings: Any) -> None:
    settings = {"authentication": TokenAuthentication(shop.sealed), "provider": f"p-{key}"} | settings
    shop.add("one", shop.sealed, mounts=(Mount("m", engine),), description=key, **settings)


def test_a_change_that_no_connection_depends_on_makes_no_new_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = counted(monkeypatch)

    async def test() -> None:
        sources = shop.sources()
        add_vault(shop, "a", provider="p")
        await sources.get(at("one", "m/x"))
        add_vault(shop, "b", provider="p", where=ClientSelector(("app=other",)), labels={"team": "b"})
        await sources.get(at("one", "m/x"))
        await sources.close()

    run(test())
    assert told == ["get a", "get a", "close a"]


def test_a_connection_that_was_replaced_ends_when_its_last_request_has(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> list[str]:
        gate = asyncio.Event()
        told = counted(monkeypatch, {"a": gate})
        sources = shop.sources()
        add_vault(shop, "a")
        slow = asyncio.create_task(sources.get(at("one", "m/x")))
        while not told:
            await asyncio.sleep(0)
        add_vault(shop, "b")
        await sources.get(at("one", "m/x"))
        gate.set()
        assert (await slow).secret.reveal() == b"a"
        await sources.close()
        return told

    assert run(test()) == ["get a", "get b", "close a", "close b"]


def test_connections_that_gave_leases_stay_open_but_for_the_oldest(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = counted(monkeypatch)

    async def test() -> None:
        sources = shop.sources()
        for key in "abcdef":
            add_vault(shop, key, Engine.DYNAMIC)
            await sources.get(at("one", "m/x"))
        assert [line for line in told if line.startswith("close")] == ["close a"]
        await sources.close()

    run(test())
    assert sorted(line for line in told if line.startswith("close")) == [f"close {key}" for key in "abcdef"]


async def renew_once(sources: SecretSources) -> None:
    """One round of `run`."""

    async def stop(_: float) -> None:
        raise asyncio.CancelledError

    sources._sleep = stop
    with pytest.raises(asyncio.CancelledError):
        await sources.run()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("found", ["get a", "renew a", "close a"]),
        ("silence", ["get a", "renew a", "close a"]),
        ("forgotten", ["get a", "close a"]),
    ],
)
def test_what_is_due_is_renewed_unless_the_access_is_forgotten_by_then(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, answer: str, told: list[str]
) -> None:
    heard = counted(monkeypatch)

    async def test() -> None:
        sources = shop.sources()
        add_vault(shop, "a")
        await sources.get(at("one", "m/x"))
        sources._connected[name("one")].source.due = 0  # type: ignore[misc]
        find = sources._find

        async def found(wanted: SecretManagementAccessName) -> SecretManagementAccess:
            if answer == "forgotten":
                await sources.forget(wanted)
            if answer != "found":
                raise ConnectionError
            return await find(wanted)

        sources._find = found
        await renew_once(sources)
        await sources.close()

    run(test())
    assert heard == told
