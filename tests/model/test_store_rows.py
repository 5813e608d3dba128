"""What the rows in the backup of a store are: in one order, each of its form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import BackupInvalid
from kms.model.backup_rows import BackupRow
from kms.model.store_rows import (
    CHECKPOINT,
    DIGEST,
    EVENT,
    StoreDigest,
    deleted,
    deletion,
    in_order,
    number_of,
    numbered,
)

END = BackupRow(DIGEST, "stores/00", bytes(32))


@given(st.text(min_size=1).filter(lambda text: "/" not in text), st.text(min_size=1))
def test_deletion_says_of_what(kind, name):
    assert deleted(deletion(kind, name)) == (kind, name)


@given(st.integers(1, 10**16 - 1), st.sampled_from((EVENT, CHECKPOINT)))
def test_events_and_checkpoints_are_in_the_order_of_their_numbers(number, kind):
    row = numbered(kind, number, b"{}")
    assert number_of(row) == number
    assert list(in_order(iter([numbered(kind, number - 1, b""), row, END])))[1] == row


@pytest.mark.parametrize("name", ["", "1", "00000000000000x1", "٠" * 16, "0" * 17])
def test_other_numbers_are_none(name):
    with pytest.raises(BackupInvalid):
        number_of(BackupRow(EVENT, name, b""))


@pytest.mark.parametrize(
    ("name", "body"), [("settings", b""), ("/kms", b""), ("settings/", b""), ("a/b", b"x")]
)
def test_other_deletions_are_none(name, body):
    with pytest.raises(BackupInvalid):
        deleted(BackupRow("deletion", name, body))


@pytest.mark.parametrize(
    "rows", [[], [BackupRow("a", "b", b"")], [END, END], [END, BackupRow("a", "b", b"")]]
)
def test_without_a_digest_at_the_end_rows_are_not_all(rows):
    with pytest.raises(BackupInvalid):
        list(in_order(iter(rows)))


def test_digest_depends_on_every_row_and_their_order():
    rows = [BackupRow("a", "b", b"c"), BackupRow("a", "bc", b"")]
    digests = set()
    for taken in (rows, rows[::-1], rows[:1], []):
        digest = StoreDigest()
        for row in taken:
            digest.take(row)
        digests.add(digest.row("stores/00").body)
    assert len(digests) == 4
