"""Token buckets: never more than the burst and what came back, to the nanosecond; and bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.model.rate_limit import MAX_NUMBER, Period, Rate
from kms.services.token_buckets import TokenBuckets

SECOND = 10**9
A, B = "a", "b"

numbers = st.integers(1, 50) | st.integers(1, MAX_NUMBER)
rates = st.builds(Rate, numbers, st.sampled_from(Period), st.integers(1, 50) | numbers)
starts = st.integers(-(2**63), 2**63)
steps = st.integers(0, 3 * SECOND) | st.integers(0, 2**63)


def taken(buckets: TokenBuckets, key: str, units: int, now: int) -> bool:
    """Take the units if they are there."""
    if buckets.wait(key, units, now):
        return False
    buckets.take(key, units, now)
    return True


@given(rates, starts, st.lists(st.tuples(steps, st.floats(0, 1)), max_size=40))
def test_in_no_window_is_more_taken_than_the_burst_and_what_comes_back(rate, start, calls):
    buckets, now, log = TokenBuckets(rate, 10), start, []
    for step, share in calls:
        now += step
        units = max(1, round(share * rate.burst))
        if taken(buckets, A, units, now):
            log.append((now, units))
    for first, (begin, _) in enumerate(log):
        total = 0
        for end, units in log[first:]:
            total += units
            assert (total - rate.burst) * rate.period.nanoseconds <= (end - begin) * rate.number


@given(rates, starts, st.integers(0, 5), st.floats(0, 1))
def test_the_wait_is_exact_to_the_nanosecond(rate, start, bursts, share):
    buckets, units = TokenBuckets(rate, 10), max(1, round(share * rate.burst))
    for _ in range(bursts):
        taken(buckets, A, units, start)
    wait = buckets.wait(A, units, start)
    assert buckets.wait(A, units, start + wait) == 0
    if wait:
        assert buckets.wait(A, units, start + wait - 1) == 1


@given(rates, starts, steps)
def test_a_bucket_never_holds_more_than_its_burst(rate, start, step):
    buckets = TokenBuckets(rate, 10)
    assert taken(buckets, A, rate.burst, start)
    later = start + step
    refilled = step * rate.number >= rate.burst * rate.period.nanoseconds
    assert taken(buckets, A, rate.burst, later) is refilled
    if refilled:
        assert not taken(buckets, A, 1, later)


@given(rates, st.lists(starts, min_size=1, max_size=20))
def test_whatever_the_clock_does_nobody_waits_longer_than_an_empty_bucket_takes(rate, times):
    buckets = TokenBuckets(rate, 10)
    longest = -(-rate.burst * rate.period.nanoseconds // rate.number)
    for now in times:
        taken(buckets, A, rate.burst, now)
        assert 0 < buckets.wait(A, rate.burst, now) <= longest


@pytest.mark.parametrize(
    ("period", "seconds"), [(Period.SECOND, 1), (Period.MINUTE, 60), (Period.HOUR, 3600)]
)
def test_the_number_comes_back_evenly_over_its_period(period, seconds):
    buckets = TokenBuckets(Rate(4, period, 1), 10)
    assert taken(buckets, A, 1, 0)
    assert buckets.wait(A, 1, 0) == seconds * SECOND // 4
    assert sum(taken(buckets, A, 1, n * SECOND // 4) for n in range(1, 4 * seconds + 1)) == 4


def test_keys_have_buckets_of_their_own():
    buckets = TokenBuckets(Rate(1, Period.HOUR, 1), 10)
    assert taken(buckets, A, 1, 0)
    assert not taken(buckets, A, 1, 0)
    assert taken(buckets, B, 1, 0)


@given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(0, 99)), max_size=200))
def test_no_more_than_so_many_are_remembered(calls):
    buckets, now = TokenBuckets(Rate(1, Period.SECOND, 3), 7), 0
    for step, who in calls:
        now += step
        taken(buckets, str(who), 1, now)
        assert len(buckets) <= 7


def test_the_one_used_longest_ago_is_forgotten_when_there_are_too_many():
    buckets = TokenBuckets(Rate(1, Period.HOUR, 1), 2)
    for key in (A, B, "c"):
        assert taken(buckets, key, 1, 0)
    assert not taken(buckets, B, 1, 0)
    assert not taken(buckets, "c", 1, 0)
    assert taken(buckets, A, 1, 0)


def test_full_buckets_are_forgotten():
    buckets = TokenBuckets(Rate(1, Period.SECOND, 1), 100)
    for number in range(100):
        taken(buckets, str(number), 1, 0)
    assert len(buckets) == 100
    for number in range(100):
        taken(buckets, str(number), 1, SECOND + number)
    assert len(buckets) == 100
    for number in range(60):
        taken(buckets, "other", 1, (9 + number) * SECOND)
    assert len(buckets) == 1


def test_there_is_a_place_while_nobody_must_be_forgotten():
    buckets = TokenBuckets(Rate(1, Period.SECOND, 1), 2)
    for key in (A, B):
        assert buckets.has_place(key, 0)
        buckets.take(key, 1, 0)
    assert buckets.has_place(A, 0)
    assert not buckets.has_place("c", SECOND - 1)
    assert buckets.has_place("c", SECOND)
