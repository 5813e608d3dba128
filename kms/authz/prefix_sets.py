"""Named sets of address prefixes: `prefixSets/office` in the place of prefixes in a rule."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

from kms.errors import InvalidField
from kms.model.policy import PolicyContent, Rule
from kms.model.predicate import prefix_set_of, within


class PrefixSets(Protocol):
    """Prefixes by the id of the set. None of the sets is empty."""

    def __contains__(self, name: object, /) -> bool: ...

    def __getitem__(self, name: str, /) -> Sequence[str]: ...


_NOTHING: dict[str, Sequence[str]] = {}
NO_SETS: PrefixSets = MappingProxyType(_NOTHING)

ADDRESS_PREDICATES = ("ip_prefixes", "ip_prefixes_except")


def references(content: PolicyContent) -> frozenset[str]:
    """The ids of the sets that a policy names."""
    named = (
        prefix_set_of(text)
        for rule in content.rules
        for predicate in ADDRESS_PREDICATES
        for text in getattr(rule, predicate)
    )
    return frozenset(name for name in named if name)


def expand(prefixes: Sequence[str], sets: PrefixSets | None) -> tuple[str, ...]:
    """The prefixes, each once, with those of the sets that are named; without these where `sets` is None.

    Raises `InvalidField` for a set that is not one of `sets`.
    """
    expanded: dict[str, None] = {}
    for index, text in enumerate(prefixes):
        name = prefix_set_of(text)
        if not name:
            expanded[text] = None
        elif sets is not None:
            if name not in sets:
                raise InvalidField(f"[{index}]", f"there is no prefix set {name}")
            expanded.update(dict.fromkeys(sets[name]))
    return tuple(expanded)


def resolved(content: PolicyContent, sets: PrefixSets) -> PolicyContent:
    """The policy that names no set, and decides as this one with these sets.

    Raises `InvalidField`, and `LimitExceeded` for more prefixes than a rule may have.
    """
    rules = []
    for number, rule in enumerate(content.rules):
        with within(f"rules[{number}]"):
            rules.append(_resolved(rule, sets))
    return replace(content, rules=tuple(rules))


def _resolved(rule: Rule, sets: PrefixSets) -> Rule:
    changed: dict[str, Any] = {}
    for predicate in ADDRESS_PREDICATES:
        with within(predicate):
            changed[predicate] = expand(getattr(rule, predicate), sets)
    return replace(rule, **changed)
