"""The place of a HIGH key, and where the bytes of a version of each sensitivity may be."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kms.errors import StoreTampered
from kms.model.device_handle import DeviceHandle
from kms.model.records import KeyVersionRecord

ID = bytes(range(0xF0, 0x100))
TEXT = "pkcs11:serial=DENK0200123;id=" + "".join(f"%{byte:02X}" for byte in ID)
RECORD = KeyVersionRecord(
    state="ENABLED",
    algorithm="AES_256_GCM",
    sensitivity="MEDIUM",
    origin="GENERATED",
    wrapped_key=b"wrapped",
    public_key=b"",
    handle="",
    create_time=datetime(2026, 1, 1, tzinfo=UTC),
    generate_time=None,
    destroy_time=None,
    destroy_event_time=None,
)


def test_text_is_a_pkcs11_uri() -> None:
    assert str(DeviceHandle("DENK0200123", ID)) == TEXT
    assert DeviceHandle.parse(TEXT) == DeviceHandle("DENK0200123", ID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkcs11:",
        TEXT.lower(),
        TEXT[:-3],
        TEXT + "%00",
        TEXT + "\n",
        TEXT.replace("pkcs11:", ""),
        TEXT.replace("DENK", "DENK0200123456789"),
        TEXT.replace("%F0", "a"),
        TEXT + ";object=key",
        TEXT.replace("DENK", "D\u0395NK"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the place of a key"):
        DeviceHandle.parse(text)


@given(st.text())
@example(TEXT)
def test_what_parses_prints_the_same(text: str) -> None:
    try:
        handle = DeviceHandle.parse(text)
    except ValueError:
        return
    assert str(handle) == text


HIGH: dict[str, Any] = {"sensitivity": "HIGH", "wrapped_key": b"", "handle": TEXT}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"wrapped_key": b"", "public_key": b"spki"},
        {"sensitivity": "LOW"},
        HIGH,
        {"state": "DESTROYED", "wrapped_key": b""},
        HIGH | {"state": "DESTROYED", "handle": ""},
        {"state": "PENDING_IMPORT", "wrapped_key": b""},
    ],
)
def test_bytes_in_the_right_place_are_stored_and_read(changes: dict[str, Any]) -> None:
    record = replace(RECORD, **changes)
    assert KeyVersionRecord.from_bytes(record.to_bytes()) == record


@pytest.mark.parametrize(
    "changes",
    [
        {"handle": TEXT},
        {"handle": TEXT, "wrapped_key": b""},
        HIGH | {"handle": ""},
        HIGH | {"wrapped_key": b"wrapped"},
        HIGH | {"handle": "", "wrapped_key": b"wrapped"},
        HIGH | {"handle": "elsewhere"},
        HIGH | {"state": "DESTROYED"},
        {"state": "DESTROYED"},
        {"state": "PENDING_IMPORT"},
        {"state": "IMPORT_FAILED"},
        {"state": "ELSEWHERE"},
    ],
)
def test_bytes_in_another_place_are_neither_written_nor_read(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the enumerations name what they refuse
        replace(RECORD, **changes)
    forged = replace(RECORD)
    for name, value in changes.items():
        object.__setattr__(forged, name, value)
    with pytest.raises(StoreTampered):
        KeyVersionRecord.from_bytes(forged.to_bytes())
