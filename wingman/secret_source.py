"""Where secrets come from: opened once for all who ask at the same time, and kept while they may be."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

from blindfold.secret import SecretBytes
from kms.client.errors import CallDamaged, CallFailed, CallTimedOut, CallUnavailable
from kms.errors import InvalidField, Kind, KmsError
from kms.external.errors import ExternalFailed
from kms.model.secret_type import SecretType
from wingman.kept_secrets import Kept, KeptSecrets

# When somebody who asks finds that two thirds of the time are over, the secret is asked for anew.
REFRESH_AFTER = 2 / 3
# After an attempt that found nobody there: seconds, times 0.5 to 1.5.
REFRESH_PAUSE = 5.0

Reference = TypeVar("Reference", contravariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A secret, and for how many seconds from the question on it may be kept: 0 for not at all.

    After `refresh_seconds` it is better asked for anew, or earlier.
    """

    secret: SecretBytes
    keep_seconds: float
    refresh_seconds: float = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A secret, and from when on it is better asked for anew, on the clock of the source.

    One that may not be kept changes at no time that is known: infinite.
    """

    secret: SecretBytes
    refresh_at: float


class Opener(Protocol[Reference]):
    """Opens one kind of secret."""

    async def open(self, reference: Reference, /) -> Found:
        """Raises `CallFailed`, `KmsError`, `BlindfoldError` or `ExternalFailed`.

        What says nothing about the secret (`nobody_there`) leaves what is kept as it is; every other error
        drops it.
        """
        ...


class SecretSource:
    """All kinds of secrets; what they are named by is hashable. For one event loop.

    `jitter` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        openers: Mapping[type, Opener[Any]],
        kept: KeptSecrets,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        max_keep_seconds: float,
    ) -> None:
        self.clock = clock
        self._openers = openers
        self._kept = kept
        self._jitter = jitter
        self._max_keep = max_keep_seconds
        self._flights: dict[SecretType, asyncio.Task[Opened]] = {}

    async def get(self, reference: SecretType) -> Opened:
        """The secret, from memory if it may still be there. Raises as its `Opener`, and `InvalidField`."""
        kept = self._kept.get(reference)
        if kept is None:
            return await asyncio.shield(self._flight(reference))
        if self.clock() >= kept.refresh_at:
            self._flight(reference)
        return Opened(kept.secret, kept.refresh_at)

    async def newest(self, reference: SecretType) -> Opened:
        """As `get`, but what is due is waited for, and from memory only where nobody is there."""
        kept = self._kept.get(reference)
        if kept is None or self.clock() < kept.refresh_at:
            return await self.get(reference)
        try:
            return await asyncio.shield(self._flight(reference))
        except Exception:
            kept = self._kept.get(reference)
            if kept is None:
                raise
        return Opened(kept.secret, kept.refresh_at)

    async def close(self) -> None:
        """Drops everything. What is being opened for somebody is not waited for."""
        self._kept.clear()
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _flight(self, reference: SecretType) -> "asyncio.Task[Opened]":
        """The one attempt for all who wait; it goes on if they leave."""
        flight = self._flights.get(reference)
        if flight is None:
            flight = asyncio.create_task(self._open(reference))
            self._flights[reference] = flight
            flight.add_done_callback(lambda done: self._land(reference, done))
        return flight

    def _land(self, reference: SecretType, flight: "asyncio.Task[Opened]") -> None:
        del self._flights[reference]
        if not flight.cancelled():
            # Whoever waits raises it; perhaps nobody does.
            flight.exception()

    async def _open(self, reference: SecretType) -> Opened:
        opener = self._openers.get(type(reference))
        if opener is None:
            raise InvalidField("type", "is of no kind that is served here")
        asked, clearings = self.clock(), self._kept.clearings
        try:
            found = await opener.open(reference)
        except Exception as error:
            self._settle(reference, error)
            raise
        keep = min(found.keep_seconds, self._max_keep)
        refresh = min(found.refresh_seconds, keep * REFRESH_AFTER)
        kept = Kept(found.secret, asked + keep, asked + refresh, _size(reference))
        if clearings == self._kept.clearings:
            self._kept.put(reference, kept)
        return Opened(kept.secret, kept.refresh_at if keep else math.inf)

    def _settle(self, reference: SecretType, error: Exception) -> None:
        kept = self._kept.get(reference)
        if kept is None:
            return
        if nobody_there(error):
            kept.refresh_at = self.clock() + REFRESH_PAUSE * (0.5 + self._jitter())
        else:
            self._kept.drop(reference)


def _size(reference: SecretType) -> int:
    """The characters of all that names it."""
    return sum(len(str(getattr(reference, field.name))) for field in fields(reference))


def nobody_there(error: Exception) -> bool:
    """Whether an error says nothing about what was asked for: no answer, a damaged one, or "come again"."""
    if isinstance(error, KmsError | ExternalFailed):
        return error.kind in (Kind.UNAVAILABLE, Kind.EXHAUSTED)
    if isinstance(error, CallFailed) and error.retry_after is not None:
        return True
    return isinstance(error, CallUnavailable | CallTimedOut | CallDamaged)
