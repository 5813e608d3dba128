"""Keys of issuers: fetched, kept for a while, fetched anew for an unknown key, and never too often."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from identity.token_workshop import URL, jwk, jwks

from kms.errors import Unavailable
from kms.services.issuer_keys import KEEP, REFRESH, RETRY, SECOND, IssuerKeys, fetch_nothing

AT = f"{URL}/.well-known/openid-configuration"
JWKS = f"{URL}/keys"


@dataclass
class World:
    """Pages that can be fetched, a clock, and what was asked for."""

    pages: dict[str, bytes] = field(default_factory=dict)
    now: int = 0
    asked: list[str] = field(default_factory=list)
    keys: IssuerKeys = field(init=False)

    def __post_init__(self) -> None:
        self.publish("first")
        self.keys = IssuerKeys(self.fetch, lambda: self.now)

    def publish(self, *key_ids: str) -> None:
        self.pages[AT] = json.dumps({"issuer": URL, "jwks_uri": JWKS}).encode()
        self.pages[JWKS] = jwks(*(jwk("EdDSA", key_id) for key_id in key_ids))

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        await asyncio.sleep(0)
        if url not in self.pages:
            raise Unavailable("gone")
        return self.pages[url]

    def of(self, key_id: str = "first", passed: int = 0) -> Sequence[str]:
        self.now += passed
        return sorted(asyncio.run(self.keys.of(URL, key_id)))


@pytest.fixture
def world() -> World:
    return World()


def test_keys_are_discovered_once_and_kept(world: World) -> None:
    assert world.of() == ["first"]
    assert world.of(passed=REFRESH - 1) == ["first"]
    assert world.asked == [AT, JWKS]


def test_keys_are_looked_up_again_so_that_a_withdrawn_one_goes(world: World) -> None:
    world.of()
    world.publish("second")
    assert world.of(passed=REFRESH) == ["second"]


def test_unknown_key_is_looked_for_but_not_more_often_than_allowed(world: World) -> None:
    world.of()
    world.publish("first", "second")
    assert world.of("second", RETRY - 1) == ["first"]
    assert len(world.asked) == 2
    assert world.of("second", 1) == ["first", "second"]
    for _ in range(5):
        world.of("third", SECOND)
    assert len(world.asked) == 4


def test_known_keys_serve_while_the_issuer_is_away_for_an_hour_at_most(world: World) -> None:
    world.of()
    world.pages.clear()
    assert world.of(passed=REFRESH) == ["first"]
    assert world.of(passed=KEEP - REFRESH - 1) == ["first"]
    with pytest.raises(Unavailable):
        world.of(passed=RETRY)


def test_issuer_that_could_not_be_asked_is_let_alone_for_a_while(world: World) -> None:
    world.pages.clear()
    for passed in (0, RETRY - 1):
        with pytest.raises(Unavailable):
            world.of(passed=passed)
    assert len(world.asked) == 1
    world.publish("first")
    assert world.of(passed=1) == ["first"]


def test_who_asks_at_the_same_time_waits_for_one_answer(world: World) -> None:
    async def both() -> list[object]:
        return await asyncio.gather(*(world.keys.of(URL, "first") for _ in range(3)))

    assert len(asyncio.run(both())) == 3
    assert world.asked == [AT, JWKS]


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps({"issuer": "https://other.example", "jwks_uri": JWKS}).encode(),
        json.dumps({"issuer": URL + "/", "jwks_uri": JWKS}).encode(),
        json.dumps({"issuer": URL}).encode(),
        json.dumps({"issuer": URL, "jwks_uri": ["x"]}).encode(),
    ],
)
def test_description_of_something_else_is_refused(world: World, page: bytes) -> None:
    world.pages[AT] = page
    with pytest.raises(Unavailable):
        world.of()


def test_key_set_that_cannot_be_used_is_refused(world: World) -> None:
    world.pages[JWKS] = b"{}"
    with pytest.raises(Unavailable, match="cannot be used"):
        world.of()


def test_kms_that_fetches_nothing_says_so() -> None:
    with pytest.raises(Unavailable, match="fetches no keys"):
        asyncio.run(IssuerKeys(fetch_nothing, lambda: 0).of(URL, "first"))
