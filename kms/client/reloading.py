"""One channel for all calls, replaced when the credentials in its directory have been.

A renewal is followed without a restart. Calls under way end on the channel they began on; nothing is read but
at a call, and then at most once a second.
"""

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import grpc

from kms.client.channel import async_channel_as, channel_as
from kms.client.credentials import Credentials, CredentialsDirectory
from kms.errors import ConfigError

EVERY = 1.0

C = TypeVar("C")


@dataclass(slots=True, eq=False)
class Held(Generic[C]):
    """A channel, and how many calls are on it."""

    channel: C
    credentials: Credentials
    calls: int = 0


class Reloading(Generic[C]):
    """Which channel a call begins on. Safe for threads.

    While the files are missing, unreadable or half-written, the channel at hand serves on. They are not
    looked at again for `every` seconds of `clock`.
    """

    def __init__(
        self,
        directory: Path,
        connect: Callable[[Credentials], C],
        *,
        clock: Callable[[], float] = time.monotonic,
        every: float = EVERY,
    ) -> None:
        """Raises `ConfigError` for credentials that cannot be used from the beginning."""
        self._directory = CredentialsDirectory(directory)
        self._connect = connect
        self._clock = clock
        self._every = every
        self._lock = threading.Lock()
        self._current: Held[C] | None = None
        self._replaced: list[Held[C]] = []
        self._is_closed = False
        self._next_look = clock() + every
        self._credentials = self._directory.current()

    def begin(self) -> Held[C]:
        """The channel for a call, to be given to `end` after it. Raises `ValueError` once all is closed."""
        with self._lock:
            if self._is_closed:
                raise ValueError("the client is closed")
            self._look()
            if self._current is None or self._current.credentials is not self._credentials:
                if self._current is not None:
                    self._replaced.append(self._current)
                self._current = Held(self._connect(self._credentials), self._credentials)
            self._current.calls += 1
            return self._current

    def end(self, held: Held[C]) -> list[C]:
        """Channels that were replaced and have no call left: for the caller to close."""
        with self._lock:
            held.calls -= 1
            idle = [item.channel for item in self._replaced if not item.calls]
            self._replaced = [item for item in self._replaced if item.calls]
            return idle

    def close(self) -> list[C]:
        """All channels, for the caller to close. No call begins any more."""
        with self._lock:
            self._is_closed = True
            held = [*self._replaced, *([self._current] if self._current else [])]
            self._current, self._replaced = None, []
            return [item.channel for item in held]

    def _look(self) -> None:
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + self._every
        try:
            self._credentials = self._directory.current()
        except ConfigError:
            return


class ReloadingChannel:
    """`with channel.lease() as current:` makes a call on the channel that is current then."""

    def __init__(
        self, target: str, directory: Path, *, server_name: str | None = None, every: float = EVERY
    ) -> None:
        """As `open_channel`; connected at the first call."""
        self._reloading = Reloading(
            directory, lambda credentials: channel_as(credentials, target, server_name), every=every
        )

    @contextmanager
    def lease(self) -> Iterator[grpc.Channel]:
        """Raises `ValueError` once the channel is closed."""
        held = self._reloading.begin()
        try:
            yield held.channel
        finally:
            for idle in self._reloading.end(held):
                idle.close()

    def close(self) -> None:
        """Ends calls under way too."""
        for channel in self._reloading.close():
            channel.close()


class AsyncReloadingChannel:
    """As `ReloadingChannel`, for asyncio."""

    def __init__(
        self, target: str, directory: Path, *, server_name: str | None = None, every: float = EVERY
    ) -> None:
        self._reloading = Reloading(
            directory, lambda credentials: async_channel_as(credentials, target, server_name), every=every
        )

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[grpc.aio.Channel]:
        held = self._reloading.begin()
        try:
            yield held.channel
        finally:
            for idle in self._reloading.end(held):
                await idle.close(None)

    async def close(self) -> None:
        for channel in self._reloading.close():
            await channel.close(None)
