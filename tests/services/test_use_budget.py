"""The budget: enforced, durable before use, and never more after a restart."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from services.conftest import KEY_ADMIN, Kms

from kms.errors import BudgetExhausted
from kms.services.use_budget import Counter, UseBudget

COUNTER = Counter("row", "acme", "tenants/acme/keys/k", 10)


def budget(kms: Kms, block: int = 3) -> UseBudget:
    return UseBudget(kms.parts.guard, kms.parts.repository, block)


def spend(kms: Kms, of: UseBudget, *counts: int) -> None:
    async def run() -> None:
        for count in counts:
            await of.spend(COUNTER, count, kms.now)

    kms.run(run())


def test_the_limit_is_reached_and_not_passed(kms: Kms) -> None:
    of = budget(kms)
    spend(kms, of, *[1] * 10)
    with pytest.raises(BudgetExhausted, match="10 uses"):
        spend(kms, of, 1)


def test_what_is_set_aside_is_written_before_it_is_used(kms: Kms) -> None:
    of = budget(kms)
    assert of.used("row") is None
    spend(kms, of, 1)
    record = of.used("row")
    assert record is not None
    assert record.reserved == 3
    assert kms.last_event()["details"]["reserved"] == "3"


def test_one_block_costs_one_event(kms: Kms) -> None:
    of = budget(kms)
    before = len(kms.events())
    spend(kms, of, 1, 1, 1)
    assert len(kms.events()) == before + 1
    spend(kms, of, 1)
    assert len(kms.events()) == before + 2


def test_a_restart_loses_what_was_set_aside_and_never_gives_more(kms: Kms) -> None:
    for _ in range(4):
        spend(kms, budget(kms), 1)
    with pytest.raises(BudgetExhausted):
        spend(kms, budget(kms), 1)


def test_rows_that_are_not_used_are_forgotten_and_never_get_more_for_it(kms: Kms) -> None:
    of = UseBudget(kms.parts.guard, kms.parts.repository, 3, rows=2)
    for _ in range(3):
        for name in ("a", "b", "c"):
            kms.run(of.spend(replace(COUNTER, row=name), 1, kms.now))
    for name in ("a", "b", "c"):
        record = of.used(name)
        assert record is not None
        assert record.reserved == 9


def test_more_than_a_block_at_once_is_set_aside_at_once(kms: Kms) -> None:
    of = budget(kms)
    spend(kms, of, 8)
    with pytest.raises(BudgetExhausted):
        spend(kms, of, 3)
    spend(kms, of, 2)


def test_calls_at_once_set_aside_one_block(kms: Kms) -> None:
    of = budget(kms, block=5)
    before = len(kms.events())

    async def at_once() -> None:
        await asyncio.gather(*[of.spend(COUNTER, 1, kms.now) for _ in range(5)])

    kms.run(at_once())
    assert len(kms.events()) == before + 1


def test_the_first_use_of_a_day_is_written(kms: Kms) -> None:
    of = budget(kms)
    spend(kms, of, 1)
    kms.pass_time(timedelta(days=1))
    spend(kms, of, 1)
    record = of.used("row")
    assert record is not None
    assert record.last_used == kms.now.replace(hour=0)


def test_calls_that_are_cancelled_lose_nothing(kms: Kms) -> None:
    """A client that hangs up while a block is set aside must not use the budget up."""
    of = budget(kms)

    async def hang_up() -> int:
        answered = 0
        for _ in range(5):
            task = asyncio.create_task(of.spend(COUNTER, 1, kms.now))
            await asyncio.sleep(0)
            task.cancel()
            answered += (await asyncio.gather(task, return_exceptions=True)) == [3]
            await asyncio.sleep(0.05)
        return answered

    answered = kms.run(hang_up())
    spend(kms, of, *[1] * (10 - answered))
    with pytest.raises(BudgetExhausted):
        spend(kms, of, 1)


def test_what_is_left_of_a_block_is_kept_when_the_next_is_set_aside(kms: Kms) -> None:
    of = budget(kms, block=4)
    spend(kms, of, 3, 3)
    kms.pass_time(timedelta(days=1))
    spend(kms, of, 4)
    with pytest.raises(BudgetExhausted):
        spend(kms, of, 1)


def test_a_charge_is_the_callers_write_and_what_is_set_aside_stays(kms: Kms) -> None:
    of = budget(kms)
    spend(kms, of, 1)
    event = kms.call(KEY_ADMIN).event("Test", "row", "ALLOW")
    kms.run(kms.parts.guard.commit([of.charge(COUNTER, 4, kms.now)], [event]))
    record = of.used("row")
    assert record is not None
    assert record.reserved == 7
    spend(kms, of, *[1] * 5)
    with pytest.raises(BudgetExhausted):
        of.charge(COUNTER, 1, kms.now)
    with pytest.raises(BudgetExhausted):
        spend(kms, of, 1)


def test_a_charge_in_between_does_not_disturb_who_spends(kms: Kms) -> None:
    of = budget(kms)

    async def run() -> None:
        event = kms.call(KEY_ADMIN).event("Test", "row", "ALLOW")
        charged = kms.parts.guard.commit([of.charge(COUNTER, 1, kms.now)], [event])
        await asyncio.gather(charged, of.spend(COUNTER, 1, kms.now))

    kms.run(run())
    record = of.used("row")
    assert record is not None
    assert record.reserved == 4
