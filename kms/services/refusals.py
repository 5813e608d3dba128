"""Calls that were refused before anybody was authenticated, or for their rate: counted, not recorded singly.

So are headers of a proxy that nobody believed. One summary event per caller, reason and minute, so that a
flood cannot fill the disk (docs/spec/audit.md).
"""

import asyncio
import threading
from collections import Counter

from kms.identity.spiffe import SpiffeId
from kms.model.audit_event import AuditEvent
from kms.model.names import OperatorName
from kms.services.guard import FAIL
from kms.services.rate_limits import user_address
from kms.storage.interface import Store

MAX_CALLERS = 1_000
OTHERS = "others"
REFUSED = "Kms.RefusedCalls"
# What else is counted so, by its reason.
FORWARDED_HEADER_IGNORED = "FORWARDED_HEADER_IGNORED"
_ACTIONS = {FORWARDED_HEADER_IGNORED: "Kms.IgnoredHeaders"}


class Refusals:
    """Counts from any thread; `flush` is called once a minute, and at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def count(self, caller: str, address: str, reason: str) -> None:
        """One refused call. `caller` is the SPIFFE id, or "" for a stranger, who is told by his address.

        Of IPv6 that is his /64, in which he has as many addresses as he likes.
        """
        with self._lock:
            key = (caller, address if caller else user_address(address), reason)
            if key not in self._counts and len(self._counts) >= MAX_CALLERS:
                key = ("", OTHERS, reason)
            self._counts[key] += 1

    async def flush(self, time: str) -> None:
        """Write what was counted since the last time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        events = [
            AuditEvent(
                time=time,
                action=_ACTIONS.get(reason, REFUSED),
                caller=caller,
                tenant=_tenant_of(caller),
                resource="",
                decision=FAIL,
                reason=reason,
                details={"address": address, "count": str(count)},
            )
            for (caller, address, reason), count in counts.items()
        ]
        if events:
            await asyncio.wrap_future(self._store.commit([], events))


def _tenant_of(caller: str) -> str:
    """Whose event it is: the caller's tenant's, or the platform's for operators and strangers."""
    if not caller:
        return ""
    identity = SpiffeId.parse(caller).identity
    return "" if isinstance(identity, OperatorName) else identity.tenant
