"""One GET of HTTP/1.1 on a connection of its own, bounded in size. Nothing of it is logged."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import h11

_PIECE = 16 << 10


class TooLong(Exception):
    """More than the caller wants."""


@dataclass(frozen=True, slots=True)
class Got:
    """`retry_after` is that header's text, "" without it; `body` is empty for anything but a 200."""

    status: int
    retry_after: str
    body: bytes


async def get(
    host: str,
    port: int,
    target: str,
    headers: Mapping[str, str],
    context: ssl.SSLContext | None,
    most: int,
    *,
    server_name: str = "",
) -> Got:
    """`target` is path and query; `context` verifies the server, None is for plain HTTP.

    Raises `OSError`, `h11.ProtocolError`, and `TooLong` for a body of more than `most` bytes. The time it may
    take is the caller's to bound.
    """
    verified = None if context is None else server_name or host
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=verified)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PIECE)
        given = [*headers.items(), ("connection", "close")]
        for event in (h11.Request(method="GET", target=target, headers=given), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _answer(connection, reader, most)
    finally:
        # Not closed in order: that would wait for the other side.
        writer.transport.abort()


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader, most: int) -> Got:
    status, retry_after, body = 0, "", bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_PIECE))
        elif isinstance(event, h11.Response):
            status = event.status_code
            retry_after = dict(event.headers).get(b"retry-after", b"").decode("latin-1")
            if status != 200:
                return Got(status, retry_after, b"")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > most:
                raise TooLong
        elif isinstance(event, h11.EndOfMessage):
            return Got(status, retry_after, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError
