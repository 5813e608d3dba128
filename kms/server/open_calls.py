"""What a caller, and a tenant, has going on at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from kms.errors import RateLimited
from kms.services.rate_limits import Requester

RETRY_AFTER = 1.0
# What reads much before it answers, in threads that all callers share.
LONG = frozenset(
    {
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

    @contextmanager
    def one_of(self, user: str) -> Iterator[None]:
        """While a call of that user is open. Raises `RateLimited` for one too many."""
        if self._open[user] >= self._limit:
            raise RateLimited(RETRY_AFTER, f"{self._limit} calls are open already")
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]


class CallsAtOnce:
    """So many calls of a caller; so many long ones, and some more of all callers of a tenant.

    Whoever is in a tenant leaves some to the others in it, and a tenant leaves some to others.
    """

    def __init__(self, of_caller: int, long_of_caller: int, long_of_tenant: int) -> None:
        self._of_caller = OpenCalls(of_caller)
        self._long_of_caller = OpenCalls(long_of_caller)
        self._long_of_tenant = OpenCalls(long_of_tenant)

    @contextmanager
    def one_of(self, who: Requester, method: str) -> Iterator[None]:
        """While a call of that method, given by its full path, is open. Raises `RateLimited`."""
        with self._of_caller.one_of(who.user):
            if method.rpartition("/")[2] not in LONG:
                yield
                return
            tenant = None if who.caller is None else who.caller.tenant
            with self._long_of_caller.one_of(who.user), self._long_of_tenant.one_of(tenant or who.user):
                yield
