"""Alerts: what the audit trail shows that somebody should look at now, told to the log and to a listener."""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable

from kms.audit.alerts import Alert, AlertKind, DenialRate, Detector
from kms.model.audit_event import AuditEvent
from kms.model.records import KeyUsersRecord
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Repository, create
from kms.storage.interface import WriteConflict

MAX_KNOWN = 100_000
MAX_USERS = 1024
USER_SIZE = 16

Tell = Callable[[Alert, bytes], None]

_log = logging.getLogger(__name__)


class Alerting:
    """`observed` gets durable events from any thread; `look` is called every second, in the event loop.

    `tell` gets each alert, and the same as JSON in UTF-8. Who has used a key is kept in the store, for the
    first 1,024 of a key; nobody is new to a key that has so many.
    """

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        observed: deque[AuditEvent],
        rate: DenialRate,
        tell: Tell,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._tell = tell
        self._detector = Detector(rate, self._has_used)
        self._observed = observed
        self._known: set[tuple[str, str]] = set()

    async def look(self) -> None:
        """Tell what the events since the last look have in them. Raises `Unavailable`."""
        for _ in range(len(self._observed)):
            event = self._observed.popleft()
            for alert in list(self._detector.look(event)):
                if alert.kind is AlertKind.FIRST_USE:
                    await self._remember(event)
                _log.warning(
                    "alert %s: %s of %s by %s", alert.kind, event.action, event.resource, event.caller
                )
                self._tell(alert, to_json(alert))

    def _has_used(self, key: str, caller: str) -> bool:
        if (key, caller) in self._known:
            return True
        loaded = self._repository.load(KeyUsersRecord, key)
        users = b"" if loaded is None else loaded.record.users
        known = len(users) >= MAX_USERS * USER_SIZE or _user(caller) in _split(users)
        if known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known.add((key, caller))
        return known

    async def _remember(self, event: AuditEvent) -> None:
        """The caller is known at this key from now on. An event of its own says so."""
        loaded = self._repository.load(KeyUsersRecord, event.resource)
        if loaded is None:
            change = create(event.resource, KeyUsersRecord(_user(event.caller)))
        else:
            change = loaded.put(KeyUsersRecord(loaded.record.users + _user(event.caller)))
        noted = event._replace(action="Kms.FirstUse", decision=ALLOW, reason="", details={})
        try:
            await self._guard.commit([change], [noted])
        except WriteConflict:
            _log.info("the users of %s were changed by somebody else", event.resource)


def to_json(alert: Alert) -> bytes:
    """`type`, `time` and `data` as Standard Webhooks have them. Names, never a payload."""
    event = alert.event
    data = {
        "action": event.action,
        "caller": event.caller,
        "tenant": event.tenant,
        "resource": event.resource,
        "decision": event.decision,
        "reason": event.reason,
        "request_id": event.request_id,
        "details": dict(event.details),
        "count": alert.count,
    }
    return json.dumps({"type": f"kms.alert.{alert.kind}", "time": event.time, "data": data}).encode()


def _user(caller: str) -> bytes:
    return hashlib.sha256(caller.encode()).digest()[:USER_SIZE]


def _split(users: bytes) -> set[bytes]:
    return {users[start : start + USER_SIZE] for start in range(0, len(users), USER_SIZE)}
