"""`kms.v1.ImportService`."""

from typing import ClassVar

import grpc

from kms.errors import InvalidField
from kms.model.names import ImportKeyName, KeyName, KeyVersionName, NamespaceName
from kms.server.call import ServicerContext, service_call
from kms.server.convert import enum_number, timestamp
from kms.server.servicers.key_messages import to_algorithm, version_message
from kms.services.key_versions import KeyVersions
from kms.services.transfers import Transfers, Wrapped
from protos.kms.v1 import import_service_pb2 as pb
from protos.kms.v1.import_service_pb2_grpc import ImportServiceServicer, add_ImportServiceServicer_to_server
from protos.kms.v1.key_pb2 import KeyAlgorithm, KeyVersion


class ImportServicer(ImportServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["ImportService"].full_name

    def __init__(self, transfers: Transfers, versions: KeyVersions) -> None:
        self._transfers = transfers
        self._versions = versions

    def add_to(self, server: grpc.aio.Server) -> None:
        add_ImportServiceServicer_to_server(self, server)

    async def CreateImportKey(
        self, request: pb.CreateImportKeyRequest, context: ServicerContext
    ) -> pb.ImportKey:
        parent = NamespaceName.parse(request.parent, "parent")
        name, record = await self._transfers.create_import_key(
            service_call(), parent, request.max_imports or 1
        )
        return pb.ImportKey(
            name=str(name),
            public_key=record.public_key,
            create_time=timestamp(record.create_time),
            expire_time=timestamp(record.expire_time),
            imports_left=record.imports_left,
        )

    async def ImportKeyVersion(
        self, request: pb.ImportKeyVersionRequest, context: ServicerContext
    ) -> KeyVersion:
        key, algorithm = KeyName.parse(request.parent, "parent"), to_algorithm(request.algorithm)
        name = await self._transfers.import_version(
            service_call(), key, algorithm, _to_source(request), make_primary=request.make_primary
        )
        return version_message(self._versions.view(name))

    async def CopyKey(self, request: pb.CopyKeyRequest, context: ServicerContext) -> KeyVersion:
        source = KeyVersionName.parse(request.source, "source")
        destination = KeyName.parse(request.destination, "destination")
        name = await self._transfers.copy(
            service_call(), source, destination, make_primary=request.make_primary
        )
        return version_message(self._versions.view(name))

    async def BeginExport(
        self, request: pb.BeginExportRequest, context: ServicerContext
    ) -> pb.BeginExportResponse:
        nonce, end = await self._transfers.begin_export(service_call(), KeyVersionName.parse(request.name))
        return pb.BeginExportResponse(nonce=nonce, expire_time=timestamp(end))

    async def ExportKeyVersion(
        self, request: pb.ExportKeyVersionRequest, context: ServicerContext
    ) -> pb.ExportKeyVersionResponse:
        exported = await self._transfers.export(
            service_call(),
            KeyVersionName.parse(request.name),
            request.nonce,
            request.public_key,
            request.signature,
        )
        algorithm = KeyAlgorithm.ValueType(enum_number(KeyAlgorithm.DESCRIPTOR, exported.algorithm))
        return pb.ExportKeyVersionResponse(
            name=str(exported.name), algorithm=algorithm, wrapped_key=exported.wrapped_key
        )


def _to_source(request: pb.ImportKeyVersionRequest) -> Wrapped | bytes:
    """Raises `InvalidField`."""
    if request.HasField("wrapped"):
        name = ImportKeyName.parse(request.wrapped.import_key, "wrapped.import_key")
        return Wrapped(name, request.wrapped.wrapped_key)
    if request.HasField("public_key"):
        return request.public_key
    raise InvalidField("material", "set wrapped or public_key")
