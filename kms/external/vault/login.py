"""How an access becomes a token (docs/external.md, "Logging in")."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blindfold.secret import SecretBytes
from kms.external.calls import Calls
from kms.external.errors import Forbidden, LoginRefused, NotThere, Refused, WrappingTokenSpent
from kms.external.fetched import OpenSecret
from kms.external.vault.api import Issued, VaultApi, issued
from kms.model.secret_management_access import (
    AppRoleAuthentication,
    Authentication,
    CertificateAuthentication,
    KubernetesAuthentication,
    SecretManagementAccess,
    TokenAuthentication,
)
from kms.model.secret_type import SecretType

MAX_CREDENTIAL = 16 << 10


class Login:
    """Logs in anew at each call, with credentials that are opened anew: they may have been rotated."""

    def __init__(
        self,
        access: SecretManagementAccess,
        calls: Calls,
        api: Callable[[SecretBytes | None], VaultApi],
        open_secret: OpenSecret,
    ) -> None:
        self._authentication = access.authentication
        self._calls = calls
        self._api = api
        self._open = open_secret
        self._unwrapped: tuple[bytes, SecretBytes] | None = None

    async def __call__(self) -> Issued:
        """Raises `ExternalFailed`, `LoginRefused` for credentials that do not serve."""
        try:
            return await _METHODS[type(self._authentication)](self, self._authentication)
        except (Forbidden, NotThere, Refused) as error:
            problem = f"the login is refused: {error.message}"
        raise LoginRefused(problem)

    async def _by_token(self, how: TokenAuthentication) -> Issued:
        token = await self._credential(how.token)
        if how.wrapped:
            token = await self._unwrap(token, _held_token)
        return await self._calls.read(lambda: self._api(token).look_up(token))

    async def _by_app_role(self, how: AppRoleAuthentication) -> Issued:
        secret_id = await self._credential(how.secret_id)
        if how.wrapped:
            secret_id = await self._unwrap(secret_id, _held_secret_id)
        return await self._calls.change(
            lambda: self._api(None).app_role(how.mount, how.role_id, _text(secret_id))
        )

    async def _by_kubernetes(self, how: KubernetesAuthentication) -> Issued:
        if how.jwt is not None:
            jwt = await self._credential(how.jwt)
        else:
            jwt = _printable(await asyncio.to_thread(_read, Path(how.jwt_file)))
        return await self._calls.change(lambda: self._api(None).kubernetes(how.mount, how.role, _text(jwt)))

    async def _by_certificate(self, how: CertificateAuthentication) -> Issued:
        return await self._calls.change(lambda: self._api(None).certificate(how.mount, how.role))

    async def _credential(self, secret: SecretType) -> SecretBytes:
        return _printable(await self._open(secret))

    async def _unwrap(self, token: SecretBytes, held: Callable[[Mapping[str, Any]], object]) -> SecretBytes:
        """What a wrapping token holds; the same one is not asked twice, as it serves once."""
        digest = hashlib.sha256(token.reveal()).digest()
        if self._unwrapped is None or self._unwrapped[0] != digest:
            found = await self._calls.change(lambda: self._unwrapping(token))
            secret = held(found)
            if not isinstance(secret, str):
                raise LoginRefused("the wrapping token holds something else than such a credential")
            self._unwrapped = digest, _printable(SecretBytes(secret.encode()))
        return self._unwrapped[1]

    def _unwrapping(self, token: SecretBytes) -> Mapping[str, Any]:
        try:
            return self._api(token).unwrap()
        except Forbidden:
            pass
        raise WrappingTokenSpent("the wrapping token is unknown to the server")


def _held_token(body: Mapping[str, Any]) -> object:
    return issued(body.get("auth")).token.reveal().decode()


def _held_secret_id(body: Mapping[str, Any]) -> object:
    data = body.get("data")
    return data.get("secret_id") if isinstance(data, dict) else None


def _read(path: Path) -> SecretBytes:
    try:
        with path.open("rb") as file:
            return SecretBytes(file.read(MAX_CREDENTIAL + 1))
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise LoginRefused(f"{path} cannot be read: {problem}")


def _printable(secret: SecretBytes) -> SecretBytes:
    """Without the newline that files end in. Raises `LoginRefused` for what is no line of ASCII."""
    text = secret.reveal().removesuffix(b"\n").removesuffix(b"\r")
    if not text or len(text) > MAX_CREDENTIAL or not all(32 < byte < 127 for byte in text):
        raise LoginRefused("the credential is not one word of printable ASCII")
    return SecretBytes(text)


def _text(secret: SecretBytes) -> str:
    return secret.reveal().decode("ascii")


_METHODS: Mapping[type[Authentication], Callable[[Login, Any], Awaitable[Issued]]] = MappingProxyType(
    {
        TokenAuthentication: Login._by_token,
        AppRoleAuthentication: Login._by_app_role,
        KubernetesAuthentication: Login._by_kubernetes,
        CertificateAuthentication: Login._by_certificate,
    }
)
