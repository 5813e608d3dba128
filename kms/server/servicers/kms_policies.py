"""`kms.v1.KmsPolicyService`."""

from typing import ClassVar

import grpc

from kms.model.names import KmsPolicyName, KmsPolicyRevisionName, NamespaceName, check_id
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, to_last_name, to_page_size, to_request_id
from kms.server.json_messages import to_fields
from kms.server.policy_content import to_content
from kms.server.servicers.kms_policy_messages import (
    explanation_message,
    namespace_policy_message,
    policy_message,
    revision_message,
    to_asked,
    to_kms_subject,
    to_known_aad,
    to_operation,
    to_policy_or_revision,
)
from kms.server.servicers.policy_messages import (
    access_message,
    simulation_message,
    to_circumstances,
    warning_message,
)
from kms.services.access_review import AccessReview
from kms.services.kms_policies import KmsPolicies
from kms.services.simulation import DEFAULT_EVENTS, Simulations
from protos.kms.v1 import kms_policy_service_pb2 as pb
from protos.kms.v1.kms_policy_pb2 import KmsPolicy, KmsPolicyContent, KmsPolicyRevision, NamespacePolicy
from protos.kms.v1.kms_policy_service_pb2_grpc import (
    KmsPolicyServiceServicer,
    add_KmsPolicyServiceServicer_to_server,
)


class KmsPolicyServicer(KmsPolicyServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["KmsPolicyService"].full_name

    def __init__(self, policies: KmsPolicies, access: AccessReview, simulations: Simulations) -> None:
        self._policies = policies
        self._access = access
        self._simulations = simulations

    def add_to(self, server: grpc.aio.Server) -> None:
        add_KmsPolicyServiceServicer_to_server(self, server)

    async def CreateKmsPolicy(
        self, request: pb.CreateKmsPolicyRequest, context: ServicerContext
    ) -> KmsPolicy:
        parent = NamespaceName.parse(request.parent, "parent")
        policy = check_id(request.kms_policy_id, "kms_policy_id")
        name = KmsPolicyName(parent.tenant, parent.namespace, policy)
        content, request_id = to_content(request.kms_policy.content), to_request_id(request.request_id)
        return policy_message(await self._policies.create(service_call(), name, content, request_id))

    async def GetKmsPolicy(self, request: pb.GetKmsPolicyRequest, context: ServicerContext) -> KmsPolicy:
        return policy_message(await self._policies.get(service_call(), KmsPolicyName.parse(request.name)))

    async def ListKmsPolicies(
        self, request: pb.ListKmsPoliciesRequest, context: ServicerContext
    ) -> pb.ListKmsPoliciesResponse:
        parent, show = NamespaceName.parse(request.parent, "parent"), request.show_deleted
        after = to_last_name(request.page_token, f"{parent}/kmsPolicies/")
        limit = to_page_size(request.page_size)
        page = await self._policies.list(service_call(), parent, after, limit, show_deleted=show)
        policies = [policy_message(view) for view in page.items]
        return pb.ListKmsPoliciesResponse(kms_policies=policies, next_page_token=page_token(page.next_after))

    async def UpdateKmsPolicy(
        self, request: pb.UpdateKmsPolicyRequest, context: ServicerContext
    ) -> KmsPolicy:
        sent = request.kms_policy
        name = KmsPolicyName.parse(sent.name, "kms_policy.name")
        content, fields = to_content(sent.content), to_fields(request.update_mask, KmsPolicyContent)
        return policy_message(await self._policies.update(service_call(), name, content, sent.etag, fields))

    async def DeleteKmsPolicy(
        self, request: pb.DeleteKmsPolicyRequest, context: ServicerContext
    ) -> KmsPolicy:
        name = KmsPolicyName.parse(request.name)
        return policy_message(await self._policies.delete(service_call(), name, request.etag))

    async def UndeleteKmsPolicy(
        self, request: pb.UndeleteKmsPolicyRequest, context: ServicerContext
    ) -> KmsPolicy:
        name = KmsPolicyName.parse(request.name)
        return policy_message(await self._policies.undelete(service_call(), name, request.etag))

    async def ListKmsPolicyRevisions(
        self, request: pb.ListKmsPolicyRevisionsRequest, context: ServicerContext
    ) -> pb.ListKmsPolicyRevisionsResponse:
        parent = KmsPolicyName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/revisions/")
        limit = to_page_size(request.page_size)
        page = await self._policies.list_revisions(service_call(), parent, after, limit)
        revisions = [revision_message(view) for view in page.items]
        return pb.ListKmsPolicyRevisionsResponse(
            revisions=revisions, next_page_token=page_token(page.next_after)
        )

    async def GetKmsPolicyRevision(
        self, request: pb.GetKmsPolicyRevisionRequest, context: ServicerContext
    ) -> KmsPolicyRevision:
        name = KmsPolicyRevisionName.parse(request.name)
        return revision_message(await self._policies.get_revision(service_call(), name))

    async def ValidateKmsPolicy(
        self, request: pb.ValidateKmsPolicyRequest, context: ServicerContext
    ) -> pb.ValidateKmsPolicyResponse:
        parent = NamespaceName.parse(request.parent, "parent")
        found = await self._policies.validate(service_call(), parent, to_content(request.content))
        return pb.ValidateKmsPolicyResponse(warnings=map(warning_message, found))

    async def ExplainKmsPolicy(
        self, request: pb.ExplainKmsPolicyRequest, context: ServicerContext
    ) -> pb.ExplainKmsPolicyResponse:
        call, name = service_call(), to_policy_or_revision(request.name)
        return explanation_message(await self._policies.explain(call, name, to_asked(request, call)))

    async def SimulateKmsPolicy(
        self, request: pb.SimulateKmsPolicyRequest, context: ServicerContext
    ) -> pb.SimulateKmsPolicyResponse:
        name, events = KmsPolicyName.parse(request.name), request.event_count or DEFAULT_EVENTS
        found = await self._simulations.kms(service_call(), name, to_content(request.content), events)
        return pb.SimulateKmsPolicyResponse(simulation=simulation_message(found))

    async def ReviewKmsPolicyAccess(
        self, request: pb.ReviewKmsPolicyAccessRequest, context: ServicerContext
    ) -> pb.ReviewKmsPolicyAccessResponse:
        name, operation = to_kms_subject(request.name), to_operation(request.operation)
        after = to_last_name(request.page_token, f"tenants/{name.tenant}/")
        known = to_circumstances(request, to_known_aad(request))
        limit = to_page_size(request.page_size)
        page = await self._access.kms(service_call(), name, operation, known, after, limit)
        return pb.ReviewKmsPolicyAccessResponse(
            identities=map(access_message, page.items), next_page_token=page_token(page.next_after)
        )

    async def GetNamespacePolicy(
        self, request: pb.GetNamespacePolicyRequest, context: ServicerContext
    ) -> NamespacePolicy:
        name = NamespaceName.parse(request.name)
        return namespace_policy_message(await self._policies.get_namespace_policies(service_call(), name))

    async def SetNamespacePolicy(
        self, request: pb.SetNamespacePolicyRequest, context: ServicerContext
    ) -> NamespacePolicy:
        sent = request.namespace_policy
        name = NamespaceName.parse(sent.name, "namespace_policy.name")
        policies = [
            KmsPolicyName.parse(text, f"kms_policies[{index}]")
            for index, text in enumerate(sent.kms_policies)
        ]
        row = await self._policies.set_namespace_policies(service_call(), name, policies, sent.etag)
        return namespace_policy_message(row)
