"""Why a request was decided as it was, in words, for those who may read the policy."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kms.authz.compile import CompiledPolicy, Step
from kms.authz.decide import Decision, Reason, decide
from kms.model.access_request import AccessRequest
from kms.model.policy import Rule

_NO_ADDRESS = "the caller's address is not known"


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """Why one rule matched or did not. `predicate` is the first that failed, or "" if all held."""

    index: int
    name: str
    predicate: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`rules` are those before the deciding rule, and it; all rules if none decided."""

    decision: Decision
    summary: str
    rules: tuple[RuleExplanation, ...]


def explain(policy: CompiledPolicy, request: AccessRequest) -> Explanation:
    """Decide the request and say why. It names the caller's names, labels and address, never the AAD."""
    decision = decide(policy, request)
    rules = policy.content.rules
    last = len(rules) if decision.rule_index is None else decision.rule_index + 1
    if decision.trace.fault:
        last = 0
    explained = tuple(
        _explain_rule(rule, index, decision, request) for index, rule in enumerate(rules[:last])
    )
    return Explanation(decision, _summary(policy, decision), explained)


def _summary(policy: CompiledPolicy, decision: Decision) -> str:
    if decision.rule_index is None:
        if decision.trace.fault:
            return f"DENY: evaluating the policy failed ({decision.trace.fault})"
        return "DENY: no rule matched"
    rule = f"rules[{decision.rule_index}] ({policy.content.rules[decision.rule_index].name})"
    if decision.reason is Reason.EVALUATION_ERROR:
        return f"DENY: {rule} could not be evaluated"
    return f"{decision.action}: {rule} matched, and {policy.content.rule_combining} lets it decide"


def _explain_rule(rule: Rule, index: int, decision: Decision, request: AccessRequest) -> RuleExplanation:
    bit = 1 << index
    failed = next((step for step in decision.trace.steps if not (step.holds | step.errors) & bit), None)
    if failed is None and decision.trace.uncertain & bit:
        failed = next(step for step in decision.trace.steps if step.errors & bit)
    if failed is None:
        decided = index == decision.rule_index
        text = "matched, and decided" if decided else f"matched, but its {rule.action} is overridden"
        return RuleExplanation(index, rule.name, "", text)
    return RuleExplanation(index, rule.name, failed.predicate, _words(rule, failed, bit, request))


def _words(rule: Rule, step: Step, bit: int, request: AccessRequest) -> str:
    if step.errors & bit:
        return f"{step.predicate} could not be evaluated: {_ERRORS[step.predicate]}"
    return f"{step.predicate} failed: {_FAILURES[step.predicate](rule, request)}"


def _client_names(rule: Rule, request: AccessRequest) -> str:
    return f"none of the caller's names ({_listed(request.caller.names)}) fits"


def _labels(rule: Rule, request: AccessRequest) -> str:
    labels = (f"{key}={value}" for key, value in sorted(request.caller.labels.items()))
    return f"no selector holds on the caller's labels ({_listed(labels)})"


def _label_matcher(rule: Rule, request: AccessRequest) -> str:
    caller, resource = request.caller.labels, request.resource_labels
    keys = rule.label_matcher.keys if rule.label_matcher else ()
    key = next(key for key in keys if caller.get(key) is None or caller[key] != resource.get(key))
    return f"the label {key} of the caller ({caller.get(key, 'none')}) and of the resource " + (
        f"({resource.get(key, 'none')}) are not equal"
    )


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "none"


_FAILURES: Mapping[str, Callable[[Rule, AccessRequest], str]] = MappingProxyType(
    {
        "client_name": _client_names,
        "client_name_matcher": _client_names,
        "client_selector": _labels,
        "label_matcher": _label_matcher,
        "roles": lambda rule, request: (
            f"the caller's roles ({_listed(sorted(request.caller.roles))}) are others"
        ),
        "ip_prefixes": lambda rule, request: f"{request.caller.address} is in none of the prefixes",
        "ip_prefixes_except": lambda rule, request: f"{request.caller.address} is in one of the prefixes",
        "operations": lambda rule, request: f"{request.operation} is not listed",
        "key_matcher": lambda rule, request: f"the key {request.key_name or '(none)'} does not fit",
        "time_window": lambda rule, request: f"{request.time:%Y-%m-%dT%H:%M:%SZ} is outside the window",
        "aad_matcher": lambda rule, request: "the additional authenticated data does not fit",
    }
)
_ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "client_name_matcher": "the regular expressions need too much memory",
        "ip_prefixes": _NO_ADDRESS,
        "ip_prefixes_except": _NO_ADDRESS,
        "operations": "the request names no operation",
        "key_matcher": "the request names no key, or the regular expressions need too much memory",
    }
)
