"""Secrets of vaults: the KMS says how a vault is reached, and Wingman connects to it itself."""

from collections.abc import Awaitable, Callable

from blindfold.secret import SecretBytes
from kms.client.accesses import FetchedAccesses
from kms.client.errors import CallDenied
from kms.external.sources import SecretSources
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import Allowances, SecretManagementAccess
from kms.model.secret_type import BlindfoldSecret, ClearSecret, VaultSecret
from wingman.kms_connection import KmsConnection
from wingman.secret_source import Found

OpenSealed = Callable[[BlindfoldSecret], Awaitable[SecretBytes]]


class VaultSecrets:
    """The opener of `VaultSecret`. `open_sealed` opens the credentials of accesses.

    `run` it in the background, and `close` it at the end.
    """

    def __init__(self, connection: KmsConnection, open_sealed: OpenSealed, allowances: Allowances) -> None:
        self._connection = connection
        self._accesses = FetchedAccesses()
        self._sources = SecretSources(self._find, open_sealed, allowances)

    async def open(self, secret: VaultSecret) -> Found:
        """Raises `CallFailed`, `ExternalFailed`, `InvalidField`, and what `open_sealed` raises."""
        fetched = await self._sources.get(secret)
        return Found(fetched.secret, fetched.keep_seconds)

    async def run(self) -> None:
        """Renew tokens and leases, until cancelled."""
        await self._sources.run()

    async def close(self) -> None:
        """Revoke leases and tokens, as far as the vaults can be asked."""
        await self._sources.close()

    async def _find(self, name: SecretManagementAccessName) -> SecretManagementAccess:
        """As it is now: whoever is selected no longer is refused at once."""
        try:
            return await self._connection.ask(lambda client: self._accesses.fetch(client.api, name))
        except CallDenied:
            await self._sources.forget(name)
            raise


class ClearSecrets:
    """The opener of `ClearSecret`, where that is allowed."""

    async def open(self, secret: ClearSecret) -> Found:
        return Found(SecretBytes(secret.secret.reveal()), 0)
