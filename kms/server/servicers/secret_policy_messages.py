"""Secret policies, their revisions and explanations: between messages and what the services take and give."""

from collections.abc import Sequence

from kms.authz.explain import Explanation
from kms.errors import InvalidField, LimitExceeded
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.names import SecretPolicyName, SecretPolicyRevisionName, TenantName
from kms.server.convert import timestamp, to_time
from kms.server.policy_content import content_message
from kms.server.servicers.policy_messages import (
    action_number,
    deciding_rule,
    to_asked_caller,
    trace_message,
)
from kms.services.call import Call
from kms.services.explaining import KnownIdentity
from kms.services.policy_documents import StoredPolicy, content_json
from kms.services.secret_policies import PolicyView, RevisionView
from protos.kms.v1 import secret_policy_service_pb2 as pb
from protos.kms.v1.secret_policy_pb2 import SecretPolicy, SecretPolicyContent, SecretPolicyRevision

MAX_DENIED_AT_ONCE = 256
DIGEST_SIZE = 32


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


def explanation_message(explanation: Explanation) -> pb.ExplainSecretPolicyResponse:
    return pb.ExplainSecretPolicyResponse(
        action=action_number(explanation),
        rule=deciding_rule(explanation),
        reason=explanation.summary,
        trace=map(trace_message, explanation.rules),
    )


def to_policy_or_revision(text: str) -> SecretPolicyName | SecretPolicyRevisionName:
    """Raises `InvalidField`."""
    return SecretPolicyRevisionName.parse(text) if "/revisions/" in text else SecretPolicyName.parse(text)


def to_secret_subject(text: str, digest: bytes) -> SecretPolicyName | SecretPolicyRevisionName | TenantName:
    """A tenant if and only if there is a digest. Raises `InvalidField`."""
    if not digest:
        return to_policy_or_revision(text)
    if len(digest) != DIGEST_SIZE:
        raise InvalidField("policy_digest", f"must have {DIGEST_SIZE} bytes")
    return TenantName.parse(text)


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
    asked = to_asked_caller(request, call)
    if isinstance(asked, Caller):
        return AccessRequest(caller=asked, time=time)
    return KnownIdentity(asked, request.address, time)
