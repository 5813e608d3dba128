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
_ACTIONS = (*_DESTRUCTIONS, RESTORE.name)
_BEGINNINGS = tuple(f'{{"action":"{action}"'.encode() for action in _ACTIONS)
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

    def places(self) -> list[Place]:
        """What is destroyed, tenants first, each a kind and the name of a row."""
        return sorted(self._places, key=lambda place: (place[0] != TENANT_KEY, place))

    def broken(self, find: Callable[[str, str], Row | None]) -> Iterator[Finding]:
        """What there is again. `find` gives authentic rows."""
        for kind, name in sorted(self._places):
            row = find(kind, name)
            if row is not None and not _is_destroyed(row):
                problem = "was destroyed according to the audit chain, and is not"
                yield Finding(Invariant.TOMBSTONE, f"{kind} {name}", problem)


class LaterEvents:
    """What verified exports, of any tenants and in any order, tell of events that a store does not have.

    `is_known` says whether the event of that number has that chain hash in the store.
    """

    def __init__(self, is_known: Callable[[int, bytes], bool]) -> None:
        self._is_known = is_known
        self._last = 0
        self._told: set[int] = set()
        self._changes: dict[int, Mapping[str, Any]] = {}

    def read(self, lines: Iterable[str]) -> None:
        """An export. What another one tells of an event may be hidden in this."""
        for line in lines:
            link = json.loads(line)
            if "checkpoint" not in link and not self._is_known(
                link["sequence"], bytes.fromhex(link["chain_hash"])
            ):
                self._take(link)

    def _take(self, link: Mapping[str, Any]) -> None:
        sequence = link["sequence"]
        self._last = max(self._last, sequence)
        if "body" in link:
            self._told.add(sequence)
            if link["body"]["action"] in _ACTIONS:
                self._changes[sequence] = link["body"]

    def destroyed(self) -> Tombstones:
        """What they say was destroyed, and not restored since."""
        found = Tombstones()
        for _, body in sorted(self._changes.items()):
            found.note(body)
        return found

    def unknown(self, after: int, through: int) -> int:
        """How many events nobody tells of, where the store ends at `after`.

        Up to and with `through`, or the last one of an export.
        """
        begin = min([after, *(sequence - 1 for sequence in self._told)])
        return max(max(through, self._last) - begin - len(self._told), 0)


def _is_destroyed(row: Row) -> bool:
    record = _RECORDS.get(row.kind)
    return record is not None and record.from_bytes(row.body).state == VersionState.DESTROYED
