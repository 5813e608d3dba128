"""Work in threads that nobody waits for."""

import asyncio
import threading

import pytest

from wingman.abandonable import abandonable


def test_result_and_failure_are_those_of_the_work() -> None:
    assert asyncio.run(abandonable(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(abandonable(lambda: 1 // 0))


def test_loop_ends_while_the_work_hangs_and_its_end_does_no_harm() -> None:
    go, ended = threading.Event(), threading.Event()
    started: list[threading.Thread] = []

    def hang() -> None:
        started.append(threading.current_thread())
        go.wait()
        ended.set()

    async def leave() -> None:
        waiting = asyncio.create_task(abandonable(hang))
        while not started:
            await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave())
    assert not ended.is_set()
    go.set()
    started[0].join()
    assert ended.is_set()


def test_whoever_waits_no_longer_is_not_told() -> None:
    go = threading.Event()
    started: list[threading.Thread] = []

    def hang() -> None:
        started.append(threading.current_thread())
        go.wait()

    async def leave_and_stay() -> None:
        waiting = asyncio.create_task(abandonable(hang))
        while not started:
            await asyncio.sleep(0)
        waiting.cancel()
        go.set()
        await asyncio.to_thread(started[0].join)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(leave_and_stay())
