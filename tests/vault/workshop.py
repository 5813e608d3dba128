"""What a test prepares in a vault, the stand-in or a real one, as its root; all of it is removed again."""

import http.client
import json
import os
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from server.server_harness import Authority
from vault.stand_in import StandIn, stand_in

from blindfold.secret import SecretBytes
from kms.model.predicate import ClientSelector
from kms.model.secret_management_access import (
    AccessTls,
    Engine,
    Mount,
    SecretManagementAccess,
    TokenAuthentication,
    addressee,
)
from kms.model.secret_type import ClearSecret, SecretType

WHERE = ClientSelector(("app=web",))
ADDRESS, TOKEN, CA = "TEST_VAULT_ADDR", "TEST_VAULT_TOKEN", "TEST_VAULT_CACERT"


class Answered(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, errors: list[str]) -> None:
        super().__init__(status, errors)
        self.status = status
        self.errors = errors


@dataclass
class Workshop:
    """`server` is the stand-in, None for a real server; `ca_pem` verifies it, "" over http."""

    address: str
    token: str
    ca_pem: str
    server: StandIn | None
    authority: Authority
    later: ExitStack = field(default_factory=ExitStack)

    @property
    def addressee(self) -> str:
        """The name that a credential for this server is sealed with."""
        return addressee(self.address, AccessTls(self.ca_pem))

    def call(
        self, method: str, path: str, body: object = None, *, token: str = "", **headers: str
    ) -> dict[str, Any]:
        """Raises `Answered`."""
        at = urlsplit(self.address)
        if at.scheme == "https":
            context = ssl.create_default_context(cadata=self.ca_pem)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                at.hostname or "", at.port, timeout=30, context=context
            )
        else:
            connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
        given = {"X-Vault-Request": "true", "X-Vault-Token": token or self.token}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), given)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        found: dict[str, Any] = json.loads(content) if content.strip() else {}
        if answer.status >= 400:
            raise Answered(answer.status, found.get("errors") or [])
        return found

    def write(self, path: str, **body: Any) -> dict[str, Any]:
        return self.call("POST", path, body)

    def read(self, path: str) -> Any:
        return self.call("GET", path)["data"]

    def only_stand_in(self, why: str) -> StandIn:
        if self.server is None:
            pytest.skip(f"a real server cannot be made to do it: {why}")
        return self.server

    def mount(self, kind: str, **options: str) -> str:
        name = f"test-{kind}-{secrets.token_hex(4)}"
        self.write(f"sys/mounts/{name}", type=kind, options=options or None)
        self._remove(f"sys/mounts/{name}")
        if options.get("version") == "2":
            self._wait_for_versions(name)
        return name

    def method(self, kind: str) -> str:
        name = f"test-{kind}-{secrets.token_hex(4)}"
        self.write(f"sys/auth/{name}", type=kind)
        self._remove(f"sys/auth/{name}")
        return name

    def policy(self, **paths: str) -> str:
        """Of paths and the capabilities at them, a path's / written as __."""
        return self.policy_of({path.replace("__", "/"): allowed for path, allowed in paths.items()})

    def policy_of(self, paths: Mapping[str, str]) -> str:
        name = f"test-{secrets.token_hex(4)}"
        rules = {path: {"capabilities": allowed.split()} for path, allowed in paths.items()}
        self.write(f"sys/policies/acl/{name}", policy=json.dumps({"path": rules}))
        self._remove(f"sys/policies/acl/{name}")
        return name

    def make_token(self, *policies: str, **settings: Any) -> str:
        made = self.write("auth/token/create", policies=list(policies), **settings)
        token: str = made["auth"]["client_token"]
        self.later.callback(self._quietly, "POST", "auth/token/revoke", {"token": token})
        return token

    def wrap(self, path: str, body: object, *, seconds: int = 300) -> str:
        """The wrapping token of the answer to a request."""
        made = self.call("POST", path, body, X_Vault_Wrap_TTL=str(seconds))
        token: str = made["wrap_info"]["token"]
        return token

    def access(self, *mounts: tuple[str, Engine], **settings: Any) -> SecretManagementAccess:
        """To this server, with its root token if nothing else is said."""
        plain = self.address.startswith("http:")
        values: dict[str, Any] = {
            "provider": "corp",
            "where": WHERE,
            "endpoint": self.address,
            "authentication": TokenAuthentication(clear(self.token)),
            "tls": AccessTls() if plain else AccessTls(self.ca_pem),
            "mounts": tuple(Mount(path, engine) for path, engine in mounts),
        }
        return SecretManagementAccess(**values | settings)

    def _wait_for_versions(self, mount: str) -> None:
        """A real server prepares such a mount for a moment, and answers 400 meanwhile."""
        end = time.monotonic() + 20
        while True:
            try:
                self.call("GET", f"{mount}/config")
                return
            except Answered as answer:
                if answer.status != 400 or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def _remove(self, path: str) -> None:
        self.later.callback(self._quietly, "DELETE", path)

    def _quietly(self, method: str, path: str, body: object = None) -> None:
        with suppress(Answered):
            self.call(method, path, body)


def clear(text: str | bytes) -> ClearSecret:
    return ClearSecret(SecretBytes(text if isinstance(text, bytes) else text.encode()))


async def open_clear(secret: SecretType) -> SecretBytes:
    """Opens the secrets that tests have in clear."""
    assert isinstance(secret, ClearSecret)
    return SecretBytes(secret.secret.reveal())


@contextmanager
def workshop(directory: Path) -> Iterator[Workshop]:
    """With the stand-in, which has its files in the directory, or with the real server of the environment."""
    authority = Authority("authority of vaults")
    # Without TLS, no name is a loopback address to an access, whatever it means here.
    address = os.environ.get(ADDRESS, "").rstrip("/").replace("http://localhost", "http://127.0.0.1")
    with ExitStack() as contexts:
        if address:
            file = os.environ.get(CA, "")
            pem = Path(file).read_text() if file else ""
            shop = Workshop(address, os.environ[TOKEN], pem, None, authority)
        else:
            server = contexts.enter_context(stand_in(directory, authority))
            shop = Workshop(server.address, server.root, authority.pem.decode(), server, authority)
        contexts.enter_context(shop.later)
        yield shop
