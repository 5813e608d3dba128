"""Blocking requests, asked for from an event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import tenacity

from kms.external.errors import ExternalFailed, Repeat, TimedOut
from kms.external.session import CONNECTIONS

T = TypeVar("T")

ATTEMPTS = 4
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Calls:
    """Requests in a thread for each connection, each within `seconds`, repeated where that does no harm.

    A server that says when to come again is believed if that is within `seconds`.
    """

    def __init__(self, seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._seconds = seconds
        self._sleep = sleep
        self._threads = ThreadPoolExecutor(CONNECTIONS, "external")

    async def read(self, act: Callable[[], T]) -> T:
        """One that changes nothing. Raises `ExternalFailed`, as all do."""
        return await self._repeated(act, (Repeat.READS, Repeat.ALWAYS))

    async def change(self, act: Callable[[], T]) -> T:
        """One that is not to be done twice."""
        return await self._repeated(act, (Repeat.ALWAYS,))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _repeated(self, act: Callable[[], T], kinds: tuple[Repeat, ...]) -> T:
        def is_worth_another(error: BaseException) -> bool:
            return (
                isinstance(error, ExternalFailed)
                and error.repeat in kinds
                and (error.retry_after or 0.0) <= self._seconds
            )

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_worth_another),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(self._once, act)

    async def _once(self, act: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, act)
        except TimeoutError:
            pass
        raise TimedOut("the server does not answer in time")


_drawn = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    told = error.retry_after if isinstance(error, ExternalFailed) else None
    return _drawn(state) if told is None else told
