"""The token of an access through its life: made when it is needed, renewed, replaced, revoked."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from blindfold.secret import SecretBytes
from kms.external.calls import Calls
from kms.external.errors import ExternalFailed, Forbidden, Refused
from kms.external.vault.api import Issued, VaultApi

_log = logging.getLogger(__name__)

# Who was logged in so shortly ago does not log in anew because something is forbidden.
LOGIN_PAUSE = 5.0


@dataclass(slots=True, eq=False)
class Held:
    """A token in use, through its `api`. Times are of the clock, `ends` and `due` infinite for no end.

    At `due` it is renewed, or replaced if that cannot be.
    """

    api: VaultApi
    issued: Issued
    since: float
    ends: float
    due: float


class Tokens:
    """`clock` counts seconds. `part` is that of a token's life after which it is due, drawn for each."""

    def __init__(
        self,
        login: Callable[[], Awaitable[Issued]],
        calls: Calls,
        api: Callable[[SecretBytes | None], VaultApi],
        clock: Callable[[], float],
        part: Callable[[], float],
    ) -> None:
        self._login = login
        self._calls = calls
        self._api = api
        self._clock = clock
        self._part = part
        self._lock = asyncio.Lock()
        self._held: Held | None = None

    @property
    def due(self) -> float:
        """When `renew_due` has to do something."""
        return self._held.due if self._held is not None else math.inf

    async def current(self) -> Held:
        """Raises `ExternalFailed`. One that lives is given at once, also while it is renewed."""
        held = self._held
        if held is not None and self._clock() < held.ends:
            return held
        async with self._lock:
            if self._held is None or self._clock() >= self._held.ends:
                self._held = await self._made()
            return self._held

    async def replaced(self, refused: Held) -> Held | None:
        """Another token, if the refused one is dead; None if it lives, and just is not allowed."""
        async with self._lock:
            if self._held is not refused:
                return self._held
            if self._clock() < refused.since + LOGIN_PAUSE or await self._lives(refused):
                return None
            self._held = await self._made()
            return self._held

    async def renew_due(self) -> None:
        """Renew or replace the token if it is time. It stays as it is while the server cannot do either."""
        async with self._lock:
            held, now = self._held, self._clock()
            if held is None or now < held.due:
                return
            held.due = now + max((held.ends - now) / 3, 1.0)
            try:
                self._held = await self._renewed(held)
            except Exception as error:
                # Whatever opens the credential raises its own errors; the next time may do better.
                _log.warning("a vault's token could not be renewed: %s", type(error).__name__)

    async def close(self) -> None:
        """Revoke the token if it was made for this connection; it ends by itself if that fails."""
        held, self._held = self._held, None
        if held is not None and held.issued.is_own:
            with suppress(ExternalFailed):
                await self._calls.change(held.api.revoke)

    async def _made(self) -> Held:
        since = self._clock()
        made = await self._login()
        return self._hold(self._api(made.token), made, since)

    async def _renewed(self, held: Held) -> Held:
        """The same token with more time. Near the end of what can be had, another one."""
        since = self._clock()
        if held.issued.renewable:
            try:
                made = await self._calls.change(held.api.renew)
            except (Forbidden, Refused):
                return await self._made()
            if made.seconds >= held.issued.seconds / 3:
                kept = Issued(held.issued.token, made.seconds, made.renewable, held.issued.is_own)
                return self._hold(held.api, kept, since)
        return await self._made()

    async def _lives(self, held: Held) -> bool:
        try:
            await self._calls.read(lambda: held.api.look_up(held.issued.token))
        except Forbidden:
            return False
        return True

    def _hold(self, api: VaultApi, made: Issued, since: float) -> Held:
        if not made.seconds:
            return Held(api, made, since, math.inf, math.inf)
        return Held(api, made, since, since + made.seconds, since + made.seconds * self._part())
