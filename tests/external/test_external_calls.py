"""Requests in threads: what becomes of those that are under way when their connection is closed."""

import asyncio
import threading

import pytest

from kms.external.calls import Calls
from kms.external.errors import Unreachable
from kms.external.session import CONNECTIONS


def test_what_waits_for_a_thread_is_told_when_the_connection_is_closed() -> None:
    """As a failed request: whoever asked is not to take it for the end of his own task."""

    async def act() -> None:
        go_on = threading.Event()
        calls = Calls(20.0)
        under_way = [asyncio.create_task(calls.change(lambda: go_on.wait(20))) for _ in range(CONNECTIONS)]
        waiting = asyncio.create_task(calls.change(lambda: True))
        for _ in range(10):
            await asyncio.sleep(0)
        calls.close()
        with pytest.raises(Unreachable):
            await waiting
        go_on.set()
        assert await asyncio.gather(*under_way) == [True] * CONNECTIONS

    asyncio.run(act())


def test_closed_connection_is_told_at_once() -> None:
    async def act() -> None:
        calls = Calls(20.0)
        calls.close()
        with pytest.raises(Unreachable):
            await calls.change(lambda: True)

    asyncio.run(act())


def test_who_stops_waiting_is_cancelled_also_after_the_connection_was_closed() -> None:
    async def act() -> None:
        go_on, begun = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            assert go_on.wait(20)

        calls = Calls(20.0)
        asked = asyncio.create_task(calls.change(work))
        assert await asyncio.to_thread(begun.wait, 20)
        calls.close()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        go_on.set()

    asyncio.run(act())
