"""Loaded keys: at hand until they are forgotten, and not brought back by whoever was loading then."""

from kms.services.loaded_keys import LoadedKeys


def test_the_least_recently_used_is_forgotten_first() -> None:
    keys: LoadedKeys[str, int] = LoadedKeys(2)
    for number, name in enumerate("ab"):
        keys.keep(name, number, keys.begin())
    assert keys.get("a") == 0
    keys.keep("c", 2, keys.begin())
    assert [keys.get(name) for name in "abc"] == [0, None, 2]


def test_what_was_begun_before_a_key_was_forgotten_is_not_kept() -> None:
    keys: LoadedKeys[str, int] = LoadedKeys(2)
    begun = keys.begin()
    keys.forget("a")
    keys.keep("a", 1, begun)
    assert keys.get("a") is None
    keys.keep("a", 1, keys.begin())
    assert keys.get("a") == 1
