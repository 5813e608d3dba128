"""`kms.v1.TenantService`."""

from datetime import timedelta
from typing import ClassVar

import grpc

from kms.model.names import TenantName, check_id
from kms.model.records import TenantRecord
from kms.model.tenant_lifecycle import TenantVerb
from kms.server.call import ServicerContext, service_call
from kms.server.convert import (
    enum_number,
    page_token,
    timestamp,
    to_last_name,
    to_page_size,
    to_request_id,
    to_span,
)
from kms.server.servicers.audit_links import link_message
from kms.services.blindfold_keys import DEFAULT_DELAY
from kms.services.repository import Loaded
from kms.services.tenant_life import TenantLife
from kms.services.tenants import Description, Tenants
from protos.kms.v1 import tenant_service_pb2 as pb
from protos.kms.v1.tenant_service_pb2_grpc import TenantServiceServicer, add_TenantServiceServicer_to_server


class TenantServicer(TenantServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["TenantService"].full_name

    def __init__(self, tenants: Tenants, life: TenantLife, audit_public_key: bytes) -> None:
        self._tenants = tenants
        self._life = life
        self._audit_public_key = audit_public_key

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

    async def EnableTenant(self, request: pb.EnableTenantRequest, context: ServicerContext) -> pb.Tenant:
        return await self._change(request.name, TenantVerb.ENABLE, request.etag)

    async def DisableTenant(self, request: pb.DisableTenantRequest, context: ServicerContext) -> pb.Tenant:
        return await self._change(request.name, TenantVerb.DISABLE, request.etag)

    async def ScheduleDestroyTenant(
        self, request: pb.ScheduleDestroyTenantRequest, context: ServicerContext
    ) -> pb.Tenant:
        delay = to_span(request.delay, "delay") if request.HasField("delay") else DEFAULT_DELAY
        return await self._change(request.name, TenantVerb.SCHEDULE_DESTROY, request.etag, delay)

    async def CancelDestroyTenant(
        self, request: pb.CancelDestroyTenantRequest, context: ServicerContext
    ) -> pb.Tenant:
        return await self._change(request.name, TenantVerb.CANCEL_DESTROY, request.etag)

    async def GetDestructionReceipt(
        self, request: pb.GetDestructionReceiptRequest, context: ServicerContext
    ) -> pb.DestructionReceipt:
        receipt = await self._life.receipt(service_call(), TenantName.parse(request.name))
        return pb.DestructionReceipt(
            name=receipt.tenant.name,
            destroy_event_time=timestamp(receipt.tenant.record.destroy_event_time),
            erase_time=timestamp(receipt.tenant.record.erase_time),
            links=[link_message(link, self._audit_public_key) for link in receipt.links],
        )

    async def _change(
        self, name: str, verb: TenantVerb, etag: str, delay: timedelta = DEFAULT_DELAY
    ) -> pb.Tenant:
        return _to_message(await self._life.change(service_call(), TenantName.parse(name), verb, etag, delay))


def _to_message(loaded: Loaded[TenantRecord], admin_join_token: str = "") -> pb.Tenant:
    state = enum_number(pb.Tenant.State.DESCRIPTOR, loaded.record.state)
    return pb.Tenant(
        admin_join_token=admin_join_token,
        name=loaded.name,
        description=loaded.record.description,
        labels=loaded.record.labels,
        create_time=timestamp(loaded.record.create_time),
        etag=loaded.etag,
        state=pb.Tenant.State.ValueType(state),
        destroy_time=timestamp(loaded.record.destroy_time),
        destroy_event_time=timestamp(loaded.record.destroy_event_time),
        erase_time=timestamp(loaded.record.erase_time),
    )
