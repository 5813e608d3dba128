"""`kms.v1.PrefixSetService`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from kms.model.names import PrefixSetName, TenantName, check_id
from kms.server.call import ServicerContext, service_call
from kms.server.convert import masked, page_token, timestamp, to_last_name, to_page_size, to_request_id
from kms.services.prefix_sets import PrefixSet as StoredSet
from kms.services.prefix_sets import PrefixSets, PrefixSetSettings
from protos.kms.v1 import prefix_set_service_pb2 as pb
from protos.kms.v1.prefix_set_pb2 import PrefixSet
from protos.kms.v1.prefix_set_service_pb2_grpc import (
    PrefixSetServiceServicer,
    add_PrefixSetServiceServicer_to_server,
)

_SETTINGS: Mapping[str, Callable[[PrefixSet], object]] = MappingProxyType(
    {
        "prefixes": lambda message: tuple(message.prefixes),
        "description": lambda message: message.description,
    }
)


class PrefixSetServicer(PrefixSetServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["PrefixSetService"].full_name

    def __init__(self, sets: PrefixSets) -> None:
        self._sets = sets

    def add_to(self, server: grpc.aio.Server) -> None:
        add_PrefixSetServiceServicer_to_server(self, server)

    async def CreatePrefixSet(
        self, request: pb.CreatePrefixSetRequest, context: ServicerContext
    ) -> PrefixSet:
        parent = TenantName.parse(request.parent, "parent")
        name = PrefixSetName(parent.tenant, check_id(request.prefix_set_id, "prefix_set_id"))
        given: dict[str, Any] = {field: read(request.prefix_set) for field, read in _SETTINGS.items()}
        settings, request_id = PrefixSetSettings(**given), to_request_id(request.request_id)
        return _message(await self._sets.create(service_call(), name, settings, request_id))

    async def GetPrefixSet(self, request: pb.GetPrefixSetRequest, context: ServicerContext) -> PrefixSet:
        return _message(await self._sets.get(service_call(), PrefixSetName.parse(request.name)))

    async def ListPrefixSets(
        self, request: pb.ListPrefixSetsRequest, context: ServicerContext
    ) -> pb.ListPrefixSetsResponse:
        parent = TenantName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/prefixSets/")
        page = await self._sets.list(service_call(), parent, after, to_page_size(request.page_size))
        return pb.ListPrefixSetsResponse(
            prefix_sets=map(_message, page.items), next_page_token=page_token(page.next_after)
        )

    async def UpdatePrefixSet(
        self, request: pb.UpdatePrefixSetRequest, context: ServicerContext
    ) -> PrefixSet:
        sent = request.prefix_set
        name = PrefixSetName.parse(sent.name, "prefix_set.name")
        new: dict[str, Any] = masked(sent, request.update_mask, _SETTINGS)
        updated = await self._sets.update(
            service_call(), name, lambda settings: replace(settings, **new), sent.etag
        )
        return _message(updated)

    async def DeletePrefixSet(self, request: pb.DeletePrefixSetRequest, context: ServicerContext) -> Empty:
        await self._sets.delete(service_call(), PrefixSetName.parse(request.name), request.etag)
        return Empty()


def _message(stored: StoredSet) -> PrefixSet:
    record = stored.record
    return PrefixSet(
        name=stored.name,
        prefixes=record.prefixes,
        description=record.description,
        create_time=timestamp(record.create_time),
        update_time=timestamp(record.update_time),
        etag=stored.etag,
    )
