"""Secrets of vaults: the KMS says how a vault is reached, and Wingman connects to it itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from blindfold.secret import SecretBytes
from kms.client.accesses import FetchedAccesses
from kms.client.errors import CallDenied
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import Allowances, SecretManagementAccess
from kms.model.secret_type import BlindfoldSecret, ClearSecret, VaultSecret
from wingman.errors import NotServedHere
from wingman.kms_connection import KmsConnection
from wingman.secret_source import Found

if TYPE_CHECKING:
    from kms.external.sources import SecretSources

OpenSealed = Callable[[BlindfoldSecret], Awaitable[SecretBytes]]


class VaultSecrets:
    """The opener of `VaultSecret`. `open_sealed` opens the credentials of accesses.

    `tenant` is that of the identity, "" where it is not known. `on_denied` is called when an access is the
    identity's no longer: what it got there is revoked. `run` it in the background, and `close` it at the end.
    """

    def __init__(
        self,
        connection: KmsConnection,
        open_sealed: OpenSealed,
        allowances: Allowances,
        tenant: Callable[[], str],
        on_denied: Callable[[SecretManagementAccessName], None],
    ) -> None:
        self._connection = connection
        self._accesses = FetchedAccesses()
        self._open_sealed = open_sealed
        self._allowances = allowances
        self._tenant = tenant
        self._on_denied = on_denied
        self._sources: SecretSources | None = None
        self._is_used = asyncio.Event()

    async def open(self, secret: VaultSecret) -> Found:
        """Raises `CallFailed`, `ExternalFailed`, `InvalidField`, `NotServedHere`, and as `open_sealed`."""
        tenant = self._tenant()
        if tenant and secret.access.tenant != tenant:
            raise NotServedHere(f"the access is of another tenant than {tenant}")
        fetched = await self._used().get(secret)
        return Found(fetched.secret, fetched.keep_seconds, fetched.refresh_seconds)

    async def run(self) -> None:
        """Renew tokens and leases, until cancelled."""
        await self._is_used.wait()
        await self._used().run()

    async def close(self, *, revoke: bool) -> None:
        """Revoke leases and tokens if wanted, as far as the vaults can be asked."""
        if self._sources is not None:
            await self._sources.close(revoke=revoke)

    def _used(self) -> "SecretSources":
        if self._sources is None:
            # Here, not above: it takes 8 MiB, and many a Wingman never asks a vault.
            from kms.external.sources import SecretSources

            self._sources = SecretSources(self._find, self._open_sealed, self._allowances)
            self._is_used.set()
        return self._sources

    async def _find(self, name: SecretManagementAccessName) -> SecretManagementAccess:
        """As it is now: whoever is selected no longer is refused at once."""
        try:
            return await self._connection.ask(lambda client: self._accesses.fetch(client.api, name))
        except CallDenied:
            self._on_denied(name)
            await self._used().forget(name)
            raise


class ClearSecrets:
    """The opener of `ClearSecret`, where that is allowed."""

    async def open(self, secret: ClearSecret) -> Found:
        return Found(SecretBytes(secret.secret.reveal()), 0)
