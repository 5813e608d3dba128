"""Shares of a locked server: counted once each, refused in one way, and forgotten in time."""

from datetime import UTC, datetime, timedelta

import pytest

from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust.shamir import Shamir, ShareRepeated, ShareSet, WrongShare
from kms.errors import InvalidField
from kms.services.share_gathering import PATIENCE, ShareGathering

PROVIDER, SHARES = Shamir.create(3, 5)
RECORD = PROVIDER.protect(SecretBytes(bytes(32)), bytes(16))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def gathering() -> ShareGathering:
    return ShareGathering(ShareSet.of(RECORD))


def copy(number: int) -> SecretBytes:
    return SecretBytes(SHARES[number].reveal())


def test_the_third_is_enough(gathering: ShareGathering) -> None:
    assert [gathering.give(copy(number), f"10.0.0.{number}", NOW) for number in (4, 0, 2)] == [
        False,
        False,
        True,
    ]
    given = gathering.take()
    assert [(item.number, item.giver) for item in given] == [
        (5, "10.0.0.4"),
        (1, "10.0.0.0"),
        (3, "10.0.0.2"),
    ]
    key = Shamir.combine(RECORD, [item.share for item in given])
    assert key.unlock(RECORD).reveal() == bytes(32)


def test_they_are_gone_once_taken(gathering: ShareGathering) -> None:
    gathering.give(copy(0), "a", NOW)
    gathering.take()
    assert gathering.progress(NOW) == (0, None)
    assert gathering.give(copy(0), "a", NOW) is False


def test_a_repeated_share_counts_once_whoever_gives_it(gathering: ShareGathering) -> None:
    gathering.give(copy(1), "a", NOW)
    with pytest.raises(ShareRepeated):
        gathering.give(copy(1), "b", NOW)
    assert gathering.progress(NOW) == (1, NOW + PATIENCE)


def test_wrong_shares_spoil_nothing_and_are_counted(gathering: ShareGathering) -> None:
    gathering.give(copy(0), "a", NOW)
    _, strangers = Shamir.create(3, 5)
    for refused, error in ((strangers[0], WrongShare), (SecretBytes(b"no share"), InvalidField)):
        with pytest.raises(error):
            gathering.give(refused, "b", NOW)
    assert gathering.refused == 2
    assert gathering.progress(NOW)[0] == 1
    gathering.give(copy(1), "c", NOW)
    assert gathering.give(copy(2), "d", NOW)


def test_half_a_set_is_forgotten_and_wiped_in_time(gathering: ShareGathering) -> None:
    first = copy(0)
    gathering.give(first, "a", NOW)
    later = NOW + PATIENCE - SECOND
    assert gathering.progress(later)[0] == 1
    gathering.give(copy(1), "b", later)
    assert gathering.progress(later + PATIENCE - SECOND)[0] == 2
    assert gathering.progress(later + PATIENCE) == (0, None)
    assert first.reveal() == bytes(len(first))
    assert gathering.give(copy(2), "c", later + PATIENCE) is False


def test_a_wrong_share_does_not_keep_the_others_alive(gathering: ShareGathering) -> None:
    gathering.give(copy(0), "a", NOW)
    with pytest.raises(InvalidField):
        gathering.give(SecretBytes(b"no share"), "b", NOW + PATIENCE - SECOND)
    assert gathering.progress(NOW + PATIENCE) == (0, None)
