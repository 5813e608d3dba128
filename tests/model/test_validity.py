"""The life of a certificate: when it holds, and when it is to be renewed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kms.errors import InvalidField, Unauthenticated
from kms.model.validity import Validity, whole_seconds

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
LIFE = Validity(START, START + HOUR)


@pytest.mark.parametrize("offset", [-60 * SECOND, timedelta(0), HOUR])
def test_holds_from_a_minute_early_to_its_last_second(offset: timedelta) -> None:
    assert LIFE.check(START + offset) is None


@pytest.mark.parametrize(
    ("offset", "words"), [(-61 * SECOND, "not valid before 2026-03-01T12"), (HOUR + SECOND, "expired at")]
)
def test_does_not_hold_earlier_or_later(offset: timedelta, words: str) -> None:
    with pytest.raises(Unauthenticated, match=words):
        LIFE.check(START + offset)


def test_renewal_is_due_at_two_thirds() -> None:
    assert LIFE.renewal_time == START + timedelta(minutes=40)
    assert [LIFE.renewal_due(START + timedelta(minutes=minute)) for minute in (39, 40, 90)] == [
        False,
        True,
        True,
    ]


def test_a_life_has_a_zone_and_a_length() -> None:
    with pytest.raises(InvalidField, match="time zone"):
        Validity(START.replace(tzinfo=None), START)
    with pytest.raises(InvalidField, match="ends before"):
        Validity(START, START)


def test_seconds_are_cut_in_utc() -> None:
    local = datetime(2026, 3, 1, 13, 0, 0, 999_999, tzinfo=timezone(HOUR))
    assert whole_seconds(local) == START
    assert whole_seconds(local).tzinfo is UTC
