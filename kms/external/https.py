"""HTTPS with allowed hosts: a request and its answer, and reading a document. Never redirected."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import h11

from kms.errors import ConfigError, Unavailable
from kms.external.endpoint import Endpoint

TIMEOUT = 10.0
MAX_DOCUMENT = 64 << 10
_PIECE = 16 << 10

Headers = Sequence[tuple[str, str]]


class TooLong(Unavailable):
    """More bytes than the caller reads."""


class Exchange:
    """One request and its answer, on a connection of its own. All methods raise as `exchange`."""

    def __init__(
        self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PIECE)

    async def send(self, method: str, headers: Headers, body: bytes = b"") -> None:
        """To the endpoint's path."""
        own = [("host", _authority(self._endpoint)), ("connection", "close")]
        if body:
            own.append(("content-length", str(len(body))))
        request = h11.Request(method=method, target=self._endpoint.path, headers=[*own, *headers])
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._connection.send(event) or b"")
        await self._writer.drain()

    async def status(self) -> int:
        """The final status code. Raises `Unavailable` too, if the other side hangs up."""
        return (await self.head())[0]

    async def head(self) -> tuple[int, Mapping[bytes, bytes]]:
        """As `status`, with the headers by their names in lower case."""
        while not isinstance(event := await self._next(), h11.Response):
            if isinstance(event, h11.ConnectionClosed):
                raise Unavailable("it hangs up without an answer")
        return event.status_code, dict(event.headers)

    async def body(self, most: int) -> bytes:
        """What comes after the status. Raises `TooLong` too, for more bytes than `most`."""
        body = bytearray()
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
            if len(body) > most:
                raise TooLong(f"it answers with more than {most} bytes")
        return bytes(body)

    async def _next(self) -> object:
        while (event := self._connection.next_event()) is h11.NEED_DATA:
            self._connection.receive_data(await self._reader.read(_PIECE))
        return event


@asynccontextmanager
async def exchange(
    endpoint: Endpoint, context: ssl.SSLContext | None, seconds: float, server_name: str = ""
) -> AsyncIterator[Exchange]:
    """`context` verifies the server, by `server_name` instead of the endpoint's host if there is one; without
    it, there is no TLS. `seconds` bound all of it, names and handshakes included.

    Raises one of `FAULTS`: `OSError`, of which the timeout is one, `h11.ProtocolError`, and `ValueError` for
    a path that cannot be asked for.
    """
    async with asyncio.timeout(seconds):
        name = None if context is None else server_name or endpoint.host
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=context, server_hostname=name
        )
        try:
            yield Exchange(endpoint, reader, writer)
        finally:
            # Not closed in order: that would wait for the other side.
            writer.transport.abort()


FAULTS = (OSError, ValueError, h11.ProtocolError)


class HttpsReader:
    """Bounded in size and time, from allowed hosts alone. `context` and `seconds` as of `exchange`."""

    def __init__(self, hosts: Collection[str], context: ssl.SSLContext, seconds: float = TIMEOUT) -> None:
        self._hosts = frozenset(hosts)
        self._context = context
        self._seconds = seconds

    async def __call__(self, url: str) -> bytes:
        """The body of a plain 200, at most 64 KiB. Raises `Unavailable`, a redirect included."""
        try:
            endpoint = Endpoint.parse(url, self._hosts, "what is to be read")
            async with exchange(endpoint, self._context, self._seconds) as asked:
                await asked.send("GET", [("accept", "application/json")])
                status = await asked.status()
                if status != 200:
                    raise Unavailable(f"it answers {status}, not 200")
                return await asked.body(MAX_DOCUMENT)
        except ConfigError as error:
            problem = error.message
        except FAULTS as error:
            problem = f"{url[:256]} cannot be read: {type(error).__name__}"
        raise Unavailable(problem)


def _authority(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == 443 else f"{host}:{endpoint.port}"
