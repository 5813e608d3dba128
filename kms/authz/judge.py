"""Deciding with gaps: what policies decide of a request of which some parts are not known.

A predicate over what is not known may hold or fail, in each rule by itself. What follows for every way this
can be is the verdict; where it depends, the verdict is UNKNOWN. It is said also where only the predicates'
connection (an address is in one of two prefixes that are all there is) would tell: never a guess.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from kms.authz.compile import CompiledPolicy
from kms.authz.decide import Decision, Reason, Trace, combine
from kms.model.access_request import AccessRequest
from kms.model.policy import Action, RuleCombining

# By what a request may lack: the predicates over it.
OF_ADDRESS = ("ip_prefixes", "ip_prefixes_except")
OF_TIME = ("time_window",)
OF_AAD = ("aad_matcher",)


class Verdict(StrEnum):
    ALLOW = "ALLOW"
    DENY = "DENY"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Judgement:
    """`rules` are the names of those that allow, or may; `depends_on` the predicates that it rests on.

    Both are empty for DENY. Judgements with equal `residue` are of policies that decide this request alike,
    whatever is not known.
    """

    verdict: Verdict
    rules: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    residue: object = None


DENIED = Judgement(Verdict.DENY)


@dataclass(frozen=True, slots=True)
class _Open:
    """A trace, and besides it the rules that match only if what is not known is favourable.

    `faulty` of them could not be evaluated even then.
    """

    trace: Trace
    rules: int
    faulty: int
    predicates: tuple[str, ...]

    def traces(self) -> Iterator[Trace]:
        """One for each decision that may be.

        Whatever set of open rules matches, the decision is that of one of them, or of none: rules are
        combined by looking for the first of a kind.
        """
        yield self.trace
        for bit in _bits(self.rules):
            if bit & self.faulty:
                yield replace(self.trace, uncertain=self.trace.uncertain | bit)
            else:
                yield replace(self.trace, matched=self.trace.matched | bit)


def judge(
    policies: Sequence[CompiledPolicy], request: AccessRequest, unknown: Collection[str] = ()
) -> Judgement:
    """The verdict of an ordered set of at least one policy, as `kms.authz.decide.decide_first` decides it.

    `unknown` are names of predicates. Never raises.
    """
    allowing: list[str] = []
    depends_on: list[str] = []
    residue: list[object] = []
    actions: set[Action] = set()
    for policy in policies:
        opened = _open(policy, request, unknown)
        possible = [combine(policy, trace) for trace in opened.traces()]
        residue.append(_residue(policy, opened, unknown))
        depends_on += opened.predicates
        goes_on = [decision.reason is Reason.NO_RULE_MATCHED for decision in possible]
        actions.update(
            decision.action for decision, other in zip(possible, goes_on, strict=True) if not other
        )
        allowing += _allowing(policy, possible)
        if not any(goes_on):
            break
    else:
        actions.add(Action.DENY)
    return _judgement(actions, allowing, depends_on, tuple(residue))


def both(one: Judgement, other: Judgement) -> Judgement:
    """The verdict where both must allow."""
    residue = (one.residue, other.residue)
    verdicts = {one.verdict, other.verdict}
    if Verdict.DENY in verdicts:
        return replace(DENIED, residue=residue)
    verdict = Verdict.UNKNOWN if Verdict.UNKNOWN in verdicts else Verdict.ALLOW
    depends_on = dict.fromkeys(one.depends_on + other.depends_on)
    return Judgement(verdict, one.rules + other.rules, tuple(depends_on), residue)


def _judgement(
    actions: set[Action], allowing: Sequence[str], depends_on: Sequence[str], residue: object
) -> Judgement:
    if Action.ALLOW not in actions:
        return replace(DENIED, residue=residue)
    rules = tuple(dict.fromkeys(allowing))
    if Action.DENY not in actions:
        return Judgement(Verdict.ALLOW, rules, residue=residue)
    return Judgement(Verdict.UNKNOWN, rules, tuple(dict.fromkeys(depends_on)), residue)


def _open(policy: CompiledPolicy, request: AccessRequest, unknown: Collection[str]) -> _Open:
    # As in `decide`: any exception at all denies.
    try:
        steps = policy.steps(request, unknown)
    except Exception as error:
        return _Open(Trace(fault=type(error).__name__), 0, 0, ())
    candidates = policy.allowing | policy.denying
    errors = gaps = 0
    for step in steps:
        candidates &= step.holds | step.errors
        if step.predicate in unknown:
            gaps |= step.errors
        else:
            errors |= step.errors
    rules = candidates & gaps
    trace = Trace(steps, candidates & ~(errors | gaps), candidates & errors & ~gaps)
    predicates = [step.predicate for step in steps if step.predicate in unknown and step.errors & rules]
    return _Open(trace, rules, rules & errors, tuple(predicates))


def _allowing(policy: CompiledPolicy, possible: Sequence[Decision]) -> Iterator[str]:
    numbers = {decision.rule_index for decision in possible if decision.is_allowed}
    return (rule.name for number, rule in enumerate(policy.content.rules) if number in numbers)


def _residue(policy: CompiledPolicy, opened: _Open, unknown: Collection[str]) -> object:
    """What is left of the policy once all that is known has been asked."""
    combining, trace = policy.content.rule_combining, opened.trace
    left: list[Any] = []
    for bit in _bits(trace.matched | trace.uncertain | opened.rules):
        rule = policy.content.rules[bit.bit_length() - 1]
        gaps = tuple(
            (predicate, getattr(rule, predicate)) for predicate in sorted(unknown) if rule.is_set(predicate)
        )
        left.append((rule.action, bool(bit & (trace.uncertain | opened.faulty)), gaps))
        if combining is RuleCombining.FIRST_MATCH and not gaps:
            break
    return (combining, trace.fault, tuple(left))


def _bits(rules: int) -> Iterator[int]:
    """The rules of a set one by one, the first one first."""
    while rules:
        bit = rules & -rules
        yield bit
        rules ^= bit
