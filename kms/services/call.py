"""What a service function gets besides its arguments, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from kms.errors import KmsError
from kms.model.audit_event import AuditEvent
from kms.model.caller import Caller
from kms.model.chain import timestamp
from kms.storage.interface import Changes

T = TypeVar("T")


class Call(NamedTuple):
    """One authenticated call: who, under which id, when (UTC)."""

    caller: Caller
    request_id: str
    time: datetime

    def event(
        self,
        action: str,
        resource: str,
        decision: str,
        reason: str = "",
        details: Mapping[str, str] | None = None,
    ) -> AuditEvent:
        caller = self.caller
        said = {"address": caller.address}
        if caller.via:
            said["via"] = caller.via
        if details:
            said.update(details)
        return AuditEvent(
            time=timestamp(self.time),
            action=action,
            caller=caller.spiffe_id,
            tenant=caller.tenant or "",
            resource=resource,
            decision=decision,
            reason=reason,
            request_id=self.request_id,
            details=MappingProxyType(said),
        )


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """An answer, the writes that make it true, and what the audit event says besides.

    With a `failure` the writes are those that a refusal leaves behind, and the failure is the answer.
    """

    value: T
    changes: Changes = ()
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    failure: KmsError | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items in name order; `next_after` goes into the next call, empty at the end."""

    items: tuple[T, ...]
    next_after: str
