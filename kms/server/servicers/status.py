"""`kms.v1.StatusService`."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

import grpc

from kms.model.server_status import ServerStatus
from kms.server.call import ServicerContext, service_call
from kms.server.convert import enum_number, timestamp
from kms.services.call import Call
from protos.kms.v1 import status_service_pb2 as pb
from protos.kms.v1.status_service_pb2_grpc import StatusServiceServicer, add_StatusServiceServicer_to_server


class StatusServicer(StatusServiceServicer):
    """`report` is the service function: it authorises the caller, or raises `KmsError`."""

    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["StatusService"].full_name

    def __init__(self, report: Callable[[Call], Awaitable[ServerStatus]]) -> None:
        self._report = report

    def add_to(self, server: grpc.aio.Server) -> None:
        add_StatusServiceServicer_to_server(self, server)

    async def GetStatus(self, request: pb.GetStatusRequest, context: ServicerContext) -> pb.ServerStatus:
        return _to_message(await self._report(service_call()))


def _to_message(status: ServerStatus) -> pb.ServerStatus:
    grade = enum_number(pb.RootOfTrust.Grade.DESCRIPTOR, status.grade.name)
    return pb.ServerStatus(
        version=status.version,
        start_time=timestamp(status.start_time),
        ready=status.ready,
        locked=status.locked,
        root_of_trust=pb.RootOfTrust(kind=status.root_of_trust, grade=pb.RootOfTrust.Grade.ValueType(grade)),
        store=pb.StoreStatus(
            kind=status.store.kind,
            schema_version=status.store.schema_version,
            last_event=status.store.last_event,
            checkpoint_time=timestamp(status.store.checkpoint_time),
        ),
        tenant_count=status.tenant_count,
        root_key_rotating=status.root_key_rotating,
    )
