"""What a caller, and a tenant, has going on at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from kms.errors import RateLimited
from kms.services.rate_limits import Requester

RETRY_AFTER = 1.0
# What reads much before it answers, in threads that all callers share.
LONG = frozenset(
    {
        "BackupStore",
        "BackupTenant",
        "ListAuditEvents",
        "ReviewKmsPolicyAccess",
        "ReviewSecretPolicyAccess",
        "SimulateKmsPolicy",
        "SimulateSecretPolicy",
    }
)


class OpenCalls:
    """Counts the calls, or streams, that each caller has open: at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    def one_of(self, user: str) -> AbstractContextManager[None]:
        """While a call of that user is open. Entering raises `RateLimited` for one too many."""
        return _Open(self, user)

    def begin(self, user: str) -> None:
        """Raises `RateLimited` for one too many."""
        if self._open[user] >= self._limit:
            raise RateLimited(RETRY_AFTER, f"{self._limit} calls are open already")
        self._open[user] += 1

    def end(self, user: str) -> None:
        self._open[user] -= 1
        if not self._open[user]:
            del self._open[user]


class _Open(AbstractContextManager[None]):
    """A class, since a generator as a context manager takes four times as long, at every call."""

    __slots__ = ("_calls", "_user")

    def __init__(self, calls: OpenCalls, user: str) -> None:
        self._calls = calls
        self._user = user

    def __enter__(self) -> None:
        self._calls.begin(self._user)

    def __exit__(self, *_: object) -> None:
        self._calls.end(self._user)


class CallsAtOnce:
    """So many calls of a caller; so many long ones, and some more of all callers of a tenant.

    Whoever is in a tenant leaves some to the others in it, and a tenant leaves some to others.
    """

    def __init__(self, of_caller: int, long_of_caller: int, long_of_tenant: int) -> None:
        self._of_caller = OpenCalls(of_caller)
        self._long_of_caller = OpenCalls(long_of_caller)
        self._long_of_tenant = OpenCalls(long_of_tenant)

    def one_of(self, who: Requester, method: str) -> AbstractContextManager[None]:
        """While a call of that method, given by its full path, is open. Entering raises `RateLimited`."""
        own = self._of_caller.one_of(who.user)
        return self._long(own, who) if method.rpartition("/")[2] in LONG else own

    @contextmanager
    def _long(self, own: AbstractContextManager[None], who: Requester) -> Iterator[None]:
        tenant = None if who.caller is None else who.caller.tenant
        of_caller, of_tenant = (
            self._long_of_caller.one_of(who.user),
            self._long_of_tenant.one_of(tenant or who.user),
        )
        with own, of_caller, of_tenant:
            yield
