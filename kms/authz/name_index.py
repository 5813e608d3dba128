"""The name matchers of all rules at once: each name is transformed once for each list of transformers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from kms.authz.index import Outcome, Placed
from kms.authz.matcher import RegexFault, RegexSet, transform
from kms.model.policy import NameMatcher
from kms.model.predicate import within


class _Group:
    """The matchers with one list of transformers."""

    def __init__(self) -> None:
        self.by_value: dict[str, int] = defaultdict(int)
        self.by_regex: dict[int, int] = defaultdict(int)
        self.with_regex = 0

    def add(self, item: Placed[NameMatcher], regexes: RegexSet) -> None:
        for value in item.value.exact_values:
            self.by_value[value] |= item.bit
        for index, pattern in enumerate(item.value.regex_values):
            with within(f"{item.path}.regex_values[{index}]"):
                self.by_regex[regexes.add(pattern)] |= item.bit
            self.with_regex |= item.bit


class NameIndex:
    """Name matchers over a set of regular expressions that other indexes share."""

    def __init__(self, placed: Sequence[Placed[NameMatcher]], regexes: RegexSet) -> None:
        self._regexes = regexes
        self._groups: dict[tuple[str, ...], _Group] = defaultdict(_Group)
        for item in placed:
            self._groups[item.value.transformers].add(item, regexes)

    def matching(self, names: Iterable[str]) -> Outcome:
        """The rules of which one of the names matches."""
        names = tuple(names)
        holds = errors = 0
        for transformers, group in self._groups.items():
            for text in {text for name in names if (text := transform(name, transformers)) is not None}:
                holds |= group.by_value.get(text, 0)
                if group.with_regex:
                    try:
                        matched = self._regexes.matches(text)
                    except RegexFault:
                        errors |= group.with_regex
                        continue
                    for regex in matched:
                        holds |= group.by_regex.get(regex, 0)
        return Outcome(holds, errors & ~holds)
