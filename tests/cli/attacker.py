"""Somebody who speaks HTTP/2 by hand, and badly (RFC 9113, section 4.1)."""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PATIENCE = 15.0
CONTENT_TYPE = ("content-type", "application/grpc")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header(name: str, value: str) -> bytes:
    """A literal that is not indexed, with a new name (RFC 7541, section 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data, length = text.encode(), len(text.encode())
    if length < 127:
        return bytes([length]) + data
    prefix, rest = b"\x7f", length - 127
    while rest >= 128:
        prefix += bytes([rest % 128 + 128])
        rest //= 128
    return prefix + bytes([rest]) + data


def headers_of_call(method: str, *more: tuple[str, str]) -> bytes:
    fields = [
        (":method", "POST"), (":scheme", "https"), (":path", method), (":authority", "localhost"),
        CONTENT_TYPE, ("te", "trailers"), *more,
    ]  # fmt: skip
    return b"".join(header(*field) for field in fields)


@dataclass(frozen=True)
class Attacker:
    """`credentials` are the directory of somebody who may connect."""

    port: int
    credentials: Path

    def connect(self, alpn: str | None = "h2") -> ssl.SSLSocket:
        return _context(self.credentials, alpn).wrap_socket(self.plain())

    def plain(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def send(self, *pieces: bytes) -> bytes:
        """What the server answers to a connection that begins rightly and goes on so, until a PING.

        Less, if the server ends the connection.
        """
        return self._send(b"".join(pieces) + frame(PING, 0, 0, bytes(8)), lambda kind, flags: kind == PING)

    def call(self, sent: bytes) -> bytes:
        """What the server answers to a connection with one call, until that has ended. As `send`."""
        return self._send(
            sent, lambda kind, flags: kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM)
        )

    def _send(self, sent: bytes, is_end: Callable[[int, int], object]) -> bytes:
        heard = b""
        with self.connect() as connection, suppress(ConnectionError, ssl.SSLError):
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + sent)
            for kind, flags, payload in _frames(connection):
                heard += payload
                if is_end(kind, flags):
                    break
        return heard


@cache
def _context(credentials: Path, alpn: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=credentials / "ca.pem")
    context.check_hostname = False
    context.load_cert_chain(credentials / "cert.pem", credentials / "key.pem")
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def _frames(connection: ssl.SSLSocket) -> Iterator[tuple[int, int, bytes]]:
    with connection.makefile("rb") as file:
        while len(head := file.read(9)) == 9:
            yield head[3], head[4], file.read(int.from_bytes(head[:3], "big"))
