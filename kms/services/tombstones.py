"""What the audit chain says was destroyed for good, and whether it is."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from kms.crypto.key_hierarchy import TENANT_KEY
from kms.model.finding import Finding, Invariant
from kms.model.lifecycle import VersionState
from kms.model.names import BlindfoldKeyName, KeyName
from kms.model.records import BlindfoldKeyRecord, KeyVersionRecord
from kms.services.blindfold_keys import key_row
from kms.services.guard import ALLOW
from kms.services.keys import version_row
from kms.services.restores import RESTORE
from kms.services.tenant_destruction import KEY_DESTROYED
from kms.storage.interface import Row

Place = tuple[str, str]


def _version(event: Mapping[str, Any]) -> Place:
    name = KeyName.parse(event["resource"])
    return KeyVersionRecord.KIND, version_row(name, int(event["details"]["version"]))


def _blindfold(event: Mapping[str, Any]) -> Place:
    return BlindfoldKeyRecord.KIND, key_row(BlindfoldKeyName.parse(event["resource"]))


def _tenant(event: Mapping[str, Any]) -> Place:
    return TENANT_KEY, event["resource"]


_DESTRUCTIONS: Mapping[str, Callable[[Mapping[str, Any]], Place]] = MappingProxyType(
    {
        "Kms.DestroyKeyVersion": _version,
        "Kms.DestroyBlindfoldKey": _blindfold,
        KEY_DESTROYED: _tenant,
    }
)
# Canonical bodies begin with the action, so that all others need not be parsed.
_BEGINNINGS = tuple(f'{{"action":"{action}"'.encode() for action in (*_DESTRUCTIONS, RESTORE.name))
_RECORDS = MappingProxyType({record.KIND: record for record in (KeyVersionRecord, BlindfoldKeyRecord)})


class Tombstones:
    """Takes the bodies of a chain's events in order. A tenant that is restored has what its backup had."""

    def __init__(self) -> None:
        self._places: set[Place] = set()

    def take(self, body: bytes) -> None:
        if body.startswith(_BEGINNINGS):
            self.note(json.loads(body))

    def note(self, event: Mapping[str, Any]) -> None:
        """As `take`, of a body that was read."""
        if event["decision"] != ALLOW:
            return
        if event["action"] in _DESTRUCTIONS:
            self._places.add(_DESTRUCTIONS[event["action"]](event))
        elif event["action"] == RESTORE.name and event["details"]["verify_only"] == "false":
            tenant = f"tenants/{event['details']['tenant']}"
            self._places = {place for place in self._places if f"{place[1]}/".find(f"{tenant}/") != 0}

    def broken(self, find: Callable[[str, str], Row | None]) -> Iterator[Finding]:
        """What there is again. `find` gives authentic rows."""
        for kind, name in sorted(self._places):
            row = find(kind, name)
            if row is not None and not _is_destroyed(row):
                problem = "was destroyed according to the audit chain, and is not"
                yield Finding(Invariant.TOMBSTONE, f"{kind} {name}", problem)


def destroyed_since(lines: Iterable[str], is_known: Callable[[int, bytes], bool]) -> Tombstones:
    """What a verified export says was destroyed by events that the store does not have.

    `is_known` says whether the event of that number has that chain hash in the store.
    """
    found = Tombstones()
    for line in lines:
        link = json.loads(line)
        if "body" in link and not is_known(link["sequence"], bytes.fromhex(link["chain_hash"])):
            found.note(link["body"])
    return found


def _is_destroyed(row: Row) -> bool:
    record = _RECORDS.get(row.kind)
    return record is not None and record.from_bytes(row.body).state == VersionState.DESTROYED
