"""Exports that were begun and wait for their proof: few of a caller, so that he pushes out his own alone."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from kms.crypto import key_wrapping
from kms.errors import InvalidField
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


def recipient_of(
    pending: PendingExport | None,
    name: KeyVersionName,
    nonce: bytes,
    public_key: bytes,
    signature: bytes,
    now: datetime,
) -> key_wrapping.Recipient:
    """The key to wrap towards, once its holder has proved to hold it. Raises `KmsError`."""
    if pending is None or pending.name != name:
        raise InvalidField("nonce", "is not of an export that you began, or was used; begin another")
    if now >= pending.expire_time:
        raise InvalidField("nonce", "has expired; begin another export")
    recipient = key_wrapping.Recipient(public_key)
    digest = hashlib.sha256(public_key).digest()
    recipient.verify_proof(key_wrapping.proof_message(nonce, str(name), digest), signature)
    return recipient
