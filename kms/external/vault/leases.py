"""Dynamic secrets: made once for all who ask, renewed while that is possible, revoked at the end."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from kms.external.calls import Calls
from kms.external.errors import ExternalFailed, Forbidden, Refused
from kms.external.vault.api import Answer, Lease
from kms.external.vault.tokens import Held


@dataclass(slots=True, eq=False)
class Leased:
    """A dynamic secret. It is renewed at `due`, or replaced where it cannot be."""

    answer: Answer
    lease: Lease
    holder: Held
    ends: float
    due: float
    renewable: bool


class Leases:
    """By path: who asks for its user name and its password gets those of one lease.

    `part` is that of a lease's life after which it is due, drawn for each.
    """

    def __init__(self, calls: Calls, clock: Callable[[], float], part: Callable[[], float]) -> None:
        self._calls = calls
        self._clock = clock
        self._part = part
        # Those in use: paths come from whoever asks.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._current: dict[str, Leased] = {}
        self._all: list[Leased] = []

    @property
    def due(self) -> float:
        """When `renew_due` has to do something."""
        return min((leased.due for leased in self._current.values() if leased.renewable), default=math.inf)

    async def get(self, path: str, make: Callable[[], Awaitable[tuple[Answer, Held]]]) -> Leased:
        """The live one, or one that is made. Raises what `make` raises."""
        lock = self._locks.setdefault(path, asyncio.Lock())
        async with lock:
            found, now = self._current.get(path), self._clock()
            if found is not None and now < (found.ends if found.renewable else found.due):
                return found
            self._all = [leased for leased in self._all if now < leased.ends]
            made = self._hold(*await make(), now)
            self._current[path] = made
            if made.lease.id:
                self._all.append(made)
            return made

    def seconds(self, leased: Leased) -> tuple[float, float]:
        """For how long it lives, and after how long it is better asked for again."""
        now = self._clock()
        return max(0.0, leased.ends - now), max(0.0, leased.due - now)

    async def renew_due(self) -> None:
        """Renew what is due. What cannot be renewed is given out no longer; it lives on until its end."""
        now = self._clock()
        for leased in [leased for leased in self._current.values() if leased.renewable and now >= leased.due]:
            leased.due = now + max((leased.ends - now) / 3, 1.0)
            with suppress(ExternalFailed):
                await self._renew(leased)

    def forget(self, holder: Held) -> None:
        """A token died, and its leases with it."""
        self._all = [leased for leased in self._all if leased.holder is not holder]
        self._current = {
            path: leased for path, leased in self._current.items() if leased.holder is not holder
        }

    async def close(self) -> None:
        """Revoke all that still live; those of a server that cannot be asked end by themselves."""
        live = [leased for leased in self._all if self._clock() < leased.ends]
        self._all, self._current = [], {}
        await asyncio.gather(*map(self._revoke, live))

    async def _revoke(self, leased: Leased) -> None:
        with suppress(ExternalFailed):
            await self._calls.change(partial(leased.holder.api.revoke_lease, leased.lease))

    async def _renew(self, leased: Leased) -> None:
        since = self._clock()
        try:
            renewed = await self._calls.read(lambda: leased.holder.api.renew_lease(leased.lease))
        except (Forbidden, Refused):
            leased.renewable, leased.due = False, since
            return
        # Near its longest life a lease is given less and less.
        if renewed.seconds < leased.lease.seconds / 3:
            leased.renewable, leased.due = False, since
        else:
            leased.due = since + renewed.seconds * self._part()
        leased.ends = since + renewed.seconds

    def _hold(self, answer: Answer, holder: Held, since: float) -> Leased:
        lease = answer.lease or Lease("", 0, False)
        # A lease ends with the token that it was made with.
        seconds = min(lease.seconds, math.inf if holder.issued.renewable else holder.ends - since)
        due = since + seconds * self._part()
        return Leased(answer, lease, holder, since + seconds, due, lease.renewable)
