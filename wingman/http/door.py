"""Who may come in by which listener, before any page is asked.

A browser on this machine can be led to any loopback address, by a name of the attacker's too (DNS rebinding).
So on the TCP listener the Host must be a loopback name; and no listener takes what a page of some origin
sends.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from wingman.http.answers import Failure, refusal

# Those that come slowly have no more before they are read.
HEADER_BYTES = 16 << 10

_LOOPBACK = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_REFUSED: Mapping[str, Failure] = MappingProxyType(
    {
        "host": Failure(403, "FOREIGN_HOST", "the Host header must be localhost, 127.0.0.1 or [::1]"),
        "origin": Failure(403, "ORIGIN", "requests of web pages are refused"),
        "size": Failure(400, "HEADERS_TOO_LARGE", "the headers have more than 16 KiB"),
    }
)


class Door:
    """`checks_host` for a TCP listener; on a unix socket the Host says nothing."""

    def __init__(self, app: ASGIApp, *, checks_host: bool) -> None:
        self._app = app
        self._checks_host = checks_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope["headers"])
        if not problem:
            await self._app(scope, receive, send)
            return
        await refusal(Request(scope), _REFUSED[problem])(scope, receive, send)

    def _problem(self, headers: list[tuple[bytes, bytes]]) -> str:
        """A key of `_REFUSED`, or "". Every Host counts, though HTTP allows but one."""
        if sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES:
            return "size"
        names = {name for name, _ in headers}
        if b"origin" in names or any(
            name == b"sec-fetch-site" and value != b"none" for name, value in headers
        ):
            return "origin"
        hosts = [value for name, value in headers if name == b"host"]
        if self._checks_host and not (hosts and all(map(_LOOPBACK.fullmatch, hosts))):
            return "host"
        return ""
