"""Which audit events somebody should look at now.

Pure but for what it remembers of the denials of the last minutes, which is bounded: who was denied longest
ago is forgotten first.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from kms.model.audit_event import AuditEvent
from kms.model.lifecycle import VersionState

MAX_CALLERS = 10_000
# Uses of keys: what names a key as its resource and does something with it.
USES = frozenset(
    {
        "AsymmetricDecrypt",
        "AsymmetricEncrypt",
        "Decrypt",
        "Encrypt",
        "EvaluateBlinded",
        "ExportKeyVersion",
        "GenerateDataKey",
        "Mac",
        "MacVerify",
        "RawDecrypt",
        "RawEncrypt",
        "ReEncrypt",
        "Sign",
        "Verify",
    }
)
UNLOCKS = frozenset({"Kms.Start", "Kms.Unlock", "Kms.AcceptRollback"})


class AlertKind(StrEnum):
    """What happened. The values are in logs, metrics and webhooks."""

    DENIALS = "denials"
    FIRST_USE = "first_use"
    COMPROMISED_USE = "compromised_use"
    DESTROY_SCHEDULED_USE = "destroy_scheduled_use"
    UNLOCK = "unlock"


_STATES = {
    VersionState.COMPROMISED: AlertKind.COMPROMISED_USE,
    VersionState.DESTROY_SCHEDULED: AlertKind.DESTROY_SCHEDULED_USE,
}


@dataclass(frozen=True, slots=True)
class Alert:
    """`event` is the one that raised it; `count` the denials of a caller, else 1."""

    kind: AlertKind
    event: AuditEvent
    count: int = 1


@dataclass(frozen=True, slots=True)
class DenialRate:
    """So many denials of one caller within so long are an alert, then none until they were fewer."""

    count: int = 20
    window: timedelta = timedelta(minutes=1)


# Whether a caller is known to have used a key: the key's resource name, the caller's SPIFFE id.
HasUsed = Callable[[str, str], bool]


class Detector:
    """Looks at events in the order of the chain, from one thread."""

    def __init__(self, rate: DenialRate, has_used: HasUsed) -> None:
        self._rate = rate
        self._has_used = has_used
        self._denials: OrderedDict[str, deque[datetime]] = OrderedDict()

    def look(self, event: AuditEvent) -> Iterator[Alert]:
        if event.action in UNLOCKS:
            yield Alert(AlertKind.UNLOCK, event)
        if _is_denial(event) and self._is_many(event):
            yield Alert(AlertKind.DENIALS, event, self._rate.count)
        if event.action not in USES:
            return
        for state in event.details.get("state", "").split():
            if state in _STATES:
                yield Alert(_STATES[VersionState(state)], event)
        if event.decision == "ALLOW" and not self._has_used(event.resource, event.caller):
            yield Alert(AlertKind.FIRST_USE, event)

    def _is_many(self, event: AuditEvent) -> bool:
        """Whether this denial is the one that makes too many. Counting then begins anew."""
        now = datetime.fromisoformat(event.time)
        times = self._denials.setdefault(event.caller, deque(maxlen=self._rate.count))
        self._denials.move_to_end(event.caller)
        if len(self._denials) > MAX_CALLERS:
            self._denials.popitem(last=False)
        times.append(now)
        if len(times) < self._rate.count or now - times[0] > self._rate.window:
            return False
        times.clear()
        return True


def _is_denial(event: AuditEvent) -> bool:
    """Of the whole call, or of an item of a batch."""
    return event.decision == "DENY" or event.details.get("denied", "0") != "0"
