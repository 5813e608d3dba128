"""Exports that were begun and wait for their proof: few of a caller, so that he pushes out his own alone."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from kms.model.names import KeyVersionName

OF_A_CALLER = 16
CALLERS = 10_000


@dataclass(frozen=True, slots=True)
class PendingExport:
    """Of what, until when."""

    name: KeyVersionName
    expire_time: datetime


class PendingExports:
    """By caller, told by his SPIFFE id, and nonce. Above the limits the oldest are forgotten."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, OrderedDict[bytes, PendingExport]] = OrderedDict()

    def begin(self, caller: str, nonce: bytes, export: PendingExport) -> None:
        of_caller = self._callers.setdefault(caller, OrderedDict())
        self._callers.move_to_end(caller)
        of_caller[nonce] = export
        if len(of_caller) > OF_A_CALLER:
            of_caller.popitem(last=False)
        if len(self._callers) > CALLERS:
            self._callers.popitem(last=False)

    def take(self, caller: str, nonce: bytes) -> PendingExport | None:
        """The export that this caller began with this nonce: once."""
        of_caller = self._callers.get(caller)
        found = None if of_caller is None else of_caller.pop(nonce, None)
        if of_caller is not None and not of_caller:
            del self._callers[caller]
        return found
