"""Serving a stream: order, how much at once, and its end."""

import asyncio

import pytest

from kms.errors import RateLimited
from kms.server.streaming import in_order


async def counting(count, log=None):
    for number in range(count):
        if log is not None:
            log.append(number)
        yield number


async def collected(answers, into=None):
    into = [] if into is None else into
    async for answer in answers:
        into.append(answer)
    return into


def test_answers_come_in_order_whatever_takes_longer():
    async def serve(number):
        await asyncio.sleep(0.002 * (5 - number))
        return number * 10

    assert asyncio.run(collected(in_order(counting(5), serve, 5))) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_than_so_many_are_served_at_once(at_once):
    running, most = 0, 0

    async def serve(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    assert asyncio.run(collected(in_order(counting(12), serve, at_once))) == list(range(12))
    assert most == at_once


def test_client_that_does_not_read_is_not_read_from_without_end():
    read = []

    async def serve(number):
        return number

    async def run():
        answers = in_order(counting(1000, read), serve, 4)
        first = await anext(answers)
        await asyncio.sleep(0.01)
        await answers.aclose()
        return first

    assert asyncio.run(run()) == 0
    assert len(read) <= 6


def test_what_serve_raises_is_raised_in_its_place():
    async def serve(number):
        if number == 2:
            raise ValueError("two")
        return number

    answers = []
    with pytest.raises(ValueError, match="two"):
        asyncio.run(collected(in_order(counting(5), serve, 5), answers))
    assert answers == [0, 1]


def test_what_ends_the_requests_ends_the_answers_after_the_last():
    async def requests():
        yield 0
        yield 1
        raise RateLimited(1)

    async def serve(number):
        await asyncio.sleep(0.002)
        return number

    answers = []
    with pytest.raises(RateLimited):
        asyncio.run(collected(in_order(requests(), serve, 5), answers))
    assert answers == [0, 1]


def test_nothing_goes_on_once_the_answers_are_closed():
    ended = []

    async def serve(number):
        try:
            await asyncio.sleep(60 if number else 0)
        finally:
            ended.append(number)
        return number

    async def run():
        answers = in_order(counting(3), serve, 3)
        await anext(answers)
        await asyncio.sleep(0.005)
        await answers.aclose()

    asyncio.run(run())
    assert sorted(ended) == [0, 1, 2]
