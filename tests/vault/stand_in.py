"""A stand-in for a Vault or OpenBao server, written from the public documentation of its HTTP API.

It refuses what such a server refuses. It serves https with a certificate of a test authority, asks clients
for certificates, and has the faults that a real server cannot be talked into.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from server.server_harness import Authority
from vault.exchange import MAX_BODY, Bare, Refusal, Request, parse_body
from vault.system import System
from vault.token_store import TokenStore


@dataclass
class Fault:
    """What the server does instead of answering, so many times.

    Status 0 hangs up; `hold` waits before; `trickle` never ends the head.
    """

    status: int = 0
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b'{"errors":["fault"]}'
    path: str = ""
    hold: threading.Event | None = None
    trickle: threading.Event | None = None


@dataclass
class StandIn:
    """`requests` are the methods and paths of those that came, faults included."""

    system: System
    authority: Authority
    address: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0

    @property
    def root(self) -> str:
        return self.system.tokens.root.id

    def fault_of(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.path in path:
                fault.times -= 1
                return fault
        return None


@contextmanager
def stand_in(directory: Path, authority: Authority) -> Iterator[StandIn]:
    """Serving https, until the block ends."""
    server = StandIn(System(TokenStore()), authority)
    key, chain = authority.issue("vault")
    (directory / "vault-key.pem").write_bytes(key)
    (directory / "vault-cert.pem").write_bytes(chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "vault-cert.pem", directory / "vault-key.pem")
    # Asked for, not required: the method `cert` judges it. Python can only ask for what it then verifies.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority.pem.decode())
    with _serving(type("Handler", (_Handler,), {"server_of": server}), context) as port:
        server.address = f"https://127.0.0.1:{port}"
        yield server


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext) -> Iterator[int]:
    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[Any, Any]:
            plain, address = super().get_request()
            # The handshake is the thread's: a client that waits must not keep others out.
            return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, *_: Any) -> None:
            """Clients that hang up are no news."""

    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Of the server that a subclass names."""

    server_of: StandIn
    protocol_version = "HTTP/1.1"
    timeout = 30

    def setup(self) -> None:
        super().setup()
        self.server_of.connections += 1

    def __getattr__(self, name: str) -> Any:
        """Every method has one handler."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if size > MAX_BODY:
            self._send(413, {"errors": ["http: request body too large"]})
            return
        raw = self.rfile.read(size)
        self.server_of.requests.append((self.command, unquote(urlsplit(self.path).path)))
        fault = self.server_of.fault_of(self.path)
        if fault is not None:
            self._fail(fault)
            return
        try:
            status, body = _reply(self.server_of.system, self._request(raw))
        except (Refusal, Bare) as refusal:
            status, body = refusal.status, refusal.body
        self._send(status, body)

    def _request(self, raw: bytes) -> Request:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("x-vault-request") != "true":
            raise Refusal(412, "missing 'X-Vault-Request' header")
        if not parts.path.startswith("/v1/") or "//" in parts.path:
            raise Refusal(404)
        query = dict(parse_qsl(parts.query))
        path = unquote(parts.path.removeprefix("/v1/"))
        peer = self.connection.getpeercert(binary_form=True)
        return Request(self.command, path, query, headers, parse_body(raw), peer)

    def _fail(self, fault: Fault) -> None:
        if fault.hold is not None:
            fault.hold.wait(30)
        if fault.trickle is not None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-long: ")
            while not fault.trickle.wait(0.02):
                self.wfile.write(b"x")
        elif fault.status:
            self._send(fault.status, fault.content, fault.headers)
        else:
            self.close_connection = True

    def _send(
        self, status: int, body: dict[str, Any] | bytes | None, headers: dict[str, str] | None = None
    ) -> None:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        shown = {"content-type": "application/json", "cache-control": "no-store"} | (headers or {})
        if status != 204:
            shown["content-length"] = str(len(content))
        for name, value in shown.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _reply(system: System, request: Request) -> tuple[int, dict[str, Any] | None]:
    inner, request = system.within(request)
    reply = inner.answer(request)
    if reply.raw is not None:
        return 200, dict(reply.raw)
    return (204, None) if reply.is_empty else (200, reply.envelope())
