"""The rabbitmq engine of the stand-in: users that live as long as their lease."""

import base64
import http.client
import json
import secrets
from typing import Any
from urllib.parse import urlsplit

from vault.exchange import Refusal, Reply, Request, Routes
from vault.token_store import TokenStore


class Rabbit:
    def __init__(self, mount: str, tokens: TokenStore) -> None:
        self._mount = mount
        self._tokens = tokens
        self._connection: dict[str, Any] = {}
        self._roles: dict[str, dict[str, Any]] = {}
        self._ttl, self._max_ttl = 3600, 86400
        self.routes = Routes()
        self.routes.add("update", "config/connection", self._connect)
        self.routes.add("update", "config/lease", self._lease)
        self.routes.add("update", r"roles/([\w-]+)", self._role)
        self.routes.add("read", r"creds/([\w-]+)", self._credentials)

    def _connect(self, request: Request) -> Reply:
        for name in ("connection_uri", "username", "password"):
            request.text(name, required=True)
        self._connection = request.body
        if request.body.get("verify_connection", True) and self._ask("GET", "/api/users") != 200:
            raise Refusal(400, "failed to validate the connection")
        return Reply()

    def _lease(self, request: Request) -> Reply:
        self._ttl, self._max_ttl = request.seconds("ttl"), request.seconds("max_ttl")
        return Reply()

    def _role(self, request: Request, name: str) -> Reply:
        if not request.text("tags") and not request.text("vhosts"):
            raise Refusal(400, "both tags and vhosts not specified")
        self._roles[name] = request.body
        return Reply()

    def _credentials(self, request: Request, name: str) -> Reply:
        if name not in self._roles:
            raise Refusal(400, f"unknown role: {name}")
        user, password = f"token-{secrets.token_hex(8)}", secrets.token_urlsafe(24)
        body = {"password": password, "tags": self._roles[name]["tags"]}
        self._ask("PUT", f"/api/users/{user}", body)
        lease = self._tokens.lend(
            request.token,
            f"{self._mount}/creds/{name}",
            lambda: (self._ttl, self._max_ttl),
            lambda: self._ask("DELETE", f"/api/users/{user}") and None,
        )
        data = {"username": user, "password": password}
        return Reply(data, lease_id=lease.id, lease_duration=lease.left, renewable=True)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> int:
        login = f"{self._connection['username']}:{self._connection['password']}"
        headers = {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        at = urlsplit(self._connection["connection_uri"])
        connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except OSError:
            raise Refusal(400, "failed to validate the connection") from None
        finally:
            connection.close()
