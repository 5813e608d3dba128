"""The pages for monitors."""

import asyncio
import http.client
from collections.abc import Callable
from typing import Any

import pytest

from kms.errors import ConfigError
from kms.server.monitoring import Monitoring


def ask(ready: bool, act: Callable[[int], Any]) -> Any:
    async def run() -> Any:
        monitoring = Monitoring(lambda: ready, lambda: b"numbers\n")
        port = await monitoring.start("127.0.0.1:0")
        try:
            return await asyncio.to_thread(act, port)
        finally:
            await monitoring.stop()

    return asyncio.run(run())


def get(path: str, method: str = "GET") -> Callable[[int], tuple[int, bytes, str | None]]:
    def act(port: int) -> tuple[int, bytes, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path)
        response = connection.getresponse()
        answer = response.status, response.read(), response.getheader("server")
        connection.close()
        return answer

    return act


@pytest.mark.parametrize(
    ("path", "ready", "status", "body"),
    [
        ("/livez", True, 200, b"ok\n"),
        ("/livez", False, 200, b"ok\n"),
        ("/readyz", True, 200, b"ok\n"),
        ("/readyz", False, 503, b"not serving\n"),
        ("/healthz", True, 200, b"ok\n"),
        ("/healthz", False, 503, b"not serving\n"),
        ("/metrics", False, 200, b"numbers\n"),
        ("/", True, 404, b"not found\n"),
        ("/healthz/../metrics", True, 404, b"not found\n"),
    ],
)
def test_pages_say_whether_it_lives_and_serves(path: str, ready: bool, status: int, body: bytes) -> None:
    assert ask(ready, get(path)) == (status, body, None)


def test_only_reading_is_possible() -> None:
    assert ask(True, get("/healthz", "POST"))[0] == 405
    assert ask(True, get("/healthz", "HEAD"))[:2] == (200, b"")


def test_a_taken_address_is_a_clear_error() -> None:
    def again(port: int) -> None:
        asyncio.run(Monitoring(lambda: True, bytes).start(f"127.0.0.1:{port}"))

    with pytest.raises(ConfigError, match="is it taken"):
        ask(True, again)


def test_stopping_what_never_started_is_nothing() -> None:
    asyncio.run(Monitoring(lambda: True, bytes).stop())
