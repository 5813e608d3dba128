"""Tokens and leases of the stand-in. Leases end with the token that they were made by."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vault.exchange import Refusal, Reply, Request, Routes
from vault.policies import ROOT

DEFAULT_TTL = 32 * 86400


@dataclass
class Token:
    id: str
    policies: tuple[str, ...]
    ttl: int
    renewable: bool
    path: str
    max_ttl: int = 0
    uses: int = 0
    accessor: str = field(default_factory=lambda: secrets.token_hex(12))
    made: float = field(default_factory=time.time)
    renewed: float = field(default_factory=time.time)
    wraps: dict[str, Any] | None = None

    @property
    def left(self) -> int:
        """Seconds; 0 for a token that has no end."""
        if not self.ttl:
            return 0
        end = self.renewed + self.ttl
        if self.max_ttl:
            end = min(end, self.made + self.max_ttl)
        return max(0, round(end - time.time()))

    @property
    def has_ended(self) -> bool:
        return bool(self.ttl) and self.left == 0


@dataclass
class Lease:
    """`terms` are the seconds of a period, and of the whole life, as they are when they are asked for."""

    id: str
    owner: str
    terms: Callable[[], tuple[int, int]]
    revoke: Callable[[], None]
    renewable: bool = True
    made: float = field(default_factory=time.time)

    @property
    def left(self) -> int:
        ttl, longest = self.terms()
        return min(ttl, round(self.made + longest - time.time())) if longest else ttl


class TokenStore:
    """The method at auth/token, and all leases."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}
        self.leases: dict[str, Lease] = {}
        self.routes = Routes()
        self.routes.add("read update", "lookup-self", lambda request: Reply(self._data(request.token)))
        self.routes.add("update", "renew-self", self._renew_self)
        self.routes.add("update", "revoke-self", lambda request: self._revoke(request.token))
        self.routes.add("update", "create(?:-orphan)?", self._create)
        self.routes.add("update", "revoke", self._revoke_other)
        self.routes.add("update", "lookup", lambda request: Reply(self._data(self._named(request))))
        self.root = self.make((ROOT,), 0, "auth/token/root", renewable=False)

    def make(
        self, policies: tuple[str, ...], ttl: int, path: str, *, renewable: bool = True, **more: Any
    ) -> Token:
        token = Token(f"hvs.{secrets.token_urlsafe(24)}", policies, ttl, renewable, path, **more)
        self.tokens[token.id] = token
        return token

    def auth(self, token: Token, metadata: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {
            "client_token": token.id,
            "accessor": token.accessor,
            "policies": list(token.policies),
            "token_policies": list(token.policies),
            "metadata": metadata,
            "lease_duration": token.left,
            "renewable": token.renewable,
            "entity_id": "",
            "token_type": "service",
            "orphan": True,
            "mfa_requirement": None,
            "num_uses": token.uses,
        }

    def authenticated(self, text: str) -> Token:
        """Uses a token once. Raises `Refusal`."""
        token = self.tokens.get(text)
        if token is None or token.has_ended:
            raise Refusal(403, "permission denied")
        if token.uses:
            token.uses -= 1
            if not token.uses:
                self.revoke(token)
        return token

    def revoke(self, token: Token) -> None:
        self.tokens.pop(token.id, None)
        for lease in [lease for lease in self.leases.values() if lease.owner == token.id]:
            self.end(lease)

    def lend(
        self, owner: Token, path: str, terms: Callable[[], tuple[int, int]], revoke: Callable[[], None]
    ) -> Lease:
        lease = Lease(f"{path}/{secrets.token_urlsafe(18)}", owner.id, terms, revoke)
        self.leases[lease.id] = lease
        return lease

    def end(self, lease: Lease) -> None:
        lease.revoke()
        self.leases.pop(lease.id, None)

    def renew_lease(self, request: Request) -> Reply:
        lease = self.leases.get(request.text("lease_id"))
        if lease is None:
            raise Refusal(400, "lease not found")
        if not lease.renewable:
            raise Refusal(400, "lease is not renewable")
        return Reply({}, lease_id=lease.id, lease_duration=lease.left, renewable=True)

    def revoke_lease(self, request: Request) -> Reply:
        lease = self.leases.get(request.text("lease_id", required=True))
        if lease is not None:
            self.end(lease)
        return Reply()

    def revoke_prefix(self, request: Request, prefix: str) -> Reply:
        for lease in [lease for lease in self.leases.values() if lease.id.startswith(prefix)]:
            self.end(lease)
        return Reply()

    def look_up_lease(self, request: Request) -> Reply:
        lease = self.leases.get(request.text("lease_id", required=True))
        if lease is None:
            raise Refusal(400, "invalid lease")
        return Reply({"id": lease.id, "renewable": lease.renewable, "ttl": lease.left})

    def _create(self, request: Request) -> Reply:
        policies = tuple(request.body.get("policies") or request.token.policies)
        if ROOT in policies and ROOT not in request.token.policies:
            raise Refusal(400, "root tokens may not be created without parent token being root")
        if not request.body.get("no_default_policy") and ROOT not in policies:
            policies = ("default", *(name for name in policies if name != "default"))
        token = self.make(
            policies,
            request.seconds("ttl") or DEFAULT_TTL,
            "auth/token/create",
            renewable=request.body.get("renewable", True) is True,
            max_ttl=request.seconds("explicit_max_ttl"),
            uses=int(request.body.get("num_uses") or 0),
        )
        return Reply(auth=self.auth(token))

    def _renew_self(self, request: Request) -> Reply:
        token = request.token
        if not token.renewable:
            raise Refusal(400, "lease is not renewable")
        token.renewed = time.time()
        return Reply(auth=self.auth(token))

    def _revoke(self, token: Token) -> Reply:
        self.revoke(token)
        return Reply()

    def _named(self, request: Request) -> Token:
        token = self.tokens.get(request.text("token", required=True))
        if token is None:
            raise Refusal(403, "bad token")
        return token

    def _revoke_other(self, request: Request) -> Reply:
        token = self.tokens.get(request.text("token", required=True))
        return self._revoke(token) if token is not None else Reply()

    def _data(self, token: Token) -> dict[str, Any]:
        return {
            "accessor": token.accessor,
            "creation_time": round(token.made),
            "creation_ttl": token.ttl,
            "display_name": "token",
            "entity_id": "",
            "expire_time": None,
            "explicit_max_ttl": token.max_ttl,
            "id": token.id,
            "meta": None,
            "num_uses": token.uses,
            "orphan": True,
            "path": token.path,
            "policies": list(token.policies),
            "renewable": token.renewable,
            "ttl": token.left,
            "type": "service",
        }
