"""What the stand-in has under sys/, and how a request finds its engine or method."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vault import policies
from vault.auth_methods import AppRole, Certificates, Kubernetes, Method
from vault.exchange import Bare, Refusal, Reply, Request, Routes
from vault.kv import KvV1, KvV2
from vault.rabbit_engine import Rabbit
from vault.token_store import Token, TokenStore
from vault.transit_engine import Transit

METHODS: Mapping[str, type[Method]] = {"approle": AppRole, "kubernetes": Kubernetes, "cert": Certificates}
OPEN = ("sys/health", "sys/seal-status")


class System:
    """One namespace: its mounts, methods and policies. Tokens and leases are shared by all."""

    def __init__(self, tokens: TokenStore) -> None:
        self.tokens = tokens
        self.sealed = False
        self.standby = False
        self._policies = {"default": policies.parse(json.dumps(policies.DEFAULT))}
        self._engines: dict[str, Any] = {}
        self._methods: dict[str, Method] = {}
        self._made = {
            "kv": lambda mount, body: KvV2() if _is_second(body) else KvV1(),
            "transit": lambda mount, body: Transit(),
            "rabbitmq": lambda mount, body: Rabbit(mount, tokens),
        }
        self.namespaces: dict[str, System] = {}
        self.routes = self._table()

    def answer(self, request: Request) -> Reply:
        """Raises `Refusal` and `Bare`."""
        path = request.path
        if self.sealed and path not in OPEN:
            raise Refusal(503, "Vault is sealed")
        open_login = self._method_of(path) and path.endswith("/login")
        if path not in OPEN and not open_login:
            self._authorise(request)
        found = self._found(path)
        if found is None:
            raise Refusal(404, f'no handler for route "{path}". route entry not found.')
        routes, rest = found
        return self._wrapped(request, routes.answer(request, rest))

    def _authorise(self, request: Request) -> None:
        token: Token = self.tokens.authenticated(request.headers.get("x-vault-token", ""))
        request.token = token
        if policies.ROOT in token.policies:
            return
        if token.wraps is not None and request.path == "sys/wrapping/unwrap":
            return
        known = [self._policies[name] for name in token.policies if name in self._policies]
        if not policies.allows(known, request.path, request.operation):
            raise Refusal(403, "1 error occurred:\n\t* permission denied\n\n")

    def _found(self, path: str) -> tuple[Routes, str] | None:
        method = self._method_of(path)
        if method is not None:
            return method.routes, path.removeprefix(f"auth/{method.mount}/")
        for prefix, routes in (("auth/token/", self.tokens.routes), ("sys/", self.routes)):
            if path.startswith(prefix):
                return routes, path.removeprefix(prefix)
        for mount, engine in self._engines.items():
            if path.startswith(f"{mount}/"):
                return engine.routes, path.removeprefix(f"{mount}/")
        return None

    def _method_of(self, path: str) -> Method | None:
        return next((made for name, made in self._methods.items() if path.startswith(f"auth/{name}/")), None)

    def _wrapped(self, request: Request, reply: Reply) -> Reply:
        """The answer itself, or a wrapping token that holds it."""
        ttl = request.headers.get("x-vault-wrap-ttl", "")
        if not ttl or reply.is_empty:
            return reply
        token = self.tokens.make(
            ("response-wrapping",),
            int(ttl.removesuffix("s")),
            request.path,
            renewable=False,
            wraps=reply.envelope(),
        )
        info = {
            "token": token.id,
            "accessor": token.accessor,
            "ttl": token.ttl,
            "creation_time": "2026-01-01T00:00:00Z",
            "creation_path": request.path,
        }
        return Reply(raw={**Reply().envelope(), "wrap_info": info})

    def _table(self) -> Routes:
        rows: list[tuple[str, str, Callable[..., Reply]]] = [
            ("read", "health", self._health),
            ("read", "seal-status", lambda request: Reply(raw={"sealed": self.sealed, "initialized": True})),
            ("update", r"mounts/([\w/-]+)", self._mount),
            ("delete", r"mounts/([\w/-]+)", self._unmount),
            ("update", r"auth/([\w/-]+)", self._enable),
            ("delete", r"auth/([\w/-]+)", self._disable),
            ("update", r"policies/acl/([\w-]+)", self._write_policy),
            ("delete", r"policies/acl/([\w-]+)", self._drop_policy),
            ("update", "leases/renew", self.tokens.renew_lease),
            ("update", "leases/revoke", self.tokens.revoke_lease),
            ("update", "leases/revoke-prefix/(.+)", self.tokens.revoke_prefix),
            ("update", "leases/lookup", self.tokens.look_up_lease),
            ("update", "wrapping/wrap", lambda request: Reply(request.body)),
            ("update", "wrapping/unwrap", self._unwrap),
            ("update", r"namespaces/([\w-]+)", self._add_namespace),
            ("delete", r"namespaces/([\w-]+)", self._drop_namespace),
        ]
        routes = Routes()
        for row in rows:
            routes.add(*row)
        return routes

    def _health(self, request: Request) -> Reply:
        status = 503 if self.sealed else 429 if self.standby else 200
        body = {
            "initialized": True,
            "sealed": self.sealed,
            "standby": self.standby or self.sealed,
            "server_time_utc": round(time.time()),
            "version": "1.14.0",
        }
        raise Bare(status, body)

    def _mount(self, request: Request, path: str) -> Reply:
        make = self._made.get(request.text("type", required=True))
        if make is None:
            raise Refusal(400, f"plugin not found in the catalog: {request.body['type']}")
        if path in self._engines:
            raise Refusal(400, f"path is already in use at {path}/")
        self._engines[path] = make(path, request.body)
        return Reply()

    def _unmount(self, request: Request, path: str) -> Reply:
        self._engines.pop(path, None)
        return self.tokens.revoke_prefix(request, f"{path}/")

    def _enable(self, request: Request, path: str) -> Reply:
        kind = METHODS.get(request.text("type", required=True))
        if kind is None:
            raise Refusal(400, f"plugin not found in the catalog: {request.body['type']}")
        self._methods[path] = kind(path, self.tokens)
        return Reply()

    def _disable(self, request: Request, path: str) -> Reply:
        self._methods.pop(path, None)
        return Reply()

    def _write_policy(self, request: Request, name: str) -> Reply:
        self._policies[name] = policies.parse(request.text("policy", required=True))
        return Reply()

    def _drop_policy(self, request: Request, name: str) -> Reply:
        self._policies.pop(name, None)
        return Reply()

    def _unwrap(self, request: Request) -> Reply:
        """By the wrapping token as the client's, or by another and the wrapping token in the body."""
        named = request.text("token")
        token = self.tokens.tokens.get(named) if named else request.token
        if token is None or token.wraps is None:
            raise Refusal(400, "wrapping token is not valid or does not exist")
        self.tokens.revoke(token)
        return Reply(raw=token.wraps | {"request_id": secrets.token_hex(16)})

    def _add_namespace(self, request: Request, name: str) -> Reply:
        self.namespaces[name] = System(self.tokens)
        return Reply({"id": secrets.token_hex(3), "path": f"{name}/"})

    def _drop_namespace(self, request: Request, name: str) -> Reply:
        self.namespaces.pop(name, None)
        return Reply()

    def within(self, request: Request) -> "tuple[System, Request]":
        """The system of the namespace that the header or the path names, and the request inside it."""
        name = request.headers.get("x-vault-namespace", "").strip("/")
        if name:
            if name not in self.namespaces:
                raise Refusal(404, f'no handler for route "{name}/{request.path}". route entry not found.')
            return self.namespaces[name], request
        for known, system in self.namespaces.items():
            if request.path.startswith(f"{known}/"):
                return system, replace(request, path=request.path.removeprefix(f"{known}/"))
        return self, request


def _is_second(body: Mapping[str, Any]) -> bool:
    return str((body.get("options") or {}).get("version", "1")) == "2"
