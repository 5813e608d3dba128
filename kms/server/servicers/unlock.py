"""`kms.v1.UnlockService`, on the listener that asks for no certificate."""

from datetime import datetime
from typing import ClassVar, Protocol

import grpc

from blindfold.secret import SecretBytes
from kms.model.lock_status import LockStatus
from kms.server.call import ServicerContext, current_call
from kms.server.convert import timestamp
from protos.kms.v1 import unlock_service_pb2 as pb
from protos.kms.v1.unlock_service_pb2_grpc import UnlockServiceServicer, add_UnlockServiceServicer_to_server


class Unlocking(Protocol):
    """What a server does about its lock."""

    def status(self, now: datetime) -> LockStatus: ...

    async def unlock(self, share: SecretBytes, address: str, now: datetime) -> LockStatus:
        """Raises `KmsError`."""
        ...


class UnlockServicer(UnlockServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["UnlockService"].full_name

    def __init__(self, unlocking: Unlocking) -> None:
        self._unlocking = unlocking

    def add_to(self, server: grpc.aio.Server) -> None:
        add_UnlockServiceServicer_to_server(self, server)

    async def GetLockStatus(
        self, request: pb.GetLockStatusRequest, context: ServicerContext
    ) -> pb.LockStatus:
        return _to_message(self._unlocking.status(current_call().time))

    async def Unlock(self, request: pb.UnlockRequest, context: ServicerContext) -> pb.LockStatus:
        call = current_call()
        return _to_message(await self._unlocking.unlock(SecretBytes(request.share), call.address, call.time))


def _to_message(status: LockStatus) -> pb.LockStatus:
    return pb.LockStatus(
        locked=status.locked,
        root_of_trust=status.root_of_trust,
        threshold=status.threshold,
        given=status.given,
        expire_time=timestamp(status.expire_time),
    )
