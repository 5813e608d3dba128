"""The public beginning of a backup, printed and read; nothing else is read as one."""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import BackupInvalid
from kms.model.backup_header import MAGIC, BackupHeader

HEADER = BackupHeader(
    scope="tenants/acme",
    trust_domain="kms.test",
    store_id=b"s" * 16,
    time="2026-01-02T03:04:05.000000Z",
    sequence=17,
    chain_hash=b"c" * 32,
    rows=3,
    root_key_id=b"r" * 16,
    root_record="",
    wrapped_key=b"wrapped",
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
HEADERS = st.builds(
    BackupHeader,
    scope=TEXT,
    trust_domain=TEXT,
    store_id=st.binary(min_size=16, max_size=16),
    time=TEXT,
    sequence=st.integers(1, 2**53 - 1),
    chain_hash=st.binary(min_size=32, max_size=32),
    rows=st.integers(0, 2**53 - 1),
    root_key_id=st.binary(min_size=16, max_size=16),
    root_record=TEXT,
    wrapped_key=st.binary(max_size=80),
)


def read(data):
    return BackupHeader.read(io.BytesIO(data))


def written(values):
    body = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return MAGIC + len(body).to_bytes(2, "big") + body


@given(HEADERS, st.binary(max_size=20))
def test_header_is_read_as_it_was_written_and_no_further(header, payload):
    source = io.BytesIO(header.to_bytes() + payload)
    assert BackupHeader.read(source) == header
    assert source.read() == payload


@given(st.binary(max_size=400))
def test_other_bytes_are_no_header(data):
    for start in (b"", MAGIC):
        with pytest.raises(BackupInvalid):
            read(start + data)


@given(HEADERS, st.data())
def test_header_has_one_spelling(header, data):
    printed = header.to_bytes()
    at = data.draw(st.integers(0, len(printed) - 1))
    changed = printed[:at] + bytes([printed[at] ^ data.draw(st.integers(1, 255))]) + printed[at + 1 :]
    try:
        other = read(changed)
    except BackupInvalid:
        return
    assert other.to_bytes() == changed
    assert other != header


@given(HEADERS, st.integers(0, 10_000))
def test_header_that_is_cut_off_is_none(header, cut):
    printed = header.to_bytes()
    with pytest.raises(BackupInvalid):
        read(printed[: cut % len(printed)])


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "kms/v2 backup"},
        {"schema": None},
        {"more": ""},
        {"rows": -1},
        {"rows": "3"},
        {"rows": 3.5},
        {"rows": True},
        {"sequence": 0},
        {"sequence": 2**53},
        {"store_id": "73"},
        {"store_id": "AB" * 16},
        {"store_id": " " + "ab" * 16},
        {"chain_hash": "63" * 31},
        {"root_key_id": ""},
        {"wrapped_key": "not hex"},
        {"wrapped_key": 7},
        {"scope": None},
        {"scope": []},
        {"time": {}},
    ],
    ids=str,
)
def test_field_of_another_form_is_refused(change):
    values = {"schema": "kms/v1 backup"} | HEADER.to_json()
    assert read(written(values)) == HEADER
    with pytest.raises(BackupInvalid):
        read(written(values | change))
    with pytest.raises(BackupInvalid):
        read(written({name: value for name, value in values.items() if name not in change} | {"x": 1}))


def test_header_of_another_version_says_so():
    with pytest.raises(BackupInvalid, match="version"):
        read(b"kms backup v2\n" + HEADER.to_bytes()[len(MAGIC) :])


def test_header_has_a_limit():
    with pytest.raises(ValueError, match="16-bit"):
        replace(HEADER, root_record="x" * 70_000).to_bytes()
