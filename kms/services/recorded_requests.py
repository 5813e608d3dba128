"""What the audit trail recorded of requests that policies decided: who, what, about what, from where, when.

Names, labels and roles of the callers are not in it; they are those of the identities now.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from kms.errors import InvalidField
from kms.identity.spiffe import SpiffeId
from kms.model.caller import Caller
from kms.model.records import IdentityRecord
from kms.services import cryptography, evaluation, randomness, transfers
from kms.services.explaining import known_caller
from kms.services.repository import Repository
from kms.storage.interface import Store

BATCH = 1000
# Of the chain, which is of all tenants, so many events are looked at however few are the tenant's.
MAX_LOOKED_AT = 50_000

_CRYPTOGRAPHIC = (
    cryptography.ENCRYPT,
    cryptography.DECRYPT,
    cryptography.DATA_KEY,
    cryptography.RAW_ENCRYPT,
    cryptography.RAW_DECRYPT,
    cryptography.ASYMMETRIC_ENCRYPT,
    cryptography.ASYMMETRIC_DECRYPT,
    cryptography.SIGN,
    cryptography.VERIFY,
    cryptography.MAC,
    cryptography.MAC_VERIFY,
    cryptography.GET_PUBLIC_KEY,
)
# By the method that an event names: what it asked of the policies of the resource it names.
OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        **{operation.action: operation.name for operation in _CRYPTOGRAPHIC},
        transfers.IMPORT.name: "IMPORT",
        transfers.COPY.name: "COPY",
        transfers.BEGIN_EXPORT.name: "EXPORT",
        transfers.EXPORT.name: "EXPORT",
        randomness.GENERATE.name: randomness.OPERATION,
    }
)
# A copy's event also names the version that it made, which its own key's policies were asked about.
COPY, COPIED, COPIED_TO = transfers.COPY.name, "IMPORT", "to"
# The event of this method names the operation, which is one of two.
REENCRYPTION = cryptography.REENCRYPT_FROM.action
OPENING = evaluation.ACTION


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """`operation` is as policies name it, "" for the opening of a secret.

    `resource` is the name of the key, the key version or the namespace, or of the secret policy.
    """

    spiffe_id: str
    operation: str
    resource: str
    address: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Recording:
    """Requests, newest first, out of so many events of the tenant, of which the oldest is of `since`."""

    requests: tuple[RecordedRequest, ...]
    events: int
    since: datetime | None


def recorded(store: Store, tenant: str, through: int, events: int) -> Recording:
    """The requests in the tenant's last `events` events up to and with the one of that sequence number."""
    requests: list[RecordedRequest] = []
    looked_at, since = 0, None
    for body in _newest_first(store, through):
        if body["tenant"] != tenant:
            continue
        looked_at, since = looked_at + 1, datetime.fromisoformat(body["time"])
        requests += _requests(body, since)
        if looked_at == events:
            break
    return Recording(tuple(requests), looked_at, since)


def _newest_first(store: Store, through: int) -> Iterator[dict[str, Any]]:
    stop = max(store.dropped_through(), through - MAX_LOOKED_AT)
    while through > stop:
        after = max(stop, through - BATCH)
        for event in reversed(store.events(after, through - after)):
            yield json.loads(event.body)
        through = after


def _requests(body: Mapping[str, Any], time: datetime) -> Iterator[RecordedRequest]:
    """Nothing for an event of something else, or of a call that was refused before any policy was known."""
    action, details, resource = body["action"], body["details"], body["resource"]
    operation = OPERATIONS.get(action, "")
    if action == REENCRYPTION:
        operation = details.get("operation", "")
    if action == OPENING:
        resource = details.get("policy", "")
    elif not operation:
        return
    asked = [(operation, resource)]
    if action == COPY:
        asked.append((COPIED, details.get(COPIED_TO, "")))
    for name, of in asked:
        if of:
            yield RecordedRequest(body["caller"], name, of, details.get("address", ""), time)


class Callers:
    """The identities of one tenant as they are now, each read once."""

    def __init__(self, repository: Repository, tenant: str) -> None:
        self._repository = repository
        self._tenant = tenant
        self._known: dict[str, IdentityRecord | None] = {}

    def at(self, spiffe_id: str, address: str) -> Caller | None:
        """None for who is not known, or revoked."""
        try:
            identity = SpiffeId.parse(spiffe_id).identity
        except InvalidField:
            return None
        name = str(identity)
        if name not in self._known:
            is_theirs = name.startswith(f"tenants/{self._tenant}/")
            loaded = self._repository.load(IdentityRecord, name) if is_theirs else None
            self._known[name] = None if loaded is None else loaded.record
        record = self._known[name]
        if record is None or record.revoke_time is not None:
            return None
        return known_caller(identity, record, address)
