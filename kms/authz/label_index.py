"""Label predicates of all rules at once: the work grows with the labels they name, not with the rules."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kms.authz.index import Outcome, Placed, union
from kms.authz.label_constraint import LabelConstraint, constraints
from kms.authz.selector import parse_selector
from kms.model.access_request import AccessRequest
from kms.model.policy import ClientSelector, LabelMatcher


class _Label:
    """Which alternatives fail, by the value of one label.

    An alternative fails on a present label if it asks for certain values, but for these values; one that
    excludes values fails on these alone. Hence one set for all values, and what each value toggles in it.
    """

    def __init__(self) -> None:
        self._if_absent = 0
        self._if_present = 0
        self._toggled: dict[str, int] = defaultdict(int)

    def add(self, constraint: LabelConstraint, alternative: int) -> None:
        if not constraint.absent:
            self._if_absent |= alternative
        if not constraint.all_but:
            self._if_present |= alternative
        for value in constraint.values:
            self._toggled[value] |= alternative

    def failing(self, value: str | None) -> int:
        if value is None:
            return self._if_absent
        return self._if_present ^ self._toggled.get(value, 0)


class SelectorIndex:
    """The `client_selector` of all rules. Alternative j of rule i is bit j * rules + i."""

    def __init__(self, placed: Sequence[Placed[ClientSelector]]) -> None:
        self._stride = max(item.number for item in placed) + 1
        self._alternatives = 0
        self._layers = max(len(item.value.expressions) for item in placed)
        self._labels: dict[str, _Label] = defaultdict(_Label)
        for item in placed:
            for layer, expression in enumerate(item.value.expressions):
                selector = parse_selector(expression, f"{item.path}.expressions[{layer}]")
                alternative = item.bit << (layer * self._stride)
                self._alternatives |= alternative
                for key, constraint in constraints(selector).items():
                    self._labels[key].add(constraint, alternative)

    def __call__(self, request: AccessRequest, address: int | None) -> Outcome:
        return Outcome(self._holding(request.caller.labels))

    def _holding(self, labels: Mapping[str, str]) -> int:
        failed = 0
        for key, label in self._labels.items():
            failed |= label.failing(labels.get(key))
        passing = self._alternatives & ~failed
        rules = 0
        for layer in range(self._layers):
            rules |= passing >> (layer * self._stride)
        return rules & ((1 << self._stride) - 1)


class LabelMatcherIndex:
    """The `label_matcher` of all rules."""

    def __init__(self, placed: Sequence[Placed[LabelMatcher]]) -> None:
        self._rules = union(placed)
        self._by_key: dict[str, int] = defaultdict(int)
        for item in placed:
            for key in item.value.keys:
                self._by_key[key] |= item.bit

    def __call__(self, request: AccessRequest, address: int | None) -> Outcome:
        failed = 0
        for key, rules in self._by_key.items():
            value = request.caller.labels.get(key)
            if value is None or request.resource_labels.get(key) != value:
                failed |= rules
        return Outcome(self._rules & ~failed)
