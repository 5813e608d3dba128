"""`kms.v1.SecretPolicyService`."""

from typing import ClassVar

import grpc

from kms.model.names import NamespaceName, SecretPolicyName, SecretPolicyRevisionName, check_id
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, to_comment, to_last_name, to_page_size, to_request_id
from kms.server.json_messages import to_fields
from kms.server.policy_content import content_message, to_content
from kms.server.servicers.policy_messages import (
    access_message,
    simulation_message,
    to_circumstances,
    warning_message,
)
from kms.server.servicers.secret_policy_messages import (
    explanation_message,
    policy_message,
    revision_message,
    to_asked,
    to_denied,
    to_policy_or_revision,
    to_secret_subject,
)
from kms.services.access_review import AccessReview
from kms.services.secret_policies import SecretPolicies
from kms.services.simulation import DEFAULT_EVENTS, Simulations
from protos.kms.v1 import secret_policy_service_pb2 as pb
from protos.kms.v1.secret_policy_pb2 import SecretPolicy, SecretPolicyContent, SecretPolicyRevision
from protos.kms.v1.secret_policy_service_pb2_grpc import (
    SecretPolicyServiceServicer,
    add_SecretPolicyServiceServicer_to_server,
)


class SecretPolicyServicer(SecretPolicyServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["SecretPolicyService"].full_name

    def __init__(self, policies: SecretPolicies, access: AccessReview, simulations: Simulations) -> None:
        self._policies = policies
        self._access = access
        self._simulations = simulations

    def add_to(self, server: grpc.aio.Server) -> None:
        add_SecretPolicyServiceServicer_to_server(self, server)

    async def CreateSecretPolicy(
        self, request: pb.CreateSecretPolicyRequest, context: ServicerContext
    ) -> SecretPolicy:
        parent = NamespaceName.parse(request.parent, "parent")
        policy = check_id(request.secret_policy_id, "secret_policy_id")
        name = SecretPolicyName(parent.tenant, parent.namespace, policy)
        content, request_id = to_content(request.secret_policy.content), to_request_id(request.request_id)
        return policy_message(await self._policies.create(service_call(), name, content, request_id))

    async def GetSecretPolicy(
        self, request: pb.GetSecretPolicyRequest, context: ServicerContext
    ) -> SecretPolicy:
        return policy_message(await self._policies.get(service_call(), SecretPolicyName.parse(request.name)))

    async def ListSecretPolicies(
        self, request: pb.ListSecretPoliciesRequest, context: ServicerContext
    ) -> pb.ListSecretPoliciesResponse:
        parent = NamespaceName.parse(request.parent, "parent")
        after, limit = _to_position(request, f"{parent}/secretPolicies/")
        show_deleted = request.show_deleted
        page = await self._policies.list(service_call(), parent, after, limit, show_deleted=show_deleted)
        policies = [policy_message(view) for view in page.items]
        return pb.ListSecretPoliciesResponse(
            secret_policies=policies, next_page_token=page_token(page.next_after)
        )

    async def UpdateSecretPolicy(
        self, request: pb.UpdateSecretPolicyRequest, context: ServicerContext
    ) -> SecretPolicy:
        sent = request.secret_policy
        name = SecretPolicyName.parse(sent.name, "secret_policy.name")
        content, fields = to_content(sent.content), to_fields(request.update_mask, SecretPolicyContent)
        return policy_message(await self._policies.update(service_call(), name, content, sent.etag, fields))

    async def DeleteSecretPolicy(
        self, request: pb.DeleteSecretPolicyRequest, context: ServicerContext
    ) -> SecretPolicy:
        name = SecretPolicyName.parse(request.name)
        return policy_message(await self._policies.delete(service_call(), name, request.etag))

    async def UndeleteSecretPolicy(
        self, request: pb.UndeleteSecretPolicyRequest, context: ServicerContext
    ) -> SecretPolicy:
        name = SecretPolicyName.parse(request.name)
        return policy_message(await self._policies.undelete(service_call(), name, request.etag))

    async def ListRevisions(
        self, request: pb.ListRevisionsRequest, context: ServicerContext
    ) -> pb.ListRevisionsResponse:
        parent = SecretPolicyName.parse(request.parent, "parent")
        after, limit = _to_position(request, f"{parent}/revisions/")
        page = await self._policies.list_revisions(service_call(), parent, after, limit)
        revisions = [revision_message(view) for view in page.items]
        return pb.ListRevisionsResponse(revisions=revisions, next_page_token=page_token(page.next_after))

    async def GetRevision(
        self, request: pb.GetRevisionRequest, context: ServicerContext
    ) -> SecretPolicyRevision:
        name = SecretPolicyRevisionName.parse(request.name)
        return revision_message(await self._policies.get_revision(service_call(), name))

    async def RevokeRevision(
        self, request: pb.RevokeRevisionRequest, context: ServicerContext
    ) -> SecretPolicyRevision:
        name, comment = SecretPolicyRevisionName.parse(request.name), to_comment(request.comment)
        view = await self._policies.revoke_revision(service_call(), name, request.etag, comment)
        return revision_message(view)

    async def NarrowRevision(
        self, request: pb.NarrowRevisionRequest, context: ServicerContext
    ) -> SecretPolicyRevision:
        name, comment = SecretPolicyRevisionName.parse(request.name), to_comment(request.comment)
        denied = to_denied(request.denied_identities)
        view = await self._policies.narrow_revision(service_call(), name, denied, request.etag, comment)
        return revision_message(view)

    async def ValidateSecretPolicy(
        self, request: pb.ValidateSecretPolicyRequest, context: ServicerContext
    ) -> pb.ValidateSecretPolicyResponse:
        parent = NamespaceName.parse(request.parent, "parent")
        found = await self._policies.validate(service_call(), parent, to_content(request.content))
        return pb.ValidateSecretPolicyResponse(
            warnings=map(warning_message, found.warnings), content=content_message(found.content)
        )

    async def SimulateSecretPolicy(
        self, request: pb.SimulateSecretPolicyRequest, context: ServicerContext
    ) -> pb.SimulateSecretPolicyResponse:
        name, events = SecretPolicyName.parse(request.name), request.event_count or DEFAULT_EVENTS
        found = await self._simulations.secret(service_call(), name, to_content(request.content), events)
        return pb.SimulateSecretPolicyResponse(simulation=simulation_message(found))

    async def ReviewSecretPolicyAccess(
        self, request: pb.ReviewSecretPolicyAccessRequest, context: ServicerContext
    ) -> pb.ReviewSecretPolicyAccessResponse:
        name, digest = to_secret_subject(request.name, request.policy_digest), request.policy_digest
        after, limit = _to_position(request, f"tenants/{name.tenant}/")
        known = to_circumstances(request)
        page = await self._access.secret(service_call(), name, digest, known, after, limit)
        return pb.ReviewSecretPolicyAccessResponse(
            identities=map(access_message, page.items), next_page_token=page_token(page.next_after)
        )

    async def ExplainSecretPolicy(
        self, request: pb.ExplainSecretPolicyRequest, context: ServicerContext
    ) -> pb.ExplainSecretPolicyResponse:
        call, name = service_call(), to_policy_or_revision(request.name)
        explanation = await self._policies.explain(call, name, to_asked(request, call))
        return explanation_message(explanation)


def _to_position(
    request: pb.ListSecretPoliciesRequest | pb.ListRevisionsRequest | pb.ReviewSecretPolicyAccessRequest,
    prefix: str,
) -> tuple[str, int]:
    return to_last_name(request.page_token, prefix), to_page_size(request.page_size)
