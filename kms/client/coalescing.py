"""Calls that are made at about the same time, put together into batches.

    async with AsyncCoalescer(client) as together:
        await together.encrypt(key, b"...")

Each caller gets its own answer or error, as from the client. The first request on a key waits a moment for
others of its kind, then all go in one call.
"""

import asyncio
import concurrent.futures
import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar

from google.protobuf.message import Message

from kms.client.calls import (
    MAX_ITEMS,
    MAX_REQUEST,
    Call,
    destination_of,
    of_items,
    split_name,
    to_item,
)
from kms.client.client import AsyncKmsClient, AsyncOperations, KmsClient, Operations
from kms.client.errors import CallFailed
from kms.client.operations import Request

R = TypeVar("R")
F = TypeVar("F", asyncio.Future[Any], concurrent.futures.Future[Any])

# In a message: the tag and the length of one of its fields.
FIELD = 5
MAX_WAIT = 0.001

_Group: TypeAlias = tuple[type[Request[Any]], str, str]


class Signal(Protocol):
    """An event, of threads or of asyncio."""

    def set(self) -> None: ...


@dataclass(slots=True, eq=False)
class Batch(Generic[F]):
    """Requests of one kind on one key, and who waits for each. `ready` is set when nobody else fits."""

    group: _Group
    ready: Any
    size: int
    items: list[tuple[Message, F]] = field(default_factory=list)

    def prepare(self, *, checksums: bool) -> Call[list[Any | CallFailed]] | None:
        """The call for those who still wait; None if nobody does."""
        self.items = [(message, future) for message, future in self.items if not future.done()]
        if not self.items:
            return None
        return of_items(*self.group, [message for message, _ in self.items], checksums=checksums)

    def answer(self, results: Sequence[Any]) -> None:
        for (_, future), result in zip(self.items, results, strict=True):
            if isinstance(result, CallFailed):
                _fail(future, result)
            elif not future.done():
                future.set_result(result)

    def fail(self, error: Exception) -> None:
        """To each an error of its own: one that is raised twice collects the tracebacks of both."""
        for _, future in self.items:
            _fail(future, copy.copy(error))


