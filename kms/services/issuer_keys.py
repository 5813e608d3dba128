"""The keys of JWT issuers that publish them (OpenID Connect Discovery 1.0, section 4)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from kms.errors import InvalidField, Unavailable
from kms.identity.web_tokens import Jwks, parse_jwks
from kms.services.sized_cache import SizedCache

WELL_KNOWN = "/.well-known/openid-configuration"
SECOND = 1_000_000_000
# In nanoseconds: when keys are looked up again, how long they serve while that fails, and how soon it is
# tried again, also for a key that nobody knows: strangers make the KMS ask no more often than this.
REFRESH, KEEP, RETRY = 300 * SECOND, 3600 * SECOND, 30 * SECOND
KEPT_BYTES = 16 << 20
KEPT_SIZE = 64 << 10
FAILED_SIZE = 1 << 10

# The body at an https URL of an allowed host, bounded in size and time. Raises `Unavailable`.
Fetch = Callable[[str], Awaitable[bytes]]


async def fetch_nothing(url: str) -> bytes:
    """For a KMS that fetches from no host. Raises `Unavailable`."""
    raise Unavailable("this KMS fetches no keys of issuers")


@dataclass(frozen=True, slots=True)
class _Kept:
    """Keys, and the times, by the clock, that they were fetched and last asked for."""

    keys: Jwks
    fetched: int
    tried: int


class IssuerKeys:
    """Fetches, and keeps. `clock` is monotonic, in nanoseconds. Used in one event loop at a time."""

    def __init__(self, fetch: Fetch, clock: Callable[[], int]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: SizedCache[str, _Kept] = SizedCache(KEPT_BYTES)
        self._failed: SizedCache[str, int] = SizedCache(KEPT_BYTES)
        self._under_way: dict[str, asyncio.Task[Jwks]] = {}

    async def of(self, issuer: str, key_id: str) -> Jwks:
        """The issuer's keys; fresh ones if they are old or have none of that id. Raises `Unavailable`."""
        kept, now = self._kept.get(issuer), self._clock()
        if kept is None:
            failed = self._failed.get(issuer)
            if failed is not None and now - failed < RETRY:
                raise Unavailable(f"the keys of {issuer} could not be fetched; try again later")
            return await self._fresh(issuer)
        age = now - kept.fetched
        if (age < REFRESH and key_id in kept.keys) or now - kept.tried < RETRY:
            return kept.keys
        self._kept.keep(issuer, replace(kept, tried=now), KEPT_SIZE)
        try:
            return await self._fresh(issuer)
        except Unavailable:
            if age < KEEP:
                return kept.keys
            self._kept.drop(issuer)
            raise

    async def _fresh(self, issuer: str) -> Jwks:
        """Whoever asks meanwhile waits for the same answer."""
        task = self._under_way.get(issuer)
        if task is None:
            task = asyncio.create_task(self._discover(issuer))
            self._under_way[issuer] = task
            task.add_done_callback(lambda _: self._under_way.pop(issuer, None))
        return await asyncio.shield(task)

    async def _discover(self, issuer: str) -> Jwks:
        try:
            description = _description(await self._fetch(issuer.rstrip("/") + WELL_KNOWN))
            if description.get("issuer") != issuer:
                raise Unavailable(f"{issuer} describes another issuer")
            keys = parse_jwks(await self._fetch(str(description.get("jwks_uri"))))
        except InvalidField as error:
            problem = error.message
        except Unavailable:
            self._failed.keep(issuer, self._clock(), FAILED_SIZE)
            raise
        else:
            now = self._clock()
            self._kept.keep(issuer, _Kept(keys, now, now), KEPT_SIZE)
            return keys
        self._failed.keep(issuer, self._clock(), FAILED_SIZE)
        raise Unavailable(f"the keys of {issuer} cannot be used: {problem}")


def _description(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidField("configuration", "is not a JSON object")
    return value
