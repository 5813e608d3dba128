"""The methods at auth/ of the stand-in: AppRole, Kubernetes and TLS certificates."""

import base64
import binascii
import http.client
import json
import secrets
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from vault.exchange import Refusal, Reply, Request, Routes
from vault.token_store import DEFAULT_TTL, TokenStore


class Method(ABC):
    """`login` needs no token."""

    def __init__(self, mount: str, tokens: TokenStore) -> None:
        self.mount = mount
        self.tokens = tokens
        self.roles: dict[str, dict[str, Any]] = {}
        self.routes = Routes()
        self.routes.add("update", "login", self.login)

    @abstractmethod
    def login(self, request: Request) -> Reply:
        """A token, or why there is none."""

    def keep(self, request: Request, name: str) -> Reply:
        self.roles[name] = dict(request.body)
        return Reply()

    def logged_in(self, role: dict[str, Any], metadata: dict[str, str]) -> Reply:
        asking = Request("POST", "", {}, {}, role)
        policies = role.get("token_policies") or role.get("policies") or []
        names = policies.split(",") if isinstance(policies, str) else policies
        token = self.tokens.make(
            ("default", *names),
            asking.seconds("token_ttl") or DEFAULT_TTL,
            f"auth/{self.mount}/login",
            max_ttl=asking.seconds("token_max_ttl"),
            uses=int(role.get("token_num_uses") or 0),
        )
        return Reply(auth=self.tokens.auth(token, metadata))


class AppRole(Method):
    def __init__(self, mount: str, tokens: TokenStore) -> None:
        super().__init__(mount, tokens)
        self._secrets: dict[str, dict[str, int]] = {}
        self.routes.add("update", r"role/([\w-]+)", self._make)
        self.routes.add("read", r"role/([\w-]+)/role-id", self._role_id)
        self.routes.add("update", r"role/([\w-]+)/secret-id", self._secret_id)
        self.routes.add("update", r"role/([\w-]+)/secret-id/destroy", self._destroy)

    def login(self, request: Request) -> Reply:
        role_id, secret_id = request.text("role_id", required=True), request.text("secret_id")
        names = [name for name, role in self.roles.items() if role["role_id"] == role_id]
        left = self._secrets.get(names[0], {}).get(secret_id) if names else None
        if left is None:
            raise Refusal(400, "invalid role or secret ID")
        if left:
            self._secrets[names[0]][secret_id] = left - 1
            if left == 1:
                del self._secrets[names[0]][secret_id]
        return self.logged_in(self.roles[names[0]], {"role_name": names[0]})

    def _make(self, request: Request, name: str) -> Reply:
        known = self.roles.get(name, {}).get("role_id") or secrets.token_hex(16)
        self.roles[name] = {"role_id": known, **request.body}
        return Reply()

    def _role_id(self, request: Request, name: str) -> Reply:
        if name not in self.roles:
            raise Refusal(404)
        return Reply({"role_id": self.roles[name]["role_id"]})

    def _secret_id(self, request: Request, name: str) -> Reply:
        if name not in self.roles:
            raise Refusal(404)
        uses = int(self.roles[name].get("secret_id_num_uses") or 0)
        made = secrets.token_hex(16)
        self._secrets.setdefault(name, {})[made] = uses
        accessor = secrets.token_hex(16)
        return Reply(
            {
                "secret_id": made,
                "secret_id_accessor": accessor,
                "secret_id_num_uses": uses,
                "secret_id_ttl": 0,
            }
        )

    def _destroy(self, request: Request, name: str) -> Reply:
        self._secrets.get(name, {}).pop(request.text("secret_id", required=True), None)
        return Reply()


class Kubernetes(Method):
    def __init__(self, mount: str, tokens: TokenStore) -> None:
        super().__init__(mount, tokens)
        self._config: dict[str, Any] = {}
        self.routes.add("update", "config", self._configure)
        self.routes.add("update", r"role/([\w-]+)", self._make)

    def login(self, request: Request) -> Reply:
        role = self.roles.get(request.text("role", required=True))
        jwt = request.text("jwt", required=True)
        if role is None:
            raise Refusal(400, f"invalid role name {request.text('role')!r}")
        if len(jwt.split(".")) != 3:
            raise Refusal(403, "permission denied")
        user = self._review(jwt)
        namespace, name = user.removeprefix("system:serviceaccount:").split(":")
        if namespace not in _names(role, "bound_service_account_namespaces"):
            raise Refusal(403, "namespace not authorized")
        if name not in _names(role, "bound_service_account_names"):
            raise Refusal(403, "service account name not authorized")
        return self.logged_in(role, {"service_account_name": name})

    def _configure(self, request: Request) -> Reply:
        request.text("kubernetes_host", required=True)
        self._config = request.body
        return Reply()

    def _make(self, request: Request, name: str) -> Reply:
        for bound in ("bound_service_account_names", "bound_service_account_namespaces"):
            if not request.body.get(bound):
                raise Refusal(400, f'"{bound}" can not be empty')
        return self.keep(request, name)

    def _review(self, jwt: str) -> str:
        at = urlsplit(self._config["kubernetes_host"])
        connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=10)
        body = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": jwt}}
        try:
            connection.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", json.dumps(body))
            status = json.loads(connection.getresponse().read())["status"]
        except OSError:
            raise Refusal(500, "internal error") from None
        finally:
            connection.close()
        if not status.get("authenticated"):
            raise Refusal(403, "permission denied")
        return str(status["user"]["username"])


class Certificates(Method):
    def __init__(self, mount: str, tokens: TokenStore) -> None:
        super().__init__(mount, tokens)
        self.routes.add("update", r"certs/([\w-]+)", self._make)

    def login(self, request: Request) -> Reply:
        wanted = request.text("name")
        if request.peer is None:
            raise Refusal(400, "client certificate must be supplied")
        leaf = x509.load_der_x509_certificate(request.peer)
        for name, role in self.roles.items():
            if wanted in ("", name) and _issued_by(leaf, role["certificate"]):
                return self.logged_in(role, {"cert_name": name})
        raise Refusal(400, "invalid certificate or no client certificate supplied")

    def _make(self, request: Request, name: str) -> Reply:
        try:
            x509.load_pem_x509_certificate(request.text("certificate", required=True).encode())
        except (ValueError, binascii.Error):
            raise Refusal(400, "failed to parse certificate") from None
        return self.keep(request, name)


def jwt_of(claims: dict[str, Any]) -> str:
    """A token in the form of a JWT; nobody here checks its signature but the review."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256', 'kid': '1'})}.{part(claims)}.{'c' * 342}"


def _names(role: dict[str, Any], field: str) -> list[str]:
    value = role[field]
    return value.split(",") if isinstance(value, str) else value


def _issued_by(leaf: x509.Certificate, pem: str) -> bool:
    try:
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(pem.encode()))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
