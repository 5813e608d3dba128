"""What monitors ask over plain HTTP: whether the server lives, whether it serves, and its metrics.

`GET /livez` is 200 as long as the process answers; `GET /readyz` and `GET /healthz` are 200 while calls are
served and 503 otherwise; `GET /metrics` is in Prometheus's form. HEAD is answered alike, anything else is 404
or 405.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from kms.errors import ConfigError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
IsReady = Callable[[], bool]
ReadMetrics = Callable[[], bytes]

# As Prometheus's text form wants it, and good for the other pages too.
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

CONNECTIONS = 100
IDLE_SECONDS = 5
STOP_SECONDS = 2


class Pages:
    """The ASGI application."""

    def __init__(self, is_ready: IsReady, metrics: ReadMetrics) -> None:
        self._pages: dict[str, IsReady] = {"/livez": lambda: True, "/readyz": is_ready, "/healthz": is_ready}
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, body = self._answer(scope["method"], scope["path"])
        headers = [
            (b"content-type", CONTENT_TYPE),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, method: str, path: str) -> tuple[int, bytes]:
        page = self._pages.get(path)
        if page is None and path != "/metrics":
            return 404, b"not found\n"
        if method not in ("GET", "HEAD"):
            return 405, b"method not allowed\n"
        if page is None:
            return 200, self._metrics()
        return (200, b"ok\n") if page() else (503, b"not serving\n")


class _Server(uvicorn.Server):
    """Without handlers of signals, which are the process's own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Monitoring:
    """A listener, started and stopped once, in the loop that serves."""

    def __init__(self, is_ready: IsReady, metrics: ReadMetrics) -> None:
        self._pages = Pages(is_ready, metrics)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, address: str) -> int:
        """Listen on `host:port`; the port. Raises `ConfigError` if it is taken."""
        host, _, port = address.rpartition(":")
        config = uvicorn.Config(
            self._pages,
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = _Server(config)
        bound = _bind(host.strip("[]"), int(port))
        if bound is None:
            raise ConfigError(f"cannot listen on {address}: is it taken?")
        self._task = asyncio.create_task(self._server.serve([bound]))
        return int(bound.getsockname()[1])

    async def stop(self) -> None:
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await self._task


def _bind(host: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError:
        return None
