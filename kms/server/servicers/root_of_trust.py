"""`kms.v1.RootOfTrustService`."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import ClassVar

import grpc

from blindfold.secret import SecretBytes
from kms.crypto.sharing import Sharing
from kms.server.call import ServicerContext, service_call
from kms.server.convert import timestamp
from kms.services.root_key_rotation import RootKeyRotation, RotationProgress
from kms.services.root_of_trust import RootChange, RootOfTrustService, Wanted
from protos.kms.v1 import root_of_trust_service_pb2 as pb
from protos.kms.v1.root_of_trust_service_pb2_grpc import (
    RootOfTrustServiceServicer,
    add_RootOfTrustServiceServicer_to_server,
)


class RootOfTrustServicer(RootOfTrustServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["RootOfTrustService"].full_name

    def __init__(self, root: RootOfTrustService, rotation: RootKeyRotation) -> None:
        self._root = root
        self._rotation = rotation

    def add_to(self, server: grpc.aio.Server) -> None:
        add_RootOfTrustServiceServicer_to_server(self, server)

    async def LockServer(
        self, request: pb.LockServerRequest, context: ServicerContext
    ) -> pb.LockServerResponse:
        await self._root.lock_server(service_call())
        return pb.LockServerResponse()

    async def RotateRootKey(
        self, request: pb.RotateRootKeyRequest, context: ServicerContext
    ) -> AsyncGenerator[pb.RootKeyRotation]:
        async for told in self._rotation.rotate(service_call()):
            yield _rotation_message(told)

    async def GetRootKeyRotation(
        self, request: pb.GetRootKeyRotationRequest, context: ServicerContext
    ) -> pb.RootKeyRotation:
        return _rotation_message(await self._rotation.progress(service_call()))

    async def ChangeRootOfTrust(
        self, request: pb.ChangeRootOfTrustRequest, context: ServicerContext
    ) -> pb.RootOfTrustChange:
        present = _secret(request.present_passphrase)
        return _to_message(await self._root.change(service_call(), partial(_wanted, request), present))

    async def ApproveRootOfTrustChange(
        self, request: pb.ApproveRootOfTrustChangeRequest, context: ServicerContext
    ) -> pb.RootOfTrustChange:
        share = SecretBytes(request.share)
        return _to_message(await self._root.approve(service_call(), request.change_id, share))

    async def GetRootOfTrustChange(
        self, request: pb.GetRootOfTrustChangeRequest, context: ServicerContext
    ) -> pb.RootOfTrustChange:
        return _to_message(await self._root.waiting(service_call()))

    async def ListShares(
        self, request: pb.ListSharesRequest, context: ServicerContext
    ) -> pb.ListSharesResponse:
        return pb.ListSharesResponse(shares=await self._root.shares(service_call()))


def _secret(value: bytes) -> SecretBytes | None:
    return SecretBytes(value) if value else None


def _wanted(request: pb.ChangeRootOfTrustRequest) -> Wanted:
    """Raises `InvalidField`."""
    holders = tuple(key.encode() for key in request.share_keys)
    sharing = Sharing(request.threshold, len(holders), holders) if holders or request.threshold else None
    return Wanted(request.root_of_trust, _secret(request.passphrase), sharing)


def _rotation_message(told: RotationProgress) -> pb.RootKeyRotation:
    return pb.RootKeyRotation(
        done_count=told.count,
        total_count=told.total,
        done=told.done,
        create_time=timestamp(told.create_time),
        problem=told.problem,
    )


def _to_message(change: RootChange) -> pb.RootOfTrustChange:
    sharing = change.wanted.sharing
    return pb.RootOfTrustChange(
        change_id=change.change_id,
        old_root_of_trust=change.old,
        new_root_of_trust=change.wanted.provider,
        new_threshold=0 if sharing is None else sharing.threshold,
        recipients=change.recipients,
        requester=change.requester,
        threshold=change.threshold,
        given=change.given,
        expire_time=timestamp(change.expire_time),
        done=change.done,
    )