def _fail(future: asyncio.Future[Any] | concurrent.futures.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class Gathering(Generic[F]):
    """The batches that others may still join. Safe for threads."""

    def __init__(self, max_items: int, *, future: Callable[[], F], signal: Callable[[], Signal]) -> None:
        """Raises `ValueError` unless `max_items` is from 1 to 1,000."""
        if not 1 <= max_items <= MAX_ITEMS:
            raise ValueError(f"max_items must be from 1 to {MAX_ITEMS}")
        self._max_items = max_items
        self._future: Callable[[], F] = future
        self._signal = signal
        self._lock = threading.Lock()
        self._open: dict[_Group, Batch[F]] = {}
        self._unanswered: set[Batch[F]] = set()
        self._is_closed = False

    def join(self, name: str, request: Request[Any], *, checksums: bool) -> tuple[F, Batch[F] | None]:
        """What the caller waits for, and the batch if it is a new one, which the caller then sees to.

        Raises `ValueError` once all is closed.
        """
        key, item_name = split_name(name)
        group = type(request), key, destination_of(request)
        message, future = to_item(request, item_name, checksums=checksums), self._future()
        size = FIELD + message.ByteSize()
        with self._lock:
            if self._is_closed:
                raise ValueError("the coalescer is closed")
            batch, begun = self._open.get(group), None
            if batch is None or batch.size + size > MAX_REQUEST:
                if batch is not None:
                    batch.ready.set()
                begun = batch = Batch(
                    group, self._signal(), sum(FIELD + len(part.encode()) for part in group[1:])
                )
                self._open[group] = batch
                self._unanswered.add(batch)
            batch.items.append((message, future))
            batch.size += size
            if len(batch.items) == self._max_items:
                del self._open[group]
                batch.ready.set()
        return future, begun

    def leave(self, batch: Batch[F]) -> None:
        """Nobody joins the batch any more."""
        with self._lock:
            if self._open.get(batch.group) is batch:
                del self._open[batch.group]

    def end(self, batch: Batch[F]) -> None:
        """Whoever was left without an answer, because who saw to the batch was interrupted, gets an error."""
        self.leave(batch)
        batch.fail(CallFailed("the call was broken off before its answer"))
        with self._lock:
            self._unanswered.discard(batch)

    def close(self) -> list[F]:
        """Nobody joins any more, and nobody waits for others. What is waited for still."""
        with self._lock:
            self._is_closed = True
            for batch in self._open.values():
                batch.ready.set()
            self._open.clear()
            return [future for batch in self._unanswered for _, future in batch.items]


class Coalescer(Operations):
    """The operations of a client for many threads, in batches.

    A request waits up to `max_wait` seconds for others; the thread that began a batch makes its call.
    """

    def __init__(self, client: KmsClient, *, max_wait: float = MAX_WAIT, max_items: int = MAX_ITEMS) -> None:
        """The client stays the caller's to close. Raises `ValueError` as `Gathering`."""
        self._client = client
        self._max_wait = max_wait
        self._gathering = Gathering(max_items, future=concurrent.futures.Future[Any], signal=threading.Event)

    def run(self, name: str, request: Request[R], /) -> R:
        """Raises as `KmsClient.run`, and `ValueError` once it is closed."""
        future, begun = self._gathering.join(name, request, checksums=self._client.checksums)
        if begun is not None:
            self._see_to(begun)
        answer: R = future.result()
        return answer

    def _see_to(self, batch: Batch[concurrent.futures.Future[Any]]) -> None:
        try:
            batch.ready.wait(self._max_wait)
            self._gathering.leave(batch)
            call = batch.prepare(checksums=self._client.checksums)
            if call is not None:
                results: list[Any] = self._client.make(call)
                batch.answer(results)
        except Exception as error:
            batch.fail(error)
        finally:
            self._gathering.end(batch)

    def close(self) -> None:
        """Sends what waits, and returns when all is answered. Later requests raise `ValueError`."""
        concurrent.futures.wait(self._gathering.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncCoalescer(AsyncOperations):
    """The operations of a client for many tasks of one event loop, in batches.

    A request waits up to `max_wait` seconds for others. A caller that is cancelled disturbs nobody else.
    """

    def __init__(
        self, client: AsyncKmsClient, *, max_wait: float = MAX_WAIT, max_items: int = MAX_ITEMS
    ) -> None:
        """The client stays the caller's to close. Raises `ValueError` as `Gathering`."""
        self._client = client
        self._max_wait = max_wait
        self._gathering = Gathering(
            max_items, future=lambda: asyncio.get_running_loop().create_future(), signal=asyncio.Event
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, name: str, request: Request[R], /) -> R:
        """Raises as `AsyncKmsClient.run`, and `ValueError` once it is closed."""
        future, begun = self._gathering.join(name, request, checksums=self._client.checksums)
        if begun is not None:
            task = asyncio.create_task(self._see_to(begun))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answer: R = await future
        return answer

    async def _see_to(self, batch: Batch[asyncio.Future[Any]]) -> None:
        timer = asyncio.get_running_loop().call_later(self._max_wait, batch.ready.set)
        try:
            await batch.ready.wait()
            self._gathering.leave(batch)
            call = batch.prepare(checksums=self._client.checksums)
            if call is not None:
                results: list[Any] = await self._client.make(call)
                batch.answer(results)
        except Exception as error:
            batch.fail(error)
        finally:
            timer.cancel()
            self._gathering.end(batch)

    async def close(self) -> None:
        """Sends what waits, and returns when all is answered. Later requests raise `ValueError`."""
        self._gathering.close()
        await asyncio.gather(*self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
