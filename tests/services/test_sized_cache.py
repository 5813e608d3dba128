"""The cache that is bounded by bytes."""

from hypothesis import given
from hypothesis import strategies as st

from kms.services.sized_cache import SizedCache


def test_the_least_recently_used_make_room() -> None:
    cache: SizedCache[str, int] = SizedCache(10)
    for number, name in enumerate("ab"):
        cache.keep(name, number, 5)
    assert cache.get("a") == 0
    cache.keep("c", 2, 4)
    assert [cache.get(name) for name in "abc"] == [0, None, 2]


def test_what_is_larger_than_all_is_not_kept_and_drives_nothing_out() -> None:
    cache: SizedCache[str, int] = SizedCache(10)
    cache.keep("a", 1, 10)
    cache.keep("b", 2, 11)
    assert (cache.get("a"), cache.get("b")) == (1, None)


def test_another_value_takes_the_place_and_the_size_of_the_first() -> None:
    cache: SizedCache[str, int] = SizedCache(10)
    cache.keep("a", 1, 9)
    cache.keep("a", 2, 1)
    cache.keep("b", 3, 9)
    assert (cache.get("a"), cache.get("b")) == (2, 3)
    cache.drop("a")
    cache.drop("a")
    assert (cache.get("a"), cache.get("b")) == (None, 3)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12), st.booleans())))
def test_the_limit_holds(steps: list[tuple[int, int, bool]]) -> None:
    cache: SizedCache[int, int] = SizedCache(20)
    for key, size, drop in steps:
        if drop:
            cache.drop(key)
        else:
            cache.keep(key, size, size)
        kept = [size for number in range(6) if (size := cache.get(number)) is not None]
        assert sum(kept) <= 20
