"""Servers that a vault asks itself: RabbitMQ's management API, and Kubernetes' review of tokens.

A real vault asks them as the stand-in does, if it runs on this machine.
"""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class RabbitMq:
    """`users` are those that live now."""

    address: str = ""
    users: dict[str, str] = field(default_factory=dict)

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, Any]:
        login = b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode()
        name = path.removeprefix("/api/users/")
        if login != "admin:bunny":
            return 401, {"error": "not_authorised"}
        if method == "GET":
            return 200, [{"name": user, "tags": ["management"]} for user in self.users]
        if method == "PUT":
            self.users[name] = body["password"]
            return 201, None
        self.users.pop(name, None)
        return 204, None


@dataclass
class Kubernetes:
    """`accounts` are the service accounts (namespace/name) of the tokens that are good."""

    address: str = ""
    accounts: dict[str, str] = field(default_factory=dict)

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, Any]:
        if (method, path) != ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"):
            return 404, {}
        account = self.accounts.get(body["spec"]["token"], "")
        namespace, _, name = account.partition("/")
        user = {"username": f"system:serviceaccount:{namespace}:{name}", "uid": "u-1"}
        good = {"authenticated": True, "user": user, "audiences": body["spec"].get("audiences", [])}
        status = good if account else {"authenticated": False}
        return 201, body | {"status": status}


Answer = Callable[[str, str, Any, dict[str, Any]], tuple[int, Any]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server over http, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = answer(self.command, self.path, self.headers, json.loads(raw or b"{}"))
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if status != 204:
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
