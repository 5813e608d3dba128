"""A Wingman that serves, in a thread of the tests, and programs that call it."""

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.kms_harness import RunningKms
from server.server_harness import EventLoop

from blindfold.forms import to_location
from wingman.configuration import Configuration, parse_configuration
from wingman.serving import Served, serve_until
from wingman.unix_http import UnixConnection

PATIENCE = 20.0
# Nothing listens here: port 1 is privileged and long forgotten.
NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Sidecar:
    """`socket` and `port` are where it listens."""

    socket: str
    port: int

    def connection(self) -> http.client.HTTPConnection:
        return UnixConnection(self.socket, PATIENCE)

    def tcp_connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: object = None, *, tcp: bool = False, **headers: str
    ) -> Answer:
        """A body that is no bytes is sent as JSON. `user_agent` is the header `user-agent`."""
        connection = self.tcp_connection() if tcp else self.connection()
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, sent, named)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, response.read())
        finally:
            connection.close()

    def get(self, path: str, **how: Any) -> Answer:
        return self.ask("GET", path, **how)

    def post(self, path: str, body: object, **how: Any) -> Answer:
        return self.ask("POST", path, body, **how)

    def unseal(self, sealed: bytes, **how: Any) -> Answer:
        return self.post("/secret/unseal", {"type": "blindfold", "location": to_location(sealed)}, **how)

    def wait_for(self, state: str) -> None:
        wait_until(lambda: self.get("/status").text == state)


def wait_until(holds: Callable[[], bool]) -> None:
    """Fails after some time; how long it takes is not what is tested."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def configuration(kms: RunningKms, directory: Path, who: str = "web", **members: Any) -> Configuration:
    """Of a Wingman that is one of PEOPLE."""
    told = {"server": kms.target, "socket": str(directory / "wingman.sock")}
    if "credentials" not in members:
        told["credentials"] = str(kms.credentials(who))
    return parse_configuration(told | members)


@contextmanager
def serving(how: Configuration) -> Iterator[Sidecar]:
    loop = EventLoop()
    try:
        with _serving_in(loop, how) as sidecar:
            yield sidecar
    finally:
        loop.close()


@contextmanager
def _serving_in(loop: EventLoop, how: Configuration) -> Iterator[Sidecar]:
    async def start() -> tuple[asyncio.Event, "asyncio.Task[None]", Served]:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve_until(stop, how, ready.set_result))
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await task
        return stop, task, ready.result()

    async def end(stop: asyncio.Event, task: "asyncio.Task[None]") -> None:
        stop.set()
        await task

    stop, task, served = loop.run(start())
    try:
        yield Sidecar(served.socket, served.port)
    finally:
        loop.run(end(stop, task))


@contextmanager
def ready_sidecar(kms: RunningKms, directory: Path, who: str = "web", **members: Any) -> Iterator[Sidecar]:
    with serving(configuration(kms, directory, who, **members)) as sidecar:
        sidecar.wait_for("READY")
        yield sidecar
