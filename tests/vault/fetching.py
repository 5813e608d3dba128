"""How tests fetch: a source that lives as long as the block, with a clock that they set."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from vault.workshop import open_clear

from blindfold.secret import SecretBytes
from kms.external.calls import Calls
from kms.external.fetched import Fetched, OpenSecret
from kms.external.vault.source import VaultSource
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import SecretManagementAccess
from kms.model.secret_type import SecretType, VaultSecret

NAME = SecretManagementAccessName("acme", "prod", "corp")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Pauses:
    """Sleeps not at all, and remembers for how long it was asked to."""

    slept: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class Credentials:
    """Opens every secret as the newest of those that it was given, and counts."""

    values: list[str]
    opened: int = 0

    async def __call__(self, secret: SecretType) -> SecretBytes:
        self.opened += 1
        return SecretBytes(self.values[-1].encode())


@asynccontextmanager
async def source_of(
    access: SecretManagementAccess,
    open_secret: OpenSecret = open_clear,
    *,
    clock: Callable[[], float] | None = None,
    pauses: Pauses | None = None,
) -> AsyncIterator[VaultSource]:
    calls = Calls(access.timeout_seconds, pauses or Pauses())
    source = await VaultSource.connect(
        access, open_secret, calls=calls, clock=clock or Clock(), jitter=lambda: 0.0
    )
    try:
        yield source
    finally:
        await source.close()


def wanted(path: str, **how: Any) -> VaultSecret:
    return VaultSecret(NAME, path, **how)


def fetch(access: SecretManagementAccess, *secrets: VaultSecret, **how: Any) -> list[Fetched]:
    async def all_of_them() -> list[Fetched]:
        async with source_of(access, **how) as source:
            return [await source.get(secret) for secret in secrets]

    return asyncio.run(all_of_them())


def read(access: SecretManagementAccess, secret: VaultSecret, **how: Any) -> bytes:
    [found] = fetch(access, secret, **how)
    return found.secret.reveal()
