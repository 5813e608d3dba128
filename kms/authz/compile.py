"""From the content of a policy to indexes that find the matching rules of a request together.

A policy is compiled once per revision. Every predicate kind has one index over all rules, so that 256 rules
cost about what a few do. Evaluating does no I/O and reads no clock; time zones are loaded here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from kms.authz.aad_index import AadIndex
from kms.authz.address_index import AddressIndex, address_point
from kms.authz.index import Outcome, Placed, ValueIndex, union
from kms.authz.label_index import LabelMatcherIndex, SelectorIndex
from kms.authz.lint import LintWarning, lint
from kms.authz.matcher import RegexSet
from kms.authz.name_index import NameIndex
from kms.authz.prefix_sets import ADDRESS_PREDICATES, NO_SETS, PrefixSets, expand
from kms.authz.time_index import TimeIndex
from kms.errors import LimitExceeded
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.policy import Action, NameMatcher, PolicyContent, PolicyKind, Rule
from kms.model.policy_json import parse_policy
from kms.model.predicate import within

Index = Callable[[AccessRequest, int | None], Outcome]
Builder = Callable[[Sequence[Placed[Any]], RegexSet], Index]


def _client_names(placed: Sequence[Placed[str]], regexes: RegexSet) -> Index:
    index = ValueIndex((item.value, item.bit) for item in placed)
    return lambda request, address: Outcome(index.any_of(request.caller.names))


def _client_name_matchers(placed: Sequence[Placed[NameMatcher]], regexes: RegexSet) -> Index:
    index = NameIndex(placed, regexes)
    return lambda request, address: index.matching(request.caller.names)


def _roles(placed: Sequence[Placed[tuple[str, ...]]], regexes: RegexSet) -> Index:
    index = ValueIndex((role, item.bit) for item in placed for role in item.value)
    return lambda request, address: Outcome(index.any_of(request.caller.roles))


def _operations(placed: Sequence[Placed[tuple[str, ...]]], regexes: RegexSet) -> Index:
    rules = union(placed)
    index = ValueIndex((operation, item.bit) for item in placed for operation in item.value)

    def evaluate(request: AccessRequest, address: int | None) -> Outcome:
        if request.operation is None:
            return Outcome(0, rules)
        return Outcome(index.any_of((request.operation,)))

    return evaluate


def _key_matchers(placed: Sequence[Placed[NameMatcher]], regexes: RegexSet) -> Index:
    """One operation names no key; for any other a missing name is an error, lest it slip past a DENY rule."""
    rules = union(placed)
    index = NameIndex(placed, regexes)

    def evaluate(request: AccessRequest, address: int | None) -> Outcome:
        if request.key_name:
            return index.matching((request.key_name,))
        return Outcome(0, 0 if request.operation == "GENERATE_RANDOM" else rules)

    return evaluate


QUICK_INSTRUCTIONS = 1024
QUICK_SEARCHED_BYTES = 128 << 10
MAX_SEARCHES = 256

BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "client_name": _client_names,
        "client_name_matcher": _client_name_matchers,
        "client_selector": lambda placed, regexes: SelectorIndex(placed),
        "label_matcher": lambda placed, regexes: LabelMatcherIndex(placed),
        "roles": _roles,
        "ip_prefixes": lambda placed, regexes: AddressIndex(placed, outside=False),
        "ip_prefixes_except": lambda placed, regexes: AddressIndex(placed, outside=True),
        "operations": _operations,
        "key_matcher": _key_matchers,
        "time_window": lambda placed, regexes: TimeIndex(placed),
        "aad_matcher": lambda placed, regexes: AadIndex(placed),
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one predicate left over: rules in which it holds or is unset, and those it could not judge."""

    predicate: str
    holds: int
    errors: int


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy ready to be asked. `allowing` and `denying` are sets of rules, bit i being rule i.

    `instructions` is the size of all its regular expressions together (`RegexSet.instructions`), `searches`
    the number of values that are searched for in additional authenticated data.
    """

    content: PolicyContent
    allowing: int
    denying: int
    indexes: tuple[tuple[str, int, Index], ...]
    instructions: int = 0
    searches: int = 0

    def memory(self, size: int) -> int:
        """About how many bytes this takes, made from `size` bytes of JSON: what the largest were seen to."""
        return 50 * size + (RegexSet.MAX_MEMORY if self.instructions else 0)

    def may_take_long(self, caller: Caller, decisions: int = 1, searched: int = 0) -> bool:
        """Whether so many decisions about a caller may take longer than an event loop can wait: 1 ms.

        An instruction was seen to take up to 900 ns for a name of 256 bytes, the longest, and a search 6 ns
        for each of the `searched` bytes that all decisions are about. The interpreter goes on beside them, so
        that a thread can make the decision.
        """
        names = len(caller.names) + 1  # of the key
        if self.instructions * names * decisions > QUICK_INSTRUCTIONS:
            return True
        return self.searches * searched > QUICK_SEARCHED_BYTES

    def steps(self, request: AccessRequest, unknown: Collection[str] = ()) -> tuple[Step, ...]:
        """Ask each predicate in the order of `BUILDERS`, until no rule is left. May raise anything.

        Those of `unknown` are not asked: it is an error wherever one is set.
        """
        address = address_point(request.caller.address)
        every = left = self.allowing | self.denying
        steps = []
        for predicate, unset, index in self.indexes:
            outcome = Outcome(0, every & ~unset) if predicate in unknown else index(request, address)
            steps.append(Step(predicate, outcome.holds | unset, outcome.errors))
            left &= outcome.holds | unset | outcome.errors
            if not left:
                break
        return tuple(steps)


def compile_policy(content: PolicyContent, sets: PrefixSets | None = NO_SETS) -> CompiledPolicy:
    """Raises `InvalidField`, with the path, for a selector, regular expression or time zone at fault.

    So it does for a prefix set that is not one of `sets`; None stands for no care about them.
    """
    regexes = RegexSet()
    every = (1 << len(content.rules)) - 1
    indexes = []
    for predicate, build in BUILDERS.items():
        placed = [
            Placed(number, path := f"rules[{number}].{predicate}", _value(rule, predicate, path, sets))
            for number, rule in enumerate(content.rules)
            if rule.is_set(predicate)
        ]
        if placed:
            indexes.append((predicate, every & ~union(placed), build(placed, regexes)))
    regexes.compile()
    allowing = sum(1 << i for i, rule in enumerate(content.rules) if rule.action is Action.ALLOW)
    return CompiledPolicy(
        content, allowing, every & ~allowing, tuple(indexes), regexes.instructions, _searches(content)
    )


def _searches(content: PolicyContent) -> int:
    """How many values are searched for. Raises `LimitExceeded`."""
    found = {
        value for rule in content.rules if rule.aad_matcher is not None for value in rule.aad_matcher.lacks
    }
    if len(found) > MAX_SEARCHES:
        raise LimitExceeded("rules", f"their `lacks` have {len(found)} values, {MAX_SEARCHES} at most")
    return len(found)


def read_policy(obj: Mapping[str, object], kind: PolicyKind, sets: PrefixSets | None = None) -> PolicyContent:
    """Read a policy and check it whole: what `compile_policy` will accept.

    Costs up to a second for the largest of policies, so it is no work for an event loop. Raises
    `InvalidField` and `LimitExceeded` with the exact path.
    """
    content = parse_policy(obj, kind)
    compile_policy(content, sets)
    return content


def _value(rule: Rule, predicate: str, path: str, sets: PrefixSets | None) -> Any:
    """A predicate's value, prefix sets replaced by their prefixes."""
    value = getattr(rule, predicate)
    if predicate not in ADDRESS_PREDICATES:
        return value
    with within(path):
        return expand(value, sets)


def validate_policy(
    obj: Mapping[str, object],
    kind: PolicyKind,
    now: datetime | None = None,
    sets: PrefixSets = NO_SETS,
) -> tuple[PolicyContent, tuple[LintWarning, ...]]:
    """As `read_policy`, with what an author may regret, which costs more.

    `now` (UTC; the clock's if None) tells which time windows are over.
    """
    content = read_policy(obj, kind, sets)
    return content, lint(content, now or datetime.now(UTC), sets)
