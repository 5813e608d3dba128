"""`kms.v1.TenantService`."""

from typing import ClassVar

import grpc

from kms.model.names import TenantName, check_id
from kms.model.records import TenantRecord
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, timestamp, to_last_name, to_page_size, to_request_id
from kms.services.repository import Loaded
from kms.services.tenants import Description, Tenants
from protos.kms.v1 import tenant_service_pb2 as pb
from protos.kms.v1.tenant_service_pb2_grpc import TenantServiceServicer, add_TenantServiceServicer_to_server


class TenantServicer(TenantServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["TenantService"].full_name

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    def add_to(self, server: grpc.aio.Server) -> None:
        add_TenantServiceServicer_to_server(self, server)

    async def CreateTenant(self, request: pb.CreateTenantRequest, context: ServicerContext) -> pb.Tenant:
        name = TenantName(check_id(request.tenant_id, "tenant_id"))
        about = Description(request.tenant.description, dict(request.tenant.labels))
        request_id = to_request_id(request.request_id)
        made = await self._tenants.create(service_call(), name, about, request_id)
        token = "" if made.admin_token is None else made.admin_token.reveal()
        return _to_message(made.tenant, token)

    async def GetTenant(self, request: pb.GetTenantRequest, context: ServicerContext) -> pb.Tenant:
        return _to_message(await self._tenants.get(service_call(), TenantName.parse(request.name)))

    async def ListTenants(
        self, request: pb.ListTenantsRequest, context: ServicerContext
    ) -> pb.ListTenantsResponse:
        after = to_last_name(request.page_token, "tenants/")
        page = await self._tenants.list(service_call(), after, to_page_size(request.page_size))
        tenants = [_to_message(loaded) for loaded in page.items]
        return pb.ListTenantsResponse(tenants=tenants, next_page_token=page_token(page.next_after))


def _to_message(loaded: Loaded[TenantRecord], admin_join_token: str = "") -> pb.Tenant:
    return pb.Tenant(
        admin_join_token=admin_join_token,
        name=loaded.name,
        description=loaded.record.description,
        labels=loaded.record.labels,
        create_time=timestamp(loaded.record.create_time),
        etag=loaded.etag,
    )
