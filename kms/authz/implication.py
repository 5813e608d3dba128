"""Whether one rule matches wherever another does, as far as that can be proved from their texts alone.

Every proof may answer False for want of knowledge, never True without being sure.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from blindfold.predicates import DAYS
from kms.authz.address_index import prefix_intervals
from kms.authz.label_constraint import LabelConstraint, constraints
from kms.authz.matcher import RegexFault, RegexSet, transform
from kms.authz.prefix_sets import NO_SETS, PrefixSets, expand
from kms.authz.selector import parse_selector
from kms.model.policy import AadMatcher, ClientSelector, LabelMatcher, NameMatcher, Rule, TimeWindow

Proof = Callable[[Any, Any], bool]

MAX_MATCHED = 1000


class Implications:
    """Compares rules of one policy, remembering what it has parsed and matched."""

    def __init__(self, rules: tuple[Rule, ...], sets: PrefixSets = NO_SETS) -> None:
        self._sets = sets
        self._regexes = RegexSet()
        self._ids = {
            regex: self._regexes.add(regex)
            for rule in rules
            for matcher in (rule.client_name_matcher, rule.key_matcher)
            for regex in (matcher.regex_values if matcher else ())
        }
        self._regexes.compile()
        self._matched: dict[str, frozenset[int]] = {}
        self._constraints: dict[str, dict[str, LabelConstraint]] = {}
        self._prefixes: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        self._proofs = self._table()
        self._predicates = [
            {name: getattr(rule, name) for name in self._proofs if rule.is_set(name)} for rule in rules
        ]

    def _table(self) -> Mapping[str, tuple[tuple[str, Proof], ...]]:
        """By the wide rule's predicate: from which of the narrow rule's it may be proved, and how.

        A proof is given the narrow rule's predicate first.
        """
        return {
            "client_name": (("client_name", str.__eq__), ("client_name_matcher", _is_only)),
            "client_name_matcher": (
                ("client_name", self.accepts),
                ("client_name_matcher", self._matcher),
            ),
            "client_selector": (("client_selector", self._selector),),
            "label_matcher": (("label_matcher", _label_matcher),),
            "roles": (("roles", _is_subset),),
            "ip_prefixes": (("ip_prefixes", self.is_covered),),
            "ip_prefixes_except": (
                ("ip_prefixes", self.are_disjoint),
                ("ip_prefixes_except", lambda narrow, wide: self.is_covered(wide, narrow)),
            ),
            "operations": (("operations", _is_subset),),
            "key_matcher": (("key_matcher", self._matcher),),
            "time_window": (("time_window", _time_window),),
            "aad_matcher": (("aad_matcher", _aad_matcher),),
        }

    def implies(self, narrow: int, wide: int) -> bool:
        """Whether rule `wide` matches every request that rule `narrow` matches."""
        given, asked = self._predicates[narrow], self._predicates[wide]
        return all(
            any(other in given and proof(given[other], value) for other, proof in self._proofs[predicate])
            for predicate, value in asked.items()
        )

    def is_covered(self, narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
        """Whether every address in the prefixes `narrow` is in those of `wide`."""
        outer = self._intervals(wide)
        starts = [start for start, _ in outer]
        return all(
            (place := bisect_right(starts, start)) and end <= outer[place - 1][1]
            for start, end in self._intervals(narrow)
        )

    def are_disjoint(self, narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
        """Whether no address is in both: in the order of all intervals, none starts inside another."""
        both = sorted(self._intervals(narrow) + self._intervals(wide))
        return all(earlier[1] <= later[0] for earlier, later in pairwise(both))

    def _intervals(self, texts: tuple[str, ...]) -> list[tuple[int, int]]:
        if texts not in self._prefixes:
            self._prefixes[texts] = list(prefix_intervals(expand(texts, self._sets)))
        return self._prefixes[texts]

    def accepts(self, name: str, matcher: NameMatcher) -> bool:
        """Whether the matcher, of a rule of this policy, holds for this very name."""
        text = transform(name, matcher.transformers)
        return text is not None and self._takes(matcher, text)

    def constraints(self, expression: str) -> dict[str, LabelConstraint]:
        """What the label selector asks, by label key."""
        if expression not in self._constraints:
            self._constraints[expression] = constraints(parse_selector(expression))
        return self._constraints[expression]

    def _takes(self, matcher: NameMatcher, text: str) -> bool:
        """As `accepts`, for a name that is transformed already."""
        matched = self._matching(text)
        return text in matcher.exact_values or any(
            self._ids[regex] in matched for regex in matcher.regex_values
        )

    def _matching(self, text: str) -> frozenset[int]:
        """The ids of the patterns that match, none for want of knowledge: after 1,000 texts too."""
        if text not in self._matched:
            if len(self._matched) >= MAX_MATCHED:
                return frozenset()
            try:
                self._matched[text] = frozenset(self._regexes.matches(text))
            except RegexFault:
                self._matched[text] = frozenset()
        return self._matched[text]

    def _matcher(self, narrow: NameMatcher, wide: NameMatcher) -> bool:
        return (
            narrow.transformers == wide.transformers
            and (".*" in wide.regex_values or set(narrow.regex_values) <= set(wide.regex_values))
            and all(self._takes(wide, value) for value in narrow.exact_values)
        )

    def _selector(self, narrow: ClientSelector, wide: ClientSelector) -> bool:
        return all(
            any(self._expression(one, other) for other in wide.expressions) for one in narrow.expressions
        )

    def _expression(self, narrow: str, wide: str) -> bool:
        given = self.constraints(narrow)
        return all(
            key in given and given[key].implies(asked) for key, asked in self.constraints(wide).items()
        )


def _is_only(narrow: NameMatcher, wide: str) -> bool:
    return narrow == NameMatcher(exact_values=(wide,))


def _is_subset(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    return set(narrow) <= set(wide)


def _label_matcher(narrow: LabelMatcher, wide: LabelMatcher) -> bool:
    return set(wide.keys) <= set(narrow.keys)


def _time_window(narrow: TimeWindow, wide: TimeWindow) -> bool:
    begins = wide.not_before is None or (
        narrow.not_before is not None and narrow.not_before >= wide.not_before
    )
    ends = wide.not_after is None or (narrow.not_after is not None and narrow.not_after <= wide.not_after)
    hours = (narrow.start_time, narrow.end_time) == (wide.start_time, wide.end_time)
    days = set(narrow.days or DAYS) <= set(wide.days or DAYS)
    same_week = hours and days and (narrow.time_zone or "UTC") == (wide.time_zone or "UTC")
    return begins and ends and (same_week or not (wide.days or wide.start_time))


def _aad_matcher(narrow: AadMatcher, wide: AadMatcher) -> bool:
    return narrow == wide or (
        bool(narrow.equals) and not narrow.starts_with and all(map(wide.accepts, narrow.equals))
    )
