"""Where the material of key versions comes from, and versions that have none yet."""

from datetime import datetime
from enum import StrEnum

from kms.model.lifecycle import VersionState
from kms.model.records import KeyRecord, KeyVersionRecord


class Origin(StrEnum):
    """Where a version's material came from."""

    GENERATED = "GENERATED"
    IMPORTED = "IMPORTED"
    IMPORTED_PUBLIC = "IMPORTED_PUBLIC"
    COPIED = "COPIED"


def awaiting_import(key: KeyRecord, now: datetime) -> KeyVersionRecord:
    """A version without material."""
    return KeyVersionRecord(
        state=VersionState.PENDING_IMPORT.value,
        algorithm=key.algorithm,
        sensitivity=key.sensitivity,
        origin=Origin.IMPORTED.value,
        wrapped_key=b"",
        public_key=b"",
        handle="",
        create_time=now,
        generate_time=None,
        destroy_time=None,
        destroy_event_time=None,
    )
