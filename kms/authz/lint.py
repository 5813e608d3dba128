"""What an author may regret: warnings about a policy that is valid. They never change a decision."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kms.authz.implication import Implications
from kms.authz.matcher import TRANSFORMS
from kms.authz.prefix_sets import NO_SETS, PrefixSets
from kms.model.policy import Action, NameMatcher, PolicyContent, PolicyKind, Rule, RuleCombining

CLIENT_PREDICATES = ("client_name", "client_name_matcher", "client_selector", "label_matcher", "roles")
MAX_COMPARISONS = 20_000_000

_FINAL = frozenset(TRANSFORMS) - {"URL_DECODE", "BASE64_DECODE"}
_ESCAPE_OR_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
# A wildcard, and later what workloads of sites and of tenants' own authorities have in their names too.
_ANYTHING_BEFORE = re.compile(r"\.[*+{].*/(?:ns|sa)/")
_HOST_DOT = re.compile(r"(?<=[A-Za-z0-9*+)_-])\.(?=[A-Za-z0-9])")


class WarningCode(StrEnum):
    SHADOWED = "SHADOWED"
    CONTRADICTORY = "CONTRADICTORY"
    UNESCAPED_DOT = "UNESCAPED_DOT"
    LOOSE_NAME = "LOOSE_NAME"
    NO_CLIENT_PREDICATE = "NO_CLIENT_PREDICATE"
    EXPIRED_WINDOW = "EXPIRED_WINDOW"
    UNDECODABLE_NAMES = "UNDECODABLE_NAMES"
    NOT_COMPARED = "NOT_COMPARED"


@dataclass(frozen=True, slots=True)
class LintWarning:
    """`field` is the path in the policy, such as `rules[3].time_window`."""

    code: WarningCode
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message} ({self.code})"


def lint(content: PolicyContent, now: datetime, sets: PrefixSets = NO_SETS) -> tuple[LintWarning, ...]:
    """All warnings, in the order of the rules. The policy must compile with `sets`; `now` is in UTC."""
    implications = Implications(content.rules, sets)
    found: list[LintWarning] = []
    for number, rule in enumerate(content.rules):
        path = f"rules[{number}]"
        found += _contradictions(content, rule, path, implications)
        found += _unescaped_dots(rule, path)
        found += _loose_names(rule, path)
        found += _no_client_predicate(rule, path)
        found += _expired_window(rule, path, now)
        found += _undecodable_names(rule, path)
    return (*found, *_shadowed(content, implications))


def _no_client_predicate(rule: Rule, path: str) -> Iterator[LintWarning]:
    if rule.action is Action.ALLOW and not any(map(rule.is_set, CLIENT_PREDICATES)):
        yield LintWarning(
            WarningCode.NO_CLIENT_PREDICATE,
            path,
            "allows without asking who calls (an address is not an identity); set one of "
            + ", ".join(CLIENT_PREDICATES),
        )


def _expired_window(rule: Rule, path: str, now: datetime) -> Iterator[LintWarning]:
    window = rule.time_window
    if window and window.not_after and window.not_after <= now:
        yield LintWarning(
            WarningCode.EXPIRED_WINDOW, f"{path}.time_window", "is over; the rule will never match again"
        )


def _matchers(rule: Rule, path: str) -> Iterator[tuple[str, NameMatcher]]:
    if rule.client_name_matcher:
        yield f"{path}.client_name_matcher", rule.client_name_matcher
    if rule.key_matcher:
        yield f"{path}.key_matcher", rule.key_matcher


def _unescaped_dots(rule: Rule, path: str) -> Iterator[LintWarning]:
    for field, matcher in _matchers(rule, path):
        for index, regex in enumerate(matcher.regex_values):
            if _HOST_DOT.search(_ESCAPE_OR_CLASS.sub("\0", regex)):
                yield LintWarning(
                    WarningCode.UNESCAPED_DOT,
                    f"{field}.regex_values[{index}]",
                    r"a dot matches any character; write \. where a host name is meant",
                )


def _loose_names(rule: Rule, path: str) -> Iterator[LintWarning]:
    """Names that others choose would pass (docs/spec/identity.md, "Names")."""
    matcher = rule.client_name_matcher
    if matcher is None or rule.action is not Action.ALLOW:
        return
    for index, regex in enumerate(matcher.regex_values):
        if _ANYTHING_BEFORE.search(_ESCAPE_OR_CLASS.sub("\0", regex)):
            yield LintWarning(
                WarningCode.LOOSE_NAME,
                f"{path}.client_name_matcher.regex_values[{index}]",
                "matches workloads of sites and of the tenant's own authorities too, who choose their names; "
                "begin with spiffe:// and write [^/]+ for one part",
            )


def _undecodable_names(rule: Rule, path: str) -> Iterator[LintWarning]:
    for field, matcher in _matchers(rule, path):
        if rule.action is Action.DENY and not _FINAL.issuperset(matcher.transformers):
            yield LintWarning(
                WarningCode.UNDECODABLE_NAMES,
                f"{field}.transformers",
                "names that do not decode are not matched, hence not denied, by this rule",
            )


def _contradictions(
    content: PolicyContent, rule: Rule, path: str, implications: Implications
) -> Iterator[LintWarning]:
    """Conditions that cannot hold, alone or together."""
    for field, matcher in _matchers(rule, path):
        for index in _unreachable_values(matcher):
            yield _contradiction(
                f"{field}.exact_values[{index}]", f"is never the outcome of {matcher.transformers[-1]}"
            )
    for predicate, message, contradicts in _CONTRADICTIONS:
        if contradicts(content, rule, implications):
            yield _contradiction(f"{path}.{predicate}", message)


def _contradiction(field: str, message: str) -> LintWarning:
    return LintWarning(WarningCode.CONTRADICTORY, field, message)


def _unreachable_values(matcher: NameMatcher) -> Iterator[int]:
    if matcher.transformers and matcher.transformers[-1] in _FINAL:
        last = TRANSFORMS[matcher.transformers[-1]]
        yield from (index for index, value in enumerate(matcher.exact_values) if last(value) != value)


def _impossible_selector(content: PolicyContent, rule: Rule, implications: Implications) -> bool:
    return rule.client_selector is not None and all(
        any(asked.is_impossible for asked in implications.constraints(expression).values())
        for expression in rule.client_selector.expressions
    )


def _excluded_prefixes(content: PolicyContent, rule: Rule, implications: Implications) -> bool:
    return bool(rule.ip_prefixes) and implications.is_covered(rule.ip_prefixes, rule.ip_prefixes_except)


def _excluded_aad(content: PolicyContent, rule: Rule, implications: Implications) -> bool:
    matcher = rule.aad_matcher
    return (
        matcher is not None
        and bool(matcher.equals or matcher.starts_with)
        and not any(map(matcher.accepts, matcher.equals + matcher.starts_with))
    )


def _missing_label(content: PolicyContent, rule: Rule, implications: Implications) -> bool:
    return (
        content.kind is PolicyKind.SECRET
        and rule.label_matcher is not None
        and not content.labels.keys() >= set(rule.label_matcher.keys)
    )


def _no_key(content: PolicyContent, rule: Rule, implications: Implications) -> bool:
    return rule.key_matcher is not None and rule.operations == ("GENERATE_RANDOM",)


_Check = Callable[[PolicyContent, Rule, Implications], bool]
_CONTRADICTIONS: tuple[tuple[str, str, _Check], ...] = (
    ("client_selector", "no set of labels satisfies it", _impossible_selector),
    ("ip_prefixes", "every address in them is excluded by ip_prefixes_except", _excluded_prefixes),
    ("aad_matcher", "whatever equals and starts_with accept, lacks excludes", _excluded_aad),
    ("label_matcher", "names a label that this policy does not have", _missing_label),
    ("key_matcher", "GENERATE_RANDOM names no key", _no_key),
)


def _weight(rule: Rule) -> int:
    """About how many values a comparison with this rule looks at."""
    items = sum(len(matcher.exact_values) + len(matcher.regex_values) for _, matcher in _matchers(rule, ""))
    selector = sum(map(len, rule.client_selector.expressions)) // 4 if rule.client_selector else 0
    lists = len(rule.roles) + len(rule.ip_prefixes) + len(rule.ip_prefixes_except) + len(rule.operations)
    return 1 + items + selector + lists


def _shadowed(content: PolicyContent, implications: Implications) -> Iterator[LintWarning]:
    """Rules that decide nothing because another decides wherever they match."""
    weights = [_weight(rule) for rule in content.rules]
    left = MAX_COMPARISONS
    for number in range(len(content.rules)):
        for other in _overruling(content, number):
            left -= weights[number] * weights[other]
            if left < 0:
                message = f"the policy is too large to look for shadowed rules from rules[{number}] on"
                yield LintWarning(WarningCode.NOT_COMPARED, "rules", message)
                return
            if implications.implies(number, other):
                message = (
                    f"never decides: rules[{other}] ({content.rules[other].name}) matches wherever it does"
                )
                yield LintWarning(WarningCode.SHADOWED, f"rules[{number}]", message)
                break


def _overruling(content: PolicyContent, number: int) -> Iterator[int]:
    """The rules that come before this one when several match."""
    wins = {
        RuleCombining.FIRST_MATCH: None,
        RuleCombining.DENY_OVERRIDES: Action.DENY,
        RuleCombining.ALLOW_OVERRIDES: Action.ALLOW,
    }[content.rule_combining]
    action = content.rules[number].action
    for other, rule in enumerate(content.rules):
        earlier = other < number
        if earlier if wins is None or rule.action is action else rule.action is wins:
            yield other
