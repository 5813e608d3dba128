"""What all policies have in common on the wire: warnings, explanations, and the callers they are about."""

from kms.authz.explain import Explanation, RuleExplanation
from kms.authz.lint import LintWarning
from kms.errors import InvalidField, LimitExceeded
from kms.identity.spiffe import SpiffeId, parse_identity_name
from kms.model.caller import Caller
from kms.model.labels import check_labels, check_roles
from kms.model.names import Identity
from kms.model.predicate import check_name, within
from kms.server.convert import enum_number, timestamp, to_time
from kms.services.access_review import Access, Circumstances
from kms.services.call import Call
from kms.services.simulation import Change
from kms.services.simulation import Simulation as Simulated
from protos.kms.v1.kms_policy_service_pb2 import ExplainKmsPolicyRequest, ReviewKmsPolicyAccessRequest
from protos.kms.v1.policy_pb2 import (
    Action,
    HypotheticalCaller,
    IdentityAccess,
    Operation,
    PolicyWarning,
    RuleTrace,
    SimulatedChange,
    Simulation,
    Verdict,
)
from protos.kms.v1.secret_policy_service_pb2 import (
    ExplainSecretPolicyRequest,
    ReviewSecretPolicyAccessRequest,
)

MAX_NAMES = 64


def warning_message(warning: LintWarning) -> PolicyWarning:
    return PolicyWarning(field=warning.field, code=warning.code, message=warning.message)


def trace_message(rule: RuleExplanation) -> RuleTrace:
    return RuleTrace(
        rule=rule.name, matched=not rule.predicate, failed_predicate=rule.predicate, text=rule.text
    )


def action_number(explanation: Explanation) -> Action.ValueType:
    """What was decided."""
    return Action.ValueType(enum_number(Action.DESCRIPTOR, explanation.decision.action))


def deciding_rule(explanation: Explanation) -> str:
    """The name of the rule that decided, "" if none did."""
    index = explanation.decision.rule_index
    return "".join(rule.name for rule in explanation.rules if rule.index == index)


def to_asked_caller(
    request: ExplainSecretPolicyRequest | ExplainKmsPolicyRequest, call: Call
) -> Caller | Identity:
    """About whom an explanation is asked. Raises `InvalidField`."""
    if request.HasField("identity"):
        return parse_identity_name(request.identity, "identity")
    if not request.HasField("hypothetical"):
        raise InvalidField("caller", "set identity or hypothetical")
    with within("hypothetical"):
        return _hypothetical(request.hypothetical, request.address, call)


def to_circumstances(
    request: ReviewKmsPolicyAccessRequest | ReviewSecretPolicyAccessRequest, aad: bytes | None = None
) -> Circumstances:
    """What a review of access says of the calls. Raises `InvalidField`."""
    time = to_time(request.time, "time") if request.HasField("time") else None
    return Circumstances(request.address or None, time, aad)


def access_message(access: Access) -> IdentityAccess:
    judgement = access.judgement
    return IdentityAccess(
        identity=access.identity,
        spiffe_id=access.spiffe_id,
        verdict=verdict_number(judgement.verdict),
        allowing_rules=judgement.rules,
        depends_on=judgement.depends_on,
    )


def simulation_message(simulation: Simulated) -> Simulation:
    return Simulation(
        changes=[_change_message(change, count) for change, count in simulation.changes],
        request_count=simulation.requests,
        unchanged_count=simulation.unchanged,
        unknown_caller_count=simulation.unknown_callers,
        event_count=simulation.events,
        since=timestamp(simulation.since),
    )


def _change_message(change: Change, count: int) -> SimulatedChange:
    operation = enum_number(Operation.DESCRIPTOR, change.operation) if change.operation else 0
    return SimulatedChange(
        caller=change.caller,
        operation=Operation.ValueType(operation),
        resource=change.resource,
        before=verdict_number(change.before),
        after=verdict_number(change.after),
        allowing_rules=change.rules,
        request_count=count,
    )


def verdict_number(verdict: str) -> Verdict.ValueType:
    return Verdict.ValueType(enum_number(Verdict.DESCRIPTOR, verdict))


def _hypothetical(asked: HypotheticalCaller, address: str, call: Call) -> Caller:
    if len(asked.names) > MAX_NAMES:
        raise LimitExceeded("names", f"at most {MAX_NAMES} are allowed")
    for index, name in enumerate(asked.names):
        with within(f"names[{index}]"):
            check_name(name)
    # Of somebody who has no name, the tenant alone counts, and it is that of who asks.
    identity = _spiffe_id(asked.names[0]).identity if asked.names else call.caller.identity
    return Caller(
        identity=identity,
        spiffe_id="".join(asked.names[:1]),
        names=tuple(asked.names),
        labels=check_labels(dict(asked.labels)),
        roles=check_roles(asked.roles),
        address=address,
    )


def _spiffe_id(text: str) -> SpiffeId:
    try:
        return SpiffeId.parse(text)
    except InvalidField as error:
        problem = error.description
    raise InvalidField("names[0]", problem)
