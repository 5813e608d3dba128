"""A vault, as secrets are fetched from it through one access."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Self, TypeVar

import requests

from blindfold.secret import SecretBytes
from kms.errors import InvalidField
from kms.external import session, tls
from kms.external.calls import Calls
from kms.external.errors import Forbidden
from kms.external.fetched import Fetched, OpenSecret, chosen, chosen_of_bytes
from kms.external.vault.api import Answer, Health, VaultApi
from kms.external.vault.leases import Leases
from kms.external.vault.login import Login
from kms.external.vault.tokens import Held, Tokens
from kms.model.secret_management_access import Engine, SecretManagementAccess
from kms.model.secret_type import VaultSecret

T = TypeVar("T")

# Whoever ends a program waits no longer; what was not revoked ends by itself.
CLOSING = 10.0
# A token or lease is due after this part of its life, or earlier by up to `SPREAD` of it, so that many that
# were made together are not renewed together.
RENEW_AFTER = 2 / 3
SPREAD = 1 / 15

_jitter = secrets.SystemRandom().random


class VaultSource:
    """Made by `connect`. One event loop's; `close` it, or leases and token live on until their end."""

    def __init__(
        self,
        access: SecretManagementAccess,
        connections: requests.Session,
        calls: Calls,
        open_secret: OpenSecret,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        """`jitter` gives numbers from 0 to 1."""
        self._access = access
        self._connections = connections
        self._calls = calls

        def part() -> float:
            return RENEW_AFTER - SPREAD * jitter()

        login = Login(access, calls, self._api, open_secret)
        self._tokens = Tokens(login, calls, self._api, clock, part)
        self._leases = Leases(calls, clock, part)

    @classmethod
    async def connect(
        cls,
        access: SecretManagementAccess,
        open_secret: OpenSecret,
        *,
        calls: Calls | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = _jitter,
    ) -> Self:
        """Open the key of the client certificate, if there is one. Nothing is sent before `get`.

        Raises `ConfigError`, and what `open_secret` raises.
        """
        key = await open_secret(access.tls.client_key) if access.tls.client_key is not None else None
        most = answer_bytes(access)
        connections = session.connect(
            tls.client_context(access.tls, key), access.tls.server_name, most, access.timeout_seconds
        )
        return cls(access, connections, calls or Calls(access.timeout_seconds), open_secret, clock, jitter)

    @property
    def due(self) -> float:
        """When, by the clock, `renew_due` has to do something; infinite for never."""
        return min(self._tokens.due, self._leases.due)

    async def get(self, secret: VaultSecret) -> Fetched:
        """Raises `ExternalFailed`, and `InvalidField` for a path below no mount of the access."""
        mount = self._access.mount_of(secret.path)
        return await _READERS[mount.engine](self, mount.path, mount.rest_of(secret.path), secret)

    def transit_key(self, path: str) -> tuple[str, str]:
        """Mount and name of a key. Raises `InvalidField` for a path below no mount of transit."""
        mount = self._access.mount_of(path)
        if mount.engine is not Engine.TRANSIT:
            raise InvalidField("path", "is not below a mount of the engine TRANSIT")
        return mount.path, mount.rest_of(path)

    async def with_token(self, act: Callable[[VaultApi], T], *, is_change: bool = False) -> tuple[T, Held]:
        """Do something as who the access logs in; once more with another token if this one died."""
        send = self._calls.change if is_change else self._calls.read
        held = await self._tokens.current()
        try:
            return await send(lambda: act(held.api)), held
        except Forbidden as error:
            refused = error
        other = await self._tokens.replaced(held)
        if other is None:
            raise refused
        self._leases.forget(held)
        return await send(lambda: act(other.api)), other

    async def health(self) -> Health:
        """Raises `ExternalFailed` where there is no answer."""
        bare = replace(self._access, vault_namespace="")
        return await self._calls.read(VaultApi(self._connections, bare).health)

    async def renew_due(self) -> None:
        """Renew token and leases that are due. What fails is tried again, and raises nothing."""
        await self._tokens.renew_due()
        await self._leases.renew_due()

    async def close(self, *, revoke: bool = True) -> None:
        """Revoke leases, and the token if it was made here, as far as can be in ten seconds."""
        if revoke:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING):
                    await self._leases.close()
                    await self._tokens.close()
        self._calls.close()
        self._connections.close()

    def _api(self, token: SecretBytes | None) -> VaultApi:
        return VaultApi(self._connections, self._access, token)

    async def _kv_v1(self, mount: str, path: str, secret: VaultSecret) -> Fetched:
        answer, _ = await self.with_token(lambda api: api.kv_v1(mount, path))
        return self._kept(answer, secret)

    async def _kv_v2(self, mount: str, path: str, secret: VaultSecret) -> Fetched:
        answer, _ = await self.with_token(lambda api: api.kv_v2(mount, path, secret.version))
        return self._kept(answer, secret)

    async def _dynamic(self, mount: str, role: str, secret: VaultSecret) -> Fetched:
        async def make() -> tuple[Answer, Held]:
            return await self.with_token(lambda api: api.dynamic(mount, role), is_change=True)

        leased = await self._leases.get(secret.path, make)
        value = chosen(leased.answer.data, secret, self._access.max_secret_bytes)
        keep, refresh = self._leases.seconds(leased)
        return Fetched(value, keep, is_leased=True, refresh_seconds=refresh)

    async def _transit(self, mount: str, key: str, secret: VaultSecret) -> Fetched:
        body, _ = await self.with_token(lambda api: api.decrypt(mount, key, secret.ciphertext))
        value = chosen_of_bytes(body, secret, self._access.max_secret_bytes)
        return Fetched(value, self._access.cache_timeout_seconds)

    def _kept(self, answer: Answer, secret: VaultSecret) -> Fetched:
        value = chosen(answer.data, secret, self._access.max_secret_bytes)
        return Fetched(value, self._access.cache_timeout_seconds, version=answer.version)


def answer_bytes(access: SecretManagementAccess) -> int:
    """How much of an answer is read: a secret in JSON, where a byte may take six, and what is around it."""
    return 6 * access.max_secret_bytes + (64 << 10)


_READERS: Mapping[Engine, Callable[..., Awaitable[Fetched]]] = MappingProxyType(
    {
        Engine.KV_V1: VaultSource._kv_v1,
        Engine.KV_V2: VaultSource._kv_v2,
        Engine.DYNAMIC: VaultSource._dynamic,
        Engine.TRANSIT: VaultSource._transit,
    }
)
