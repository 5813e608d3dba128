"""Who may still call: the limits of the platform and of the caller's tenant, asked at every call.

Limits are made ready once per change of their rows. Buckets are in memory only: after a start they are full.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import count
from types import MappingProxyType
from typing import NamedTuple

from kms.errors import RateLimited, TooManyUnits
from kms.model.caller import Caller
from kms.model.rate_limit import IdentifierKind, Limit, OperationClass, Rate
from kms.services.sized_cache import SizedCache
from kms.services.token_buckets import TokenBuckets

# For each limit, class of operations and tenant.
MAX_USERS = 10_000
# Live values of a header, for each caller; and callers whose values are told apart.
MAX_VALUES = 1_000
MAX_SUBDIVIDED = 100
MAX_VALUE = 256
IPV6_PREFIX = 64
ADDRESSES = 4096

# A bucket: which, and of which user.
Bucket = tuple[TokenBuckets, str]


class Requester(NamedTuple):
    """Who calls: the caller, None at enrolment, the IP address, and what was sent beside the request."""

    caller: Caller | None
    address: str
    metadata: Sequence[tuple[str, str | bytes]] = ()

    @property
    def user(self) -> str:
        """The SPIFFE id; of who has none, the address."""
        return user_address(self.address) if self.caller is None else self.caller.spiffe_id


@lru_cache(ADDRESSES)
def user_address(address: str) -> str:
    """An address as that of one user: of IPv6, who has one has all of its /64."""
    if address and isinstance(ip_address(address), IPv6Address):
        return str(ip_network((address, IPV6_PREFIX), strict=False))
    return address


class RateLimits:
    """For one event loop, but for `forget`. `clock` is monotonic, in nanoseconds.

    `platform` holds for every tenant, and for whoever has none; `of_tenant` reads what a tenant, given by its
    id, has besides. All limits of a call must have its units, else none is taken from.
    """

    def __init__(
        self,
        platform: Iterable[Limit],
        of_tenant: Callable[[str], Sequence[Limit]],
        clock: Callable[[], int],
    ) -> None:
        self._platform = tuple(platform)
        self._of_tenant = of_tenant
        self._clock = clock
        self._ready: dict[str | None, _Ready] = {}
        self._numbers = count(1)
        self._changes: dict[str | None, int] = {}

    def take(self, who: Requester, operation_class: OperationClass, units: int) -> None:
        """Raises `RateLimited`, and `TooManyUnits` for more units at once than a limit ever lets pass."""
        now = self._clock()
        meters = self._meters(who.caller.tenant if who.caller else None, operation_class)
        buckets = [(meter.limit, bucket) for meter in meters for bucket in meter.buckets(who, now)]
        longest, limit = 0, None
        for its_limit, (bucket, user) in buckets:
            if units > bucket.rate.burst:
                raise _too_many(units, bucket.rate.burst, its_limit)
            wait = bucket.wait(user, units, now)
            if wait > longest:
                longest, limit = wait, its_limit
        if limit is not None:
            raise RateLimited(_seconds(longest), limiter=limit.name)
        for _, (bucket, user) in buckets:
            bucket.take(user, units, now)

    def forget(self, tenant: str) -> None:
        """Called when a tenant's limits may have changed; from any thread."""
        self._changes[tenant] = next(self._numbers)

    def _meters(self, tenant: str | None, operation_class: OperationClass) -> "Sequence[_Meter]":
        ready = self._ready.get(tenant)
        change = self._changes.get(tenant, 0)
        if ready is None or ready.change != change:
            own = () if tenant is None else self._of_tenant(tenant)
            self._ready[tenant] = ready = _Ready.make(change, (*self._platform, *own), ready)
        return ready.meters.get(operation_class, ())


class _Meter:
    """The buckets of one limit, for one class of operations and one tenant."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._users = TokenBuckets(limit.rate, MAX_USERS)
        self._values = (
            None if limit.value_rate is None else _Values(limit.identifier.header, limit.value_rate)
        )

    def buckets(self, who: Requester, now: int) -> Iterator[Bucket]:
        """Those that a call takes from."""
        by_address = self.limit.identifier.kind is IdentifierKind.ADDRESS
        yield self._users, user_address(who.address) if by_address else who.user
        if self._values is not None:
            yield self._values.bucket(who, now)


class _Values:
    """A bucket for each value that a caller sends in a header: besides the caller's own, never instead of it.

    Calls without the header, with several of them, with a longer one, or with one new value too many share a
    bucket.
    """

    def __init__(self, header: str, rate: Rate) -> None:
        self._header = header
        self._rate = rate
        self._of_users: SizedCache[str, TokenBuckets] = SizedCache(MAX_SUBDIVIDED)
        self._others = TokenBuckets(rate, MAX_USERS)

    def bucket(self, who: Requester, now: int) -> Bucket:
        buckets = self._of_users.get(who.user)
        if buckets is None:
            buckets = TokenBuckets(self._rate, MAX_VALUES)
            self._of_users.keep(who.user, buckets, 1)
        sent = [value for name, value in who.metadata if name == self._header]
        value = sent[0] if len(sent) == 1 else None
        if isinstance(value, str) and len(value) <= MAX_VALUE and buckets.has_place(value, now):
            return buckets, value
        return self._others, who.user


@dataclass(frozen=True, slots=True)
class _Ready:
    """A tenant's limits as they were after the change of that number."""

    change: int
    meters: Mapping[OperationClass, Sequence[_Meter]]

    @staticmethod
    def make(change: int, limits: Sequence[Limit], before: "_Ready | None") -> "_Ready":
        """What did not change keeps its buckets as they are."""
        kept = {
            _kept_by(operation_class, meter.limit): meter
            for operation_class, meters in (before.meters.items() if before else ())
            for meter in meters
        }
        meters = {
            operation_class: tuple(
                kept.get(_kept_by(operation_class, limit)) or _Meter(limit)
                for limit in limits
                if operation_class in limit.operation_classes
            )
            for operation_class in OperationClass
        }
        return _Ready(change, MappingProxyType(meters))


def _too_many(units: int, burst: int, limit: Limit) -> TooManyUnits:
    message = f"{units} units at once, of which the rate limit lets {burst} pass"
    return TooManyUnits(message, limiter=limit.name, burst=str(burst))


def _kept_by(operation_class: OperationClass, limit: Limit) -> tuple[object, ...]:
    return operation_class, limit.name, limit.rate, limit.identifier, limit.value_rate


def _seconds(nanoseconds: int) -> float:
    """Rounded up to the microsecond, in which callers are told."""
    return -(-nanoseconds // 1000) / 10**6
