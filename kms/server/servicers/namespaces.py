"""`kms.v1.NamespaceService`."""

from typing import ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from kms.model.names import NamespaceName, TenantName, check_id
from kms.model.records import NamespaceRecord
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, timestamp, to_last_name, to_page_size, to_request_id
from kms.services.repository import Loaded
from kms.services.tenants import Description, Namespaces
from protos.kms.v1 import namespace_service_pb2 as pb
from protos.kms.v1.namespace_service_pb2_grpc import (
    NamespaceServiceServicer,
    add_NamespaceServiceServicer_to_server,
)


class NamespaceServicer(NamespaceServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["NamespaceService"].full_name

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    def add_to(self, server: grpc.aio.Server) -> None:
        add_NamespaceServiceServicer_to_server(self, server)

    async def CreateNamespace(
        self, request: pb.CreateNamespaceRequest, context: ServicerContext
    ) -> pb.Namespace:
        parent = TenantName.parse(request.parent, "parent")
        name = NamespaceName(parent.tenant, check_id(request.namespace_id, "namespace_id"))
        about = Description(request.namespace.description, dict(request.namespace.labels))
        request_id = to_request_id(request.request_id)
        return _to_message(await self._namespaces.create(service_call(), name, about, request_id))

    async def GetNamespace(self, request: pb.GetNamespaceRequest, context: ServicerContext) -> pb.Namespace:
        return _to_message(await self._namespaces.get(service_call(), NamespaceName.parse(request.name)))

    async def ListNamespaces(
        self, request: pb.ListNamespacesRequest, context: ServicerContext
    ) -> pb.ListNamespacesResponse:
        parent = TenantName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/namespaces/")
        page = await self._namespaces.list(service_call(), parent, after, to_page_size(request.page_size))
        namespaces = [_to_message(loaded) for loaded in page.items]
        return pb.ListNamespacesResponse(namespaces=namespaces, next_page_token=page_token(page.next_after))

    async def DeleteNamespace(self, request: pb.DeleteNamespaceRequest, context: ServicerContext) -> Empty:
        await self._namespaces.delete(service_call(), NamespaceName.parse(request.name), request.etag)
        return Empty()


def _to_message(loaded: Loaded[NamespaceRecord]) -> pb.Namespace:
    return pb.Namespace(
        name=loaded.name,
        description=loaded.record.description,
        labels=loaded.record.labels,
        create_time=timestamp(loaded.record.create_time),
        etag=loaded.etag,
    )
