"""What is kept, for how long, and how often a secret is asked for: by a clock of the test."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.client.errors import CallDamaged, CallDenied, CallExhausted, CallUnauthenticated, CallUnavailable
from kms.errors import InvalidField, Unavailable
from wingman.condition import Condition
from wingman.kept_secrets import Kept, KeptSecrets
from wingman.secret_source import Found, SecretSource


@dataclass(frozen=True)
class Named:
    name: str


@dataclass
class Scripted:
    """An opener that answers or fails as it is told, and counts."""

    keep_seconds: float = 300
    refresh_seconds: float = math.inf
    fails: Exception | None = None
    asked: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, reference: Named) -> Found:
        self.asked += 1
        await self.gate.wait()
        if self.fails:
            raise self.fails
        return Found(
            SecretBytes(f"{reference.name} {self.asked}".encode()), self.keep_seconds, self.refresh_seconds
        )


class Bench:
    """A source whose clock stands still."""

    def __init__(self, opener: Scripted, max_keep: float = 1000) -> None:
        self.now = 5000.0
        self.opener = opener
        self.kept = KeptSecrets(lambda: self.now)
        opener.gate.set()
        self.source = SecretSource({Named: opener}, self.kept, lambda: self.now, lambda: 0.5, max_keep)

    async def get(self, name: str = "db") -> str:
        return (await self.source.get(Named(name))).secret.reveal().decode()

    async def newest(self, name: str = "db") -> str:
        return (await self.source.newest(Named(name))).secret.reveal().decode()


async def settle() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def in_loop(test: Callable[[Bench], "object"], opener: Scripted | None = None, **how: float) -> None:
    async def act() -> None:
        await test(Bench(opener or Scripted(), **how))  # type: ignore[misc]

    asyncio.run(act())


def test_kept_secret_is_not_asked_for_until_two_thirds_of_its_time_are_over() -> None:
    async def act(bench: Bench) -> None:
        assert [await bench.get(), await bench.get()] == ["db 1", "db 1"]
        bench.now += 199
        assert await bench.get() == "db 1"
        await settle()
        assert bench.opener.asked == 1

    in_loop(act)


def test_it_is_then_asked_for_in_the_background() -> None:
    async def act(bench: Bench) -> None:
        await bench.get()
        bench.now += 200
        assert await bench.get() == "db 1"
        await settle()
        assert await bench.get() == "db 2"
        assert bench.opener.asked == 2

    in_loop(act)


@pytest.mark.parametrize(
    "fault",
    [
        CallUnavailable("gone"),
        Unavailable("gone"),
        CallExhausted("too many", retry_after=9.0),
        CallDamaged("changed on its way"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_silence_leaves_what_is_kept_until_its_time_is_over(fault: Exception) -> None:
    async def act(bench: Bench) -> None:
        await bench.get()
        bench.opener.fails = fault
        bench.now += 200
        for _ in range(3):
            assert await bench.get() == "db 1"
            await settle()
        assert bench.opener.asked == 2
        bench.now += 5
        assert await bench.get() == "db 1"
        await settle()
        assert bench.opener.asked == 3
        bench.now += 95
        with pytest.raises(type(fault)):
            await bench.get()

    in_loop(act)


@pytest.mark.parametrize(("said", "after"), [(50, 50), (1000, 200)])
def test_opener_may_say_that_it_is_better_asked_earlier(said: float, after: float) -> None:
    async def act(bench: Bench) -> None:
        await bench.get()
        bench.now += after - 1
        await bench.get()
        await settle()
        assert bench.opener.asked == 1
        bench.now += 1
        assert await bench.get() == "db 1"
        await settle()
        assert await bench.get() == "db 2"

    in_loop(act, Scripted(refresh_seconds=said))


def test_newest_waits_for_what_is_due() -> None:
    async def act(bench: Bench) -> None:
        assert [await bench.newest(), await bench.newest()] == ["db 1", "db 1"]
        bench.now += 200
        assert await bench.newest() == "db 2"

    in_loop(act)


@pytest.mark.parametrize(("fault", "is_kept"), [(CallUnavailable("gone"), True), (CallDenied("no"), False)])
def test_newest_is_what_is_kept_where_nobody_is_there(fault: Exception, is_kept: bool) -> None:
    async def act(bench: Bench) -> None:
        await bench.newest()
        bench.opener.fails = fault
        bench.now += 200
        if is_kept:
            assert await bench.newest() == "db 1"
        else:
            with pytest.raises(type(fault)):
                await bench.newest()

    in_loop(act)


def test_refusal_drops_what_is_kept() -> None:
    async def act(bench: Bench) -> None:
        await bench.get()
        bench.opener.fails = CallDenied("no")
        bench.now += 200
        assert await bench.get() == "db 1"
        await settle()
        with pytest.raises(CallDenied):
            await bench.get()

    in_loop(act)


def test_time_counts_from_the_question_not_from_the_answer() -> None:
    async def act(bench: Bench) -> None:
        bench.opener.gate.clear()
        waiting = asyncio.create_task(bench.source.get(Named("db")))
        await settle()
        bench.now += 100
        bench.opener.gate.set()
        assert (await waiting).refresh_at == bench.now + 100
        bench.now += 199
        assert await bench.get() == "db 1"
        await settle()
        bench.opener.gate.clear()
        bench.now += 1
        assert await bench.get() == "db 2"

    in_loop(act)


def test_whoever_leaves_does_not_take_the_answer_from_the_others() -> None:
    async def act(bench: Bench) -> None:
        bench.opener.gate.clear()
        first, second = (asyncio.create_task(bench.get()) for _ in range(2))
        await settle()
        first.cancel()
        bench.opener.gate.set()
        assert await second == "db 1"
        assert bench.opener.asked == 1

    in_loop(act)


def test_a_thousand_who_ask_at_the_same_time_are_one_question() -> None:
    async def act(bench: Bench) -> None:
        assert set(await asyncio.gather(*(bench.get() for _ in range(1000)))) == {"db 1"}
        assert bench.opener.asked == 1

    in_loop(act, Scripted(keep_seconds=0))


def test_what_is_kept_is_weighed_with_what_names_it() -> None:
    async def act(bench: Bench) -> None:
        await bench.get("n" * 1000)
        assert bench.kept.size == 1000 + len("n" * 1000 + " 1")

    in_loop(act)


def test_failure_is_told_to_all_who_wait_and_not_remembered() -> None:
    async def act(bench: Bench) -> None:
        bench.opener.fails = CallDenied("no")
        told = await asyncio.gather(bench.get(), bench.get(), return_exceptions=True)
        assert [type(error) for error in told] == [CallDenied, CallDenied]
        bench.opener.fails = None
        assert await bench.get() == "db 2"

    in_loop(act)


def test_secret_that_may_not_be_kept_is_not() -> None:
    async def act(bench: Bench) -> None:
        assert [await bench.get(), await bench.get(), len(bench.kept)] == ["db 1", "db 2", 0]

    in_loop(act, Scripted(keep_seconds=0))


def test_configuration_is_a_limit_to_the_time() -> None:
    async def act(bench: Bench) -> None:
        await bench.get()
        bench.now += 10
        assert await bench.get() == "db 2"

    in_loop(act, max_keep=10)


def test_kind_that_is_not_served_is_refused() -> None:
    async def act(bench: Bench) -> None:
        with pytest.raises(InvalidField, match="of no kind"):
            await bench.source.get("something else")  # type: ignore[arg-type]

    in_loop(act)


def test_end_drops_all_and_waits_for_nobody() -> None:
    async def act(bench: Bench) -> None:
        await bench.get()
        bench.opener.gate.clear()
        waiting = asyncio.create_task(bench.get("other"))
        await settle()
        await bench.source.close()
        assert len(bench.kept) == 0
        with pytest.raises(asyncio.CancelledError):
            await waiting

    in_loop(act)


def kept(size: int, until: float) -> Kept:
    return Kept(SecretBytes(b"x" * size), until, until)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 60), st.integers(-1, 5)),
            st.tuples(st.just("get"), st.integers(0, 9), st.just(0), st.just(0)),
            st.tuples(st.just("wait"), st.integers(0, 3), st.just(0), st.just(0)),
            st.tuples(st.just("sweep"), st.just(0), st.just(0), st.just(0)),
        )
    )
)
def test_nothing_is_handed_out_after_its_time_and_no_limit_is_exceeded(
    steps: list[tuple[str, int, int, int]],
) -> None:
    now, model = [0.0], dict[int, Kept]()
    store = KeptSecrets(lambda: now[0], max_secrets=4, max_bytes=100)
    for verb, key, size, seconds in steps:
        if verb == "put":
            model[key] = kept(size, now[0] + seconds)
            store.put(key, model[key])
        elif verb == "get":
            found = store.get(key)
            assert found is None or (found is model[key] and found.keep_until > now[0])
        elif verb == "wait":
            now[0] += key
        else:
            store.sweep()
            alive = [item for item in model.values() if item.keep_until > now[0]]
            assert len(store) <= len(alive)
        assert len(store) <= 4
        assert store.size <= 100


def test_least_used_is_dropped_first() -> None:
    store = KeptSecrets(lambda: 0.0, max_secrets=2, max_bytes=100)
    for key in "ab":
        store.put(key, kept(1, 9.0))
    store.get("a")
    store.put("c", kept(1, 9.0))
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]


def test_what_is_dropped_is_wiped() -> None:
    store = KeptSecrets(lambda: 0.0)
    secret = SecretBytes(b"precious")
    view = memoryview(secret._buffer)
    store.put("a", Kept(secret, 9.0, 9.0))
    del secret
    store.clear()
    assert bytes(view).strip(b"\0") == b""


def test_what_arrives_after_the_identity_was_refused_is_not_kept() -> None:
    """A vault answers that was asked before: the KMS has no part in it."""

    async def act(bench: Bench) -> None:
        condition = Condition(lambda: datetime.now(UTC))
        condition.on_lost = bench.kept.clear
        bench.opener.gate.clear()
        asked = asyncio.create_task(bench.get())
        await settle()
        condition.heard(CallUnauthenticated("revoked"))
        bench.opener.gate.set()
        assert await asked == "db 1"
        assert len(bench.kept) == 0

    in_loop(act)
