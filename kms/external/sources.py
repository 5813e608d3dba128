"""All that a party fetches from elsewhere: one source for each access, connected when it is first needed."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from blindfold.secret import SecretBytes
from kms.errors import InvalidField
from kms.external.fetched import Fetched
from kms.external.rest import RestSource
from kms.external.vault.source import VaultSource
from kms.model.access_references import MAX_DEPTH, check_references
from kms.model.names import SecretManagementAccessName
from kms.model.sealed_credentials import check_sealed_credentials
from kms.model.secret_management_access import Allowances, Engine, SecretManagementAccess
from kms.model.secret_type import BlindfoldSecret, ClearSecret, SecretType, VaultSecret

FindAccess = Callable[[SecretManagementAccessName], Awaitable[SecretManagementAccess]]
OpenBlindfold = Callable[[BlindfoldSecret], Awaitable[SecretBytes]]

# A new lease may be due sooner than all that were known when the last pause began.
LONGEST_PAUSE = 1.0
# Connections that were replaced, and gave leases that may be in use.
MOST_LEASING = 4


class Source(Protocol):
    """Where the secrets of one access come from. `due` is a time of the clock, infinite for never."""

    @property
    def due(self) -> float: ...

    async def get(self, secret: VaultSecret) -> Fetched: ...

    async def renew_due(self) -> None: ...

    async def close(self, *, revoke: bool = True) -> None: ...


@dataclass(slots=True, eq=False)
class _Connected:
    """`users` are requests under way."""

    access: SecretManagementAccess
    source: Source
    users: int = 0

    def serves(self, access: SecretManagementAccess) -> bool:
        """Whether that one differs in nothing that a connection depends on."""
        own = self.access
        return own is access or own == replace(
            access, where=own.where, labels=own.labels, description=own.description
        )

    @property
    def has_leases(self) -> bool:
        return any(mount.engine is Engine.DYNAMIC for mount in self.access.mounts)


class SecretSources:
    """Opens secrets of every type. One event loop's; `run` it beside, and `close` it at the end.

    `find_access` gives the access of a name: the same object as long as it is unchanged. It and
    `open_blindfold` raise what they will; so `get` and `open` do. What needs a flag that `allowances` lacks
    is refused.
    """

    def __init__(
        self,
        find_access: FindAccess,
        open_blindfold: OpenBlindfold,
        allowances: Allowances | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._find = find_access
        self._open_blindfold = open_blindfold
        self._allowances = allowances or Allowances()
        self._clock = clock
        self._sleep = sleep
        self._locks: dict[SecretManagementAccessName, asyncio.Lock] = {}
        self._connected: dict[SecretManagementAccessName, _Connected] = {}
        self._replaced: list[_Connected] = []

    async def get(self, secret: VaultSecret) -> Fetched:
        """A secret of a vault or REST server, and how long it may be kept.

        Raises `ExternalFailed`, `InvalidField` for what the access does not allow, and `ConfigError`.
        """
        connected = await self._current(secret.access)
        connected.users += 1
        try:
            return await connected.source.get(secret)
        finally:
            connected.users -= 1
            await self._end_replaced()

    async def vault(self, name: SecretManagementAccessName) -> VaultSource:
        """The vault of an access itself, to ask it for more than secrets. Raises as `get`."""
        source = (await self._current(name)).source
        if not isinstance(source, VaultSource):
            raise InvalidField("access", "is of a plain REST server, and not of a vault")
        return source

    async def open(self, secret: SecretType) -> SecretBytes:
        """A secret of any type, once. Raises as `get`."""
        if isinstance(secret, VaultSecret):
            return (await self.get(secret)).secret
        if isinstance(secret, BlindfoldSecret):
            return await self._open_blindfold(secret)
        if not self._allowances.clear_secrets:
            raise InvalidField(
                "type", "is clear; seal the secret (blindfold seal --location), or set the flag"
            )
        return _copy(secret)

    async def run(self) -> None:
        """Renew tokens and leases, until cancelled."""
        while True:
            now = self._clock()
            due = [(name, it) for name, it in self._connected.items() if now >= it.source.due]
            await asyncio.gather(*(self._renew(name, connected) for name, connected in due))
            soonest = min((it.source.due for it in self._connected.values()), default=math.inf)
            await self._sleep(min(max(soonest - self._clock(), 0.1), LONGEST_PAUSE))

    async def _renew(self, name: SecretManagementAccessName, connected: _Connected) -> None:
        """Unless the access is to be forgotten by now; what cannot be told leaves things as they are."""
        with suppress(Exception):
            await self._find(name)
        if self._connected.get(name) is connected:
            await connected.source.renew_due()

    async def forget(self, name: SecretManagementAccessName) -> None:
        """The access is somebody's no more: revoke what was got by it. `find_access` may call it."""
        connected = self._connected.pop(name, None)
        if connected is not None:
            await connected.source.close()

    async def close(self, *, revoke: bool = True) -> None:
        """Revoke and disconnect, as far as the servers can be asked."""
        every = [*self._replaced, *self._connected.values()]
        self._replaced, self._connected = [], {}
        await asyncio.gather(*(connected.source.close(revoke=revoke) for connected in every))

    async def _current(self, name: SecretManagementAccessName) -> _Connected:
        access = await self._find(name)
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._connected.get(name)
            if known is not None and known.serves(access):
                return known
            await self._check(name, access)
            kind = RestSource if access.is_rest else VaultSource
            source: Source = await kind.connect(access, self.open)
            connected = _Connected(access, source)
            self._connected[name] = connected
            if known is not None:
                self._replaced.append(known)
            return connected

    async def _end_replaced(self) -> None:
        """Those that nobody uses; of what may have given leases, which programs hold, the latest stay."""
        idle = [connected for connected in self._replaced if not connected.users]
        leasing = [connected for connected in idle if connected.has_leases]
        over = [connected for connected in idle if not connected.has_leases] + leasing[:-MOST_LEASING]
        self._replaced = [connected for connected in self._replaced if connected not in over]
        await asyncio.gather(*(connected.source.close() for connected in over))

    async def _check(self, name: SecretManagementAccessName, access: SecretManagementAccess) -> None:
        """That its credentials are allowed, for its endpoint, and end, through all accesses they need."""
        reached = {name: access}
        for _ in range(MAX_DEPTH):
            for found in list(reached.values()):
                for secret in found.credentials.values():
                    if isinstance(secret, VaultSecret) and secret.access not in reached:
                        reached[secret.access] = await self._find(secret.access)
        access.check_may_connect(self._allowances)
        check_sealed_credentials(access, name.tenant)
        check_references(name, access, lambda wanted, field: reached[wanted])


def _copy(secret: ClearSecret) -> SecretBytes:
    return SecretBytes(secret.secret.reveal())
