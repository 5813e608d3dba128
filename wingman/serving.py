"""`wingman serve`: one process, one event loop, until it is told to stop."""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blindfold.secret import SecretBytes
from kms.client.open_files import allow_open_files
from kms.errors import ConfigError
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import Allowances
from kms.model.secret_type import BlindfoldSecret, ClearSecret, VaultSecret
from wingman.clock import elapsed
from wingman.condition import Condition
from wingman.configuration import Configuration
from wingman.files.keeper import FileKeeper
from wingman.files.telling import teller
from wingman.http.description import description_routes
from wingman.http.key_pages import KeyPages
from wingman.http.listening import OPEN_FILES, Listeners
from wingman.http.pages import Pages, application
from wingman.identity import IdentityKeeper
from wingman.kept_secrets import KeptSecrets
from wingman.key_leases import KeyLeases
from wingman.key_operations import KeyOperations
from wingman.kms_connection import KmsConnection
from wingman.sealed_secrets import SealedSecrets
from wingman.secret_source import Opener, SecretSource
from wingman.vault_secrets import ClearSecrets, VaultSecrets

SWEEP_EVERY = 1.0

ToProgram = Callable[[signal.Signals], None]

_log = logging.getLogger(__name__)
_jitter = secrets.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Served:
    """Where programs reach it: a path, and a port or 0."""

    socket: str
    port: int


class Wingman:
    """Everything a Wingman is made of, without listeners. For one event loop."""

    def __init__(self, configuration: Configuration, to_program: ToProgram | None = None) -> None:
        """`to_program` sends a signal to the program that Wingman has started. Raises `ConfigError`."""
        self.condition = Condition(lambda: datetime.now(UTC))
        self.identity = IdentityKeeper(configuration, self.condition, lambda: datetime.now(UTC), _jitter)
        self.connection = KmsConnection(configuration, self.condition, _jitter)
        self._kept = KeptSecrets(elapsed)
        self._sealed = SealedSecrets(self.connection, lambda: self.identity.tenant)
        self.vaults = VaultSecrets(
            self.connection,
            self._open_sealed,
            configuration.allowances,
            lambda: self.identity.tenant,
            self._forget_access,
        )
        self.source = SecretSource(
            self._openers(configuration.allowances),
            self._kept,
            elapsed,
            _jitter,
            configuration.max_keep_seconds,
        )
        self.leases = KeyLeases(
            self.connection, configuration.local_keys, configuration.local_key_seconds, elapsed, _jitter
        )
        self.condition.on_lost = self._forget
        self.files = self._file_keeper(configuration, to_program)

    def _forget(self) -> None:
        self._kept.clear()
        self.leases.clear()

    def _forget_access(self, name: SecretManagementAccessName) -> None:
        self._kept.drop_where(lambda secret: isinstance(secret, VaultSecret) and secret.access == name)

    def _openers(self, allowances: Allowances) -> Mapping[type, Opener[Any]]:
        """How each kind of secret is opened. A kind that is not here is refused."""
        openers: dict[type, Opener[Any]] = {
            BlindfoldSecret: self._sealed,
            VaultSecret: self.vaults,
        }
        return openers | ({ClearSecret: ClearSecrets()} if allowances.clear_secrets else {})

    async def _open_sealed(self, secret: BlindfoldSecret) -> SecretBytes:
        return (await self.source.get(secret)).secret

    def _file_keeper(self, configuration: Configuration, to_program: ToProgram | None) -> FileKeeper | None:
        files = configuration.files
        if files is None:
            return None
        tell = teller(files.on_change, to_program)
        return FileKeeper(files, configuration.secrets, self.source, self.identity, tell, _jitter)

    async def run(self) -> None:
        """What goes on in the background, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.stay_connected())
            if self.files is not None:
                tasks.create_task(self.files.run())

    async def stay_connected(self) -> None:
        """As `run`, without the files."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.identity.run())
            tasks.create_task(self._watch())
            tasks.create_task(self._sweep())
            tasks.create_task(self.vaults.run())

    async def close(self, *, revoke: bool = True) -> None:
        """Unless `revoke`, what vaults lent is left to live its time."""
        await self.source.close()
        await self.vaults.close(revoke=revoke)
        await self._sealed.close()
        await self.leases.close()
        await self.connection.close()

    async def _watch(self) -> None:
        await self.identity.changed()
        await self.connection.watch()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self._kept.sweep()
            self.leases.sweep()


async def serve(configuration: Configuration, on_ready: Callable[[Served], None]) -> None:
    """`serve_until`, for a process of its own: until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    allow_open_files(OPEN_FILES)
    await serve_until(stop, configuration, on_ready)


async def serve_until(
    stop: asyncio.Event, configuration: Configuration, on_ready: Callable[[Served], None]
) -> None:
    """`serve_as`, for a Wingman of its own. Raises `ConfigError`."""
    await serve_as(Wingman(configuration), stop, configuration, on_ready)


async def serve_as(
    wingman: Wingman, stop: asyncio.Event, configuration: Configuration, on_ready: Callable[[Served], None]
) -> None:
    """Serve until `stop` is set; requests under way are then finished.

    `on_ready` is called when programs can connect, which does not mean that there is an identity. Raises
    `ConfigError`.
    """
    listeners, served = _listen(configuration, wingman)
    background = asyncio.create_task(wingman.run())
    listening = asyncio.create_task(listeners.serve())
    stopping = asyncio.create_task(stop.wait())
    on_ready(served)
    try:
        await asyncio.wait({background, listening, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        wingman.condition.stops()
        listeners.stop()
        await asyncio.wait({listening})
        for task in (background, stopping):
            task.cancel()
        ended = await asyncio.gather(listening, background, stopping, return_exceptions=True)
        await wingman.close()
    for result in ended:
        if isinstance(result, Exception):
            raise result


def _listen(configuration: Configuration, wingman: Wingman) -> tuple[Listeners, Served]:
    """Bound, not served yet. Raises `ConfigError`."""
    pages = Pages(wingman.condition, wingman.identity, wingman.source)
    operations = KeyOperations(wingman.connection, wingman.leases)
    key_pages = KeyPages(operations, lambda: wingman.identity.tenant)
    routes = [*pages.routes(), *key_pages.routes(), *description_routes()]
    listeners = Listeners(application(routes))
    uids = frozenset({os.geteuid(), *configuration.uids})
    try:
        listeners.add_unix(Path(configuration.socket), uids)
        port = listeners.add_tcp(configuration.listen) if configuration.listen else 0
    except ConfigError:
        listeners.close()
        raise
    return listeners, Served(configuration.socket, port)
