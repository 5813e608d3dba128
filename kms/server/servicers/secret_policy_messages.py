"""Secret policies, their revisions and explanations: between messages and what the services take and give."""

from collections.abc import Sequence
from datetime import datetime

from kms.authz.explain import Explanation
from kms.authz.lint import LintWarning
from kms.errors import InvalidField, LimitExceeded
from kms.identity.spiffe import SpiffeId, parse_identity_name
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.labels import check_labels, check_roles
from kms.model.names import SecretPolicyName, SecretPolicyRevisionName
from kms.model.predicate import check_name, within
from kms.server.convert import enum_number, timestamp, to_time
from kms.server.policy_content import content_message
from kms.services.call import Call
from kms.services.explaining import KnownIdentity
from kms.services.policy_documents import StoredPolicy, content_json
from kms.services.secret_policies import PolicyView, RevisionView
from protos.kms.v1 import secret_policy_service_pb2 as pb
from protos.kms.v1.policy_pb2 import Action
from protos.kms.v1.secret_policy_pb2 import SecretPolicy, SecretPolicyContent, SecretPolicyRevision

MAX_DENIED_AT_ONCE = 256
MAX_NAMES = 64


def policy_message(view: PolicyView) -> SecretPolicy:
    head, states = view.head.record, SecretPolicy.State
    return SecretPolicy(
        name=view.head.name,
        uid=head.uid,
        content=_content(view.current),
        revision=head.revision,
        digest=head.digest,
        state=states.STATE_ACTIVE if head.delete_time is None else states.STATE_DELETED,
        create_time=timestamp(head.create_time),
        update_time=timestamp(head.update_time),
        delete_time=timestamp(head.delete_time),
        etag=view.head.etag,
    )


def revision_message(view: RevisionView) -> SecretPolicyRevision:
    record, document = view.row.record, view.policy.document
    name = SecretPolicyRevisionName(document.tenant, document.namespace, document.name, document.revision)
    return SecretPolicyRevision(
        name=str(name),
        content=_content(view.policy),
        digest=record.digest,
        author=record.author,
        create_time=timestamp(record.create_time),
        revoke_time=timestamp(record.revoke_time),
        denied_identities=record.denied,
        etag=view.row.etag,
    )


def _content(policy: StoredPolicy) -> SecretPolicyContent:
    return content_message(content_json(policy.document))


def warning_message(warning: LintWarning) -> pb.PolicyWarning:
    return pb.PolicyWarning(field=warning.field, code=warning.code, message=warning.message)


def explanation_message(explanation: Explanation) -> pb.ExplainSecretPolicyResponse:
    decision = explanation.decision
    deciding = [rule.name for rule in explanation.rules if rule.index == decision.rule_index]
    return pb.ExplainSecretPolicyResponse(
        action=Action.ValueType(enum_number(Action.DESCRIPTOR, decision.action)),
        rule="".join(deciding),
        reason=explanation.summary,
        trace=[
            pb.RuleTrace(
                rule=rule.name, matched=not rule.predicate, failed_predicate=rule.predicate, text=rule.text
            )
            for rule in explanation.rules
        ],
    )


def to_policy_or_revision(text: str) -> SecretPolicyName | SecretPolicyRevisionName:
    """Raises `InvalidField`."""
    return SecretPolicyRevisionName.parse(text) if "/revisions/" in text else SecretPolicyName.parse(text)


def to_denied(identities: Sequence[str]) -> tuple[str, ...]:
    """Raises `LimitExceeded` above 256."""
    if len(identities) > MAX_DENIED_AT_ONCE:
        raise LimitExceeded("denied_identities", f"at most {MAX_DENIED_AT_ONCE} are allowed in one call")
    return tuple(identities)


def to_asked(request: pb.ExplainSecretPolicyRequest, call: Call) -> AccessRequest | KnownIdentity:
    """About whom an explanation is asked, and when: now, unless the request says otherwise.

    Raises `InvalidField`.
    """
    time = to_time(request.time, "time") if request.HasField("time") else call.time
    if request.HasField("identity"):
        return KnownIdentity(parse_identity_name(request.identity, "identity"), request.address, time)
    if not request.HasField("hypothetical"):
        raise InvalidField("caller", "set identity or hypothetical")
    with within("hypothetical"):
        return _hypothetical(request.hypothetical, request.address, time, call)


def _hypothetical(asked: pb.HypotheticalCaller, address: str, time: datetime, call: Call) -> AccessRequest:
    if len(asked.names) > MAX_NAMES:
        raise LimitExceeded("names", f"at most {MAX_NAMES} are allowed")
    for index, name in enumerate(asked.names):
        with within(f"names[{index}]"):
            check_name(name)
    # Of somebody who has no name, the tenant alone counts, and it is that of who asks.
    identity = _spiffe_id(asked.names[0]).identity if asked.names else call.caller.identity
    caller = Caller(
        identity=identity,
        spiffe_id="".join(asked.names[:1]),
        names=tuple(asked.names),
        labels=check_labels(dict(asked.labels)),
        roles=check_roles(asked.roles),
        address=address,
    )
    return AccessRequest(caller=caller, time=time)


def _spiffe_id(text: str) -> SpiffeId:
    try:
        return SpiffeId.parse(text)
    except InvalidField as error:
        problem = error.description
    raise InvalidField("names[0]", problem)
