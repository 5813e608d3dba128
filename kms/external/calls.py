"""Blocking requests, asked for from an event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import tenacity

from kms.external.errors import ExternalFailed, Repeat, TimedOut, Unreachable
from kms.external.session import CONNECTIONS

T = TypeVar("T")

ATTEMPTS = 4
READING = (Repeat.READS, Repeat.ALWAYS)
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Calls:
    """Requests in a thread for each connection, each within `seconds`, repeated where that does no harm."""

    def __init__(self, seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._seconds = seconds
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(CONNECTIONS, "external")
        self._closed = False

    async def read(self, act: Callable[[], T]) -> T:
        """One that changes nothing. Raises `ExternalFailed`, as all do."""
        return await self._repeated(act, READING)

    async def change(self, act: Callable[[], T]) -> T:
        """One that is not to be done twice."""
        return await self._repeated(act, (Repeat.ALWAYS,))

    def close(self) -> None:
        """What waits for a thread raises `Unreachable`, and so does what is asked for later."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _repeated(self, act: Callable[[], T], kinds: tuple[Repeat, ...]) -> T:
        return await repeated(partial(self._once, act), kinds, self._seconds, self._sleep)

    async def _once(self, act: Callable[[], T]) -> T:
        try:
            work = self._threads.submit(act)
            return await within(self._seconds, asyncio.wrap_future(work))
        except RuntimeError:
            # Of a pool that is shut down.
            if not self._closed:
                raise
        except asyncio.CancelledError:
            if not self._closed or _is_cancelled():
                raise
        raise Unreachable("the connection was closed meanwhile")


async def repeated(
    act: Callable[[], Awaitable[T]],
    kinds: Collection[Repeat],
    seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Do it, and again after failures of these kinds. Raises the last one.

    A server that says when to come again is believed if that is within `seconds`. None is asked again after
    twice as long.
    """

    def is_worth_another(error: BaseException) -> bool:
        return (
            isinstance(error, ExternalFailed)
            and error.repeat in kinds
            and (error.retry_after or 0.0) <= seconds
        )

    async def attempt() -> T:
        return await act()

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_worth_another),
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(2 * seconds),
        wait=_pause,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(attempt)


async def within(seconds: float, done: Awaitable[T]) -> T:
    """Raises `TimedOut`."""
    try:
        async with asyncio.timeout(seconds):
            return await done
    except TimeoutError:
        pass
    raise TimedOut("the server does not answer in time")


def _is_cancelled() -> bool:
    """Whether it is the task itself that is to end, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_drawn = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    told = error.retry_after if isinstance(error, ExternalFailed) else None
    return _drawn(state) if told is None else told
