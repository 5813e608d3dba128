"""Reading a document over HTTPS: bounded in size and time, from allowed hosts alone, never redirected."""

import asyncio
import ssl
from collections.abc import Collection

import h11

from kms.errors import ConfigError, Unavailable
from kms.external.endpoint import Endpoint

TIMEOUT = 10.0
MAX_DOCUMENT = 64 << 10
_PIECE = 16 << 10


class HttpsReader:
    """`context` verifies servers; `seconds` bound a whole reading, names and handshakes included."""

    def __init__(self, hosts: Collection[str], context: ssl.SSLContext, seconds: float = TIMEOUT) -> None:
        self._hosts = frozenset(hosts)
        self._context = context
        self._seconds = seconds

    async def __call__(self, url: str) -> bytes:
        """The body of a plain 200, at most 64 KiB. Raises `Unavailable`, a redirect included."""
        try:
            endpoint = Endpoint.parse(url, self._hosts, "what is to be read")
            async with asyncio.timeout(self._seconds):
                return await self._read(endpoint)
        except ConfigError as error:
            problem = error.message
        except (OSError, ValueError, h11.ProtocolError) as error:
            problem = f"{url[:256]} cannot be read: {type(error).__name__}"
        raise Unavailable(problem)

    async def _read(self, endpoint: Endpoint) -> bytes:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=self._context)
        try:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PIECE)
            headers = [
                ("host", _authority(endpoint)),
                ("accept", "application/json"),
                ("connection", "close"),
            ]
            request = h11.Request(method="GET", target=endpoint.path, headers=headers)
            for event in (request, h11.EndOfMessage()):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            return await _body(connection, reader)
        finally:
            # Not closed in order: that would wait for the other side.
            writer.transport.abort()


async def _body(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_PIECE))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise Unavailable(f"it answers {event.status_code}, not 200")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_DOCUMENT:
                raise Unavailable(f"it answers with more than {MAX_DOCUMENT} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            raise Unavailable("it hangs up without an answer")


def _authority(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == 443 else f"{host}:{endpoint.port}"
