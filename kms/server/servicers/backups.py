"""`kms.v1.BackupService`."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from typing import BinaryIO, ClassVar

import grpc

from kms.errors import InvalidField, Unavailable
from kms.model.names import TenantName
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.server.call import ServicerContext, service_call
from kms.server.convert import timestamp_of_text
from kms.services.backups import Backups
from kms.services.restores import Restored, Restores
from kms.services.store_backups import StoreBackups
from protos.kms.v1 import backup_service_pb2 as pb
from protos.kms.v1.backup_service_pb2_grpc import BackupServiceServicer, add_BackupServiceServicer_to_server

PIECE = 256 << 10


class BackupServicer(BackupServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["BackupService"].full_name

    def __init__(self, backups: Backups, stores: StoreBackups, restores: Restores) -> None:
        self._backups = backups
        self._stores = stores
        self._restores = restores

    def add_to(self, server: grpc.aio.Server) -> None:
        add_BackupServiceServicer_to_server(self, server)

    async def BackupTenant(
        self, request: pb.BackupTenantRequest, context: ServicerContext
    ) -> AsyncGenerator[pb.BackupTenantResponse]:
        with await self._backups.backup(service_call(), TenantName.parse(request.name)) as backup:
            while piece := await asyncio.to_thread(backup.read, PIECE):
                yield pb.BackupTenantResponse(data=piece)

    async def BackupStore(
        self, request: pb.BackupStoreRequest, context: ServicerContext
    ) -> AsyncGenerator[pb.BackupStoreResponse]:
        with await self._stores.backup(service_call(), request.since) as backup:
            while piece := await asyncio.to_thread(backup.read, PIECE):
                yield pb.BackupStoreResponse(data=piece)

    async def RestoreTenant(
        self, requests: AsyncIterator[pb.RestoreTenantRequest], context: ServicerContext
    ) -> AsyncGenerator[pb.RestoreTenantResponse]:
        call = service_call()
        await self._restores.authorise(call)
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            name, verify_only = await _receive(requests, file)
        except BaseException:
            file.close()
            raise
        restored = await self._restores.restore(call, name, file, verify_only=verify_only)
        yield _to_message(restored, verify_only=verify_only)


async def _receive(
    requests: AsyncIterator[pb.RestoreTenantRequest], file: BinaryIO
) -> tuple[TenantName, bool]:
    """Write the backup to file; which tenant it is of, and whether it is to be verified only.

    Raises `InvalidField`, and `Unavailable` where the disk is full.
    """
    first: pb.RestoreTenantRequest | None = None
    async for request in requests:
        if first is None:
            first = pb.RestoreTenantRequest(name=request.name, verify_only=request.verify_only)
            TenantName.parse(first.name)
        elif request.name or request.verify_only:
            raise InvalidField("name", "is said in the first request alone, and so is verify_only")
        try:
            await asyncio.to_thread(file.write, request.data)
            continue
        except OSError as error:
            reason = error.strerror
        raise Unavailable(f"the backup cannot be kept: {reason}")
    if first is None:
        raise InvalidField("name", "there was no request")
    return TenantName.parse(first.name), first.verify_only


def _to_message(restored: Restored, *, verify_only: bool) -> pb.RestoreTenantResponse:
    header, facts = restored.header, restored.facts
    return pb.RestoreTenantResponse(
        name=header.scope,
        verify_only=verify_only,
        backup_time=timestamp_of_text(header.time),
        row_count=header.rows,
        key_count=facts.counts[KeyRecord.KIND],
        key_version_count=facts.counts[KeyVersionRecord.KIND],
        device_version_counts=facts.devices,
        rotating_key_count=len(facts.rotating),
    )
