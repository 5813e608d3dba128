"""What a selector asks of one label, all its requirements on that label taken together."""

from dataclasses import dataclass
from functools import reduce
from typing import Self

from kms.authz.selector import EXISTS, NEGATIVE, NOT_EXISTS, Requirement, Selector


@dataclass(frozen=True, slots=True)
class LabelConstraint:
    """Which values the label may have: those in `values`, or, with `all_but`, every other value.

    `absent` says whether it may be missing.
    """

    absent: bool
    all_but: bool
    values: frozenset[str]

    @classmethod
    def of(cls, requirement: Requirement) -> Self:
        negative = requirement.operator in NEGATIVE
        return cls(
            absent=negative or requirement.operator == NOT_EXISTS,
            all_but=negative or requirement.operator == EXISTS,
            values=frozenset(requirement.values),
        )

    def __and__(self, other: "LabelConstraint") -> "LabelConstraint":
        absent = self.absent and other.absent
        if self.all_but and other.all_but:
            return LabelConstraint(absent, True, self.values | other.values)
        if self.all_but:
            return LabelConstraint(absent, False, other.values - self.values)
        if other.all_but:
            return LabelConstraint(absent, False, self.values - other.values)
        return LabelConstraint(absent, False, self.values & other.values)

    @property
    def is_impossible(self) -> bool:
        return not (self.absent or self.all_but or self.values)

    def implies(self, other: "LabelConstraint") -> bool:
        """Whether every label that satisfies this one satisfies the other."""
        both = self & other
        return both == self


def constraints(selector: Selector) -> dict[str, LabelConstraint]:
    """By label key. The selector holds exactly when each of them does."""
    by_key: dict[str, list[LabelConstraint]] = {}
    for requirement in selector.requirements:
        by_key.setdefault(requirement.key, []).append(LabelConstraint.of(requirement))
    return {key: reduce(LabelConstraint.__and__, found) for key, found in by_key.items()}
