"""Indexes from a value to the rules that it satisfies. A set of rules is an integer: bit i is rule i."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Placed(NamedTuple, Generic[T]):
    """A predicate where it stands: in rule `number`, at `path` in the policy."""

    number: int
    path: str
    value: T

    @property
    def bit(self) -> int:
        return 1 << self.number


class Outcome(NamedTuple):
    """The rules whose predicate holds, and those whose predicate could not be evaluated. Disjoint."""

    holds: int
    errors: int = 0


def union(placed: Iterable[Placed[Any]]) -> int:
    """The rules in which the predicates stand."""
    rules = 0
    for item in placed:
        rules |= item.bit
    return rules


class ValueIndex(Generic[T]):
    """Rules by exact value."""

    def __init__(self, entries: Iterable[tuple[T, int]]) -> None:
        self._rules: dict[T, int] = defaultdict(int)
        for value, rules in entries:
            self._rules[value] |= rules

    def any_of(self, values: Iterable[T]) -> int:
        rules = 0
        for value in values:
            rules |= self._rules.get(value, 0)
        return rules


class IntervalIndex:
    """Rules by the half-open intervals [start, end) that a point lies in; an end of None is never reached.

    The intervals of one rule must be disjoint; they may touch.
    """

    def __init__(self, intervals: Iterable[tuple[int, Any, Any]]) -> None:
        toggles: dict[Any, int] = defaultdict(int)
        for rules, start, end in intervals:
            toggles[start] ^= rules
            if end is not None:
                toggles[end] ^= rules
        self._points = sorted(toggles)
        self._rules = [0]
        for point in self._points:
            self._rules.append(self._rules[-1] ^ toggles[point])

    def at(self, point: Any) -> int:
        return self._rules[bisect_right(self._points, point)]
