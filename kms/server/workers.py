"""Threads for what would block the event loop: private operations, and waiting for the store."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")


class Workers:
    """A fixed number of threads. `initializer` runs once in each, before its first work."""

    def __init__(self, threads: int, initializer: Callable[[], None] | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, "kms-worker", initializer)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """The function's result. Once begun it runs to its end, even if the call that asked is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
