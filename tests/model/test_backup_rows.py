"""Rows as a backup has them one behind the other."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import BackupInvalid
from kms.model.backup_rows import BackupRow, read_rows
from kms.model.row import MAX_ROW

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ROWS = st.lists(st.builds(BackupRow, TEXT, TEXT, st.binary(max_size=200)), max_size=8)


def read(data):
    return list(read_rows(io.BytesIO(data)))


@given(ROWS)
def test_rows_are_read_as_they_were_written(rows):
    assert read(b"".join(row.to_bytes() for row in rows)) == rows


@given(ROWS, st.integers(1, 10_000))
def test_rows_that_are_cut_off_are_refused_unless_between_two(rows, cut):
    printed = b"".join(row.to_bytes() for row in rows)
    part = printed[: max(0, len(printed) - cut)]
    ends = [len(b"".join(row.to_bytes() for row in rows[:count])) for count in range(len(rows) + 1)]
    if len(part) in ends:
        assert read(part) == rows[: ends.index(len(part))]
    else:
        with pytest.raises(BackupInvalid):
            read(part)


@given(st.binary(max_size=300))
def test_other_bytes_are_refused_or_rows(data):
    try:
        rows = read(data)
    except BackupInvalid:
        return
    assert b"".join(row.to_bytes() for row in rows) == data


def test_row_that_no_store_could_have_is_not_read_into_memory():
    with pytest.raises(BackupInvalid, match="at most"):
        read(b"\x00\x01k\x00\x01n" + (MAX_ROW + 1).to_bytes(4, "big"))


def test_names_are_text():
    with pytest.raises(BackupInvalid, match="no text"):
        read(b"\x00\x01\xff\x00\x01n" + bytes(4))
