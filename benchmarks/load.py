"""Calls of CryptoService in number, for who measures what they cost the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kms  # noqa: F401

# isort: split
import grpc
from google.protobuf.message import Message

from benchmarks.processor_time import of_process
from benchmarks.server import Running
from kms.client.channel import open_async_channel
from protos.kms.v1 import crypto_batch_pb2, crypto_pb2

CRYPTO = "kms.v1.CryptoService"
CALLERS = 32


def messages(method: str) -> tuple[Any, Any]:
    """The request and the answer of a method."""
    module = crypto_batch_pb2 if method.startswith("Batch") else crypto_pb2
    return getattr(module, f"{method}Request"), getattr(module, f"{method}Response")


class Load:
    """A client that sends the same requests, one after the other, by so many callers at once."""

    def __init__(
        self,
        running: Running,
        credentials: Path,
        method: str,
        requests: Sequence[Message],
        service: str = CRYPTO,
    ) -> None:
        self._running = running
        self._credentials = credentials
        self._path = f"/{service}/{method}"
        self._request, self._answer = messages(method)
        self._requests = requests

    def _method(self, channel: grpc.aio.Channel) -> Any:
        return channel.unary_unary(
            self._path,
            request_serializer=self._request.SerializeToString,
            response_deserializer=self._answer.FromString,
        )

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
        """A function that sends the first request and waits for its answer, on a connection of its own."""
        async with open_async_channel(self._running.target, self._credentials) as channel:
            call = self._method(channel)
            yield lambda: call(self._requests[0])

    async def once(self, request: Message) -> Any:
        """One call's answer."""
        async with open_async_channel(self._running.target, self._credentials) as channel:
            return await self._method(channel)(request)

    async def calls_per_cpu_second(self, count: int, callers: int = CALLERS) -> float:
        """For each second of the server's processor time, user and system, after a call of each request."""
        async with open_async_channel(self._running.target, self._credentials) as channel:
            call = self._method(channel)
            for request in self._requests:
                check(await call(request))

            async def caller(number: int) -> None:
                for turn in range(count // callers):
                    await call(self._requests[(number + turn) % len(self._requests)])

            before = of_process(self._running.pid)
            await asyncio.gather(*[caller(number) for number in range(callers)])
            return count // callers * callers / (of_process(self._running.pid) - before)


def check(answer: Any) -> None:
    """Raise if an item of a batch was refused: a refusal is quick, and no measure of anything."""
    for result in getattr(answer, "results", ()):
        if not result.HasField("response"):
            raise AssertionError(f"the server refused an item: {result.error.message}")
