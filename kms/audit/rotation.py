"""What the store keeps of a rotation of its root key, and the keys that both root keys give meanwhile."""

from dataclasses import replace
from datetime import datetime

from kms.crypto.key_hierarchy import KeyHierarchy, RootKeys
from kms.errors import StoreTampered
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.records import RotationRecord
from kms.storage.authentication import Previous, StoreKeys
from kms.storage.interface import Change, Delete, Put

STEP = "Kms.RotateRootKey"
PLACE = (RotationRecord.KIND, RotationRecord.NAME)


def store_keys(keys: KeyHierarchy) -> StoreKeys:
    """The hierarchy's part that the store works with."""
    return StoreKeys(
        row=keys.row_authentication.reveal(),
        element=keys.state_element.reveal(),
        state=keys.state_digest.reveal(),
        event=keys.audit_event.reveal(),
    )


def keys_amid_rotation(current: KeyHierarchy, body: bytes) -> tuple[RootKeys, StoreKeys]:
    """By the rotation's record, which the store is verified with. Raises `StoreTampered`."""
    rotation = RotationRecord.from_bytes(body)
    before = current.unwrap_previous(rotation.wrapped)
    row = (rotation.row[0], rotation.row[1]) if rotation.row else None
    previous = Previous(store_keys(before), row, rotation.event, PLACE)
    return RootKeys(current, before), replace(store_keys(current), previous=previous)


def begun(previous: Previous | None, wrapped: bytes, now: datetime) -> RotationRecord:
    """The record at the beginning."""
    if previous is None or previous.row is None:
        raise StoreTampered("a rotation of the root key begins at its end")
    return RotationRecord(wrapped, previous.row, previous.event, previous.event, now)


def moved(rotation: RotationRecord, previous: Previous | None, counter: int) -> Change:
    """The change of the record, whose row has that counter, by a step that ends there."""
    if previous is None:
        return Delete(RotationRecord.KIND, RotationRecord.NAME, counter)
    record = replace(rotation, row=previous.row or (), event=previous.event)
    return Put(RotationRecord.KIND, RotationRecord.NAME, record.to_bytes(), counter)


def step_event(previous: Previous | None, now: datetime) -> AuditEvent:
    """Says what is still under the root key before."""
    left = "nothing" if previous is None else "events" if previous.row is None else "rows and events"
    return AuditEvent(timestamp(now), STEP, "", "", "", "ALLOW", details={"left": left})
