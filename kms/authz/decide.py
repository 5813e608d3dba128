"""The decision: a pure function of a compiled policy and a request. No match denies; so does any error.

An error is a predicate that cannot be evaluated, such as an address prefix for a caller whose address is
unknown. It counts in a rule whose other predicates all hold. Such a rule might match, so the request is
denied, whatever the rule's action and whatever other rules say; under FIRST_MATCH, unless an earlier rule
has matched and decided. A rule of which one predicate plainly fails cannot match, and errors in it do not
count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from kms.authz.compile import CompiledPolicy, Step
from kms.model.access_request import AccessRequest
from kms.model.policy import Action, RuleCombining


class Reason(StrEnum):
    RULE_MATCHED = "RULE_MATCHED"
    NO_RULE_MATCHED = "NO_RULE_MATCHED"
    EVALUATION_ERROR = "EVALUATION_ERROR"


@dataclass(frozen=True, slots=True)
class Trace:
    """How the decision came about, for `explain`.

    `steps` in the order of evaluation, up to the one that left no rule; `matched` and `uncertain` the sets
    of rules that matched, or would unless for an error; `fault` the type of an unforeseen exception.
    """

    steps: tuple[Step, ...] = ()
    matched: int = 0
    uncertain: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule_index` is the rule that decided, or None: no rule matched, or an unforeseen exception."""

    action: Action
    rule_index: int | None
    reason: Reason
    trace: Trace

    @property
    def is_allowed(self) -> bool:
        return self.action is Action.ALLOW


def decide(policy: CompiledPolicy, request: AccessRequest) -> Decision:
    """Decide the request. Never raises: what goes wrong denies."""
    # Any exception at all: nobody may be let through because the question could not be answered.
    try:
        trace = _trace(policy, request)
    except Exception as error:
        trace = Trace(fault=type(error).__name__)
    return combine(policy, trace)


def combine(policy: CompiledPolicy, trace: Trace) -> Decision:
    """The decision that the policy's way of combining rules makes of what matched."""
    if trace.fault:
        return Decision(Action.DENY, None, Reason.EVALUATION_ERROR, trace)
    return _COMBINE[policy.content.rule_combining](policy, trace)


def decide_first(
    policies: Sequence[CompiledPolicy], request: AccessRequest
) -> tuple[CompiledPolicy, Decision]:
    """Of the policies in order, the first that decides otherwise than by matching no rule; else the last.

    There is at least one. Never raises.
    """
    for policy in policies:
        decision = decide(policy, request)
        if decision.reason is not Reason.NO_RULE_MATCHED:
            break
    return policy, decision


def _trace(policy: CompiledPolicy, request: AccessRequest) -> Trace:
    steps = policy.steps(request)
    candidates = policy.allowing | policy.denying
    errors = 0
    for step in steps:
        candidates &= step.holds | step.errors
        errors |= step.errors
    return Trace(steps, candidates & ~errors, candidates & errors)


def _first_match(policy: CompiledPolicy, trace: Trace) -> Decision:
    candidates = trace.matched | trace.uncertain
    first = candidates & -candidates
    return (
        _decided(trace, Action.DENY, first & trace.uncertain, Reason.EVALUATION_ERROR)
        or _decided(trace, Action.ALLOW, first & policy.allowing)
        or _decided(trace, Action.DENY, first & policy.denying)
        or _no_match(trace)
    )


def _deny_overrides(policy: CompiledPolicy, trace: Trace) -> Decision:
    return (
        _decided(trace, Action.DENY, trace.matched & policy.denying)
        or _decided(trace, Action.DENY, trace.uncertain, Reason.EVALUATION_ERROR)
        or _decided(trace, Action.ALLOW, trace.matched & policy.allowing)
        or _no_match(trace)
    )


def _allow_overrides(policy: CompiledPolicy, trace: Trace) -> Decision:
    return (
        _decided(trace, Action.DENY, trace.uncertain, Reason.EVALUATION_ERROR)
        or _decided(trace, Action.ALLOW, trace.matched & policy.allowing)
        or _decided(trace, Action.DENY, trace.matched & policy.denying)
        or _no_match(trace)
    )


def _decided(
    trace: Trace, action: Action, rules: int, reason: Reason = Reason.RULE_MATCHED
) -> Decision | None:
    """A decision by the first of `rules`, if there are any."""
    return Decision(action, (rules & -rules).bit_length() - 1, reason, trace) if rules else None


def _no_match(trace: Trace) -> Decision:
    return Decision(Action.DENY, None, Reason.NO_RULE_MATCHED, trace)


_COMBINE: Mapping[RuleCombining, Callable[[CompiledPolicy, Trace], Decision]] = MappingProxyType(
    {
        RuleCombining.FIRST_MATCH: _first_match,
        RuleCombining.DENY_OVERRIDES: _deny_overrides,
        RuleCombining.ALLOW_OVERRIDES: _allow_overrides,
    }
)
