"""KMS policies, their revisions and explanations: between messages and what the services take and give."""

from kms.authz.explain import Explanation
from kms.model.access_request import AccessRequest
from kms.model.caller import Caller
from kms.model.labels import check_labels
from kms.model.names import KeyName, KmsPolicyName, KmsPolicyRevisionName, check_id
from kms.model.policy import OPERATIONS
from kms.model.policy_records import NamespacePolicyRecord
from kms.model.predicate import known, within
from kms.server.convert import enum_text, timestamp, to_time
from kms.server.policy_content import kms_content_message
from kms.server.servicers.policy_messages import (
    action_number,
    deciding_rule,
    to_asked_caller,
    trace_message,
)
from kms.services.call import Call
from kms.services.explaining import KnownIdentity
from kms.services.kms_policies import KmsPolicyView, KmsRevisionView
from kms.services.repository import Loaded
from protos.kms.v1 import kms_policy_service_pb2 as pb
from protos.kms.v1.kms_policy_pb2 import KmsPolicy, KmsPolicyRevision, NamespacePolicy
from protos.kms.v1.policy_pb2 import Operation


def policy_message(view: KmsPolicyView) -> KmsPolicy:
    head, states = view.head.record, KmsPolicy.State
    return KmsPolicy(
        name=view.head.name,
        uid=head.uid,
        content=kms_content_message(view.current.content),
        revision=head.revision,
        digest=view.current.row.record.digest,
        state=states.STATE_ACTIVE if head.delete_time is None else states.STATE_DELETED,
        create_time=timestamp(head.create_time),
        update_time=timestamp(head.update_time),
        delete_time=timestamp(head.delete_time),
        etag=view.head.etag,
    )


def revision_message(view: KmsRevisionView) -> KmsPolicyRevision:
    policy, _, number = view.row.name.rpartition("/")
    record = view.row.record
    return KmsPolicyRevision(
        name=f"{policy}/{int(number)}",
        content=kms_content_message(view.content),
        digest=record.digest,
        author=record.author,
        create_time=timestamp(record.create_time),
    )


def namespace_policy_message(row: Loaded[NamespacePolicyRecord]) -> NamespacePolicy:
    return NamespacePolicy(name=row.name, kms_policies=row.record.policies, etag=row.etag)


def explanation_message(explanation: Explanation) -> pb.ExplainKmsPolicyResponse:
    return pb.ExplainKmsPolicyResponse(
        action=action_number(explanation),
        rule=deciding_rule(explanation),
        reason=explanation.summary,
        trace=map(trace_message, explanation.rules),
    )


def to_policy_or_revision(text: str) -> KmsPolicyName | KmsPolicyRevisionName:
    """Raises `InvalidField`."""
    return KmsPolicyRevisionName.parse(text) if "/revisions/" in text else KmsPolicyName.parse(text)


def to_kms_subject(text: str) -> KmsPolicyName | KmsPolicyRevisionName | KeyName:
    """Raises `InvalidField`."""
    return KeyName.parse(text) if "/keys/" in text else to_policy_or_revision(text)


def to_known_aad(request: pb.ReviewKmsPolicyAccessRequest) -> bytes | None:
    """None if it is not known."""
    is_known = request.HasField("additional_authenticated_data")
    return request.additional_authenticated_data if is_known else None


def to_operation(number: int) -> str:
    """Raises `InvalidField`."""
    name = enum_text(Operation.DESCRIPTOR, number)
    with within("operation"):
        known(OPERATIONS)(name)
    return name


def to_asked(request: pb.ExplainKmsPolicyRequest, call: Call) -> AccessRequest | KnownIdentity:
    """What an explanation is asked of, and when: now, unless the request says otherwise.

    Raises `InvalidField`.
    """
    time = to_time(request.time, "time") if request.HasField("time") else call.time
    operation = enum_text(Operation.DESCRIPTOR, request.operation)
    labels = check_labels(dict(request.key_labels), "key_labels")
    key = check_id(request.key_id, "key_id") if request.key_id else ""
    aad = request.additional_authenticated_data
    asked = to_asked_caller(request, call)
    if isinstance(asked, Caller):
        return AccessRequest(
            caller=asked, time=time, operation=operation, resource_labels=labels, key_name=key, aad=aad
        )
    return KnownIdentity(asked, request.address, time, operation, labels, key, aad)
