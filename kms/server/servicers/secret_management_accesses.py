"""`kms.v1.SecretManagementAccessService`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from kms.errors import LimitExceeded
from kms.model.access_json import MAX_ACCESS_BYTES, without_clear
from kms.model.names import NamespaceName, SecretManagementAccessName, check_id
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, timestamp, to_last_name, to_page_size, to_request_id
from kms.server.json_messages import fill, to_fields, to_object
from kms.services.secret_management_accesses import (
    SecretManagementAccesses,
    Stored,
    access_of,
    content_of,
)
from protos.kms.v1 import secret_management_access_service_pb2 as pb
from protos.kms.v1.secret_management_access_pb2 import SecretManagementAccess, SecretManagementAccessContent
from protos.kms.v1.secret_management_access_service_pb2_grpc import (
    SecretManagementAccessServiceServicer,
    add_SecretManagementAccessServiceServicer_to_server,
)


class SecretManagementAccessServicer(SecretManagementAccessServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["SecretManagementAccessService"].full_name

    def __init__(self, accesses: SecretManagementAccesses) -> None:
        self._accesses = accesses

    def add_to(self, server: grpc.aio.Server) -> None:
        add_SecretManagementAccessServiceServicer_to_server(self, server)

    async def CreateSecretManagementAccess(
        self, request: pb.CreateSecretManagementAccessRequest, context: ServicerContext
    ) -> SecretManagementAccess:
        parent = NamespaceName.parse(request.parent, "parent")
        access = check_id(request.secret_management_access_id, "secret_management_access_id")
        name = SecretManagementAccessName(parent.tenant, parent.namespace, access)
        content, request_id = _to_content(request.secret_management_access), to_request_id(request.request_id)
        return _shown(await self._accesses.create(service_call(), name, content, request_id))

    async def GetSecretManagementAccess(
        self, request: pb.GetSecretManagementAccessRequest, context: ServicerContext
    ) -> SecretManagementAccess:
        name = SecretManagementAccessName.parse(request.name)
        return _shown(await self._accesses.get(service_call(), name))

    async def ListSecretManagementAccesses(
        self, request: pb.ListSecretManagementAccessesRequest, context: ServicerContext
    ) -> pb.ListSecretManagementAccessesResponse:
        parent = NamespaceName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/secretManagementAccesses/")
        page = await self._accesses.list(service_call(), parent, after, to_page_size(request.page_size))
        return pb.ListSecretManagementAccessesResponse(
            secret_management_accesses=map(_shown, page.items), next_page_token=page_token(page.next_after)
        )

    async def UpdateSecretManagementAccess(
        self, request: pb.UpdateSecretManagementAccessRequest, context: ServicerContext
    ) -> SecretManagementAccess:
        sent = request.secret_management_access
        name = SecretManagementAccessName.parse(sent.name, "secret_management_access.name")
        fields = to_fields(request.update_mask, SecretManagementAccessContent)
        updated = await self._accesses.update(service_call(), name, _to_content(sent), sent.etag, fields)
        return _shown(updated)

    async def DeleteSecretManagementAccess(
        self, request: pb.DeleteSecretManagementAccessRequest, context: ServicerContext
    ) -> Empty:
        name = SecretManagementAccessName.parse(request.name)
        await self._accesses.delete(service_call(), name, request.etag)
        return Empty()

    async def FetchSecretManagementAccess(
        self, request: pb.FetchSecretManagementAccessRequest, context: ServicerContext
    ) -> SecretManagementAccess:
        fetched = await self._accesses.fetch(service_call(), SecretManagementAccessName.parse(request.name))
        return _message(fetched, content_of(fetched.record))


def _to_content(message: SecretManagementAccess) -> dict[str, object]:
    """Raises `LimitExceeded` for a message of which the JSON, which is larger, would have too many bytes."""
    if message.content.ByteSize() > MAX_ACCESS_BYTES:
        raise LimitExceeded("content", f"has more than the {MAX_ACCESS_BYTES} bytes that are allowed")
    return to_object(message.content)


def _shown(stored: Stored) -> SecretManagementAccess:
    return _message(stored, without_clear(access_of(stored.record)))


def _message(stored: Stored, content: Mapping[str, Any]) -> SecretManagementAccess:
    message = SecretManagementAccess(
        name=stored.name,
        create_time=timestamp(stored.record.create_time),
        update_time=timestamp(stored.record.update_time),
        etag=stored.etag,
    )
    fill(message.content, content)
    return message
