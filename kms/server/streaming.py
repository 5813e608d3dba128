"""Serving the messages of a client's stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


async def in_order(
    requests: AsyncIterator[Q], serve: Callable[[Q], Coroutine[Any, Any, A]], at_once: int
) -> AsyncGenerator[A]:
    """The answers in the order of the requests, of which up to `at_once` are served at the same time.

    What serve raises, it raises in the place of that answer; what requests raises, after all answers.
    """
    free = asyncio.Semaphore(at_once)
    begun: asyncio.Queue[asyncio.Task[A] | None] = asyncio.Queue()

    async def read() -> None:
        async for request in requests:
            await free.acquire()
            begun.put_nowait(asyncio.create_task(serve(request)))

    reader = asyncio.create_task(read())
    reader.add_done_callback(lambda _: begun.put_nowait(None))
    try:
        while (task := await begun.get()) is not None:
            yield await task
            free.release()
        await reader
    finally:
        left = [reader, *_left(begun)]
        for task_left in left:
            task_left.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _left(begun: "asyncio.Queue[asyncio.Task[A] | None]") -> Iterator["asyncio.Task[A]"]:
    while not begun.empty():
        task = begun.get_nowait()
        if task is not None:
            yield task
