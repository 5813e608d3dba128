"""`kms.v1.KeyService`."""

from typing import ClassVar

import grpc

from kms.model.lifecycle import Verb
from kms.model.names import KeyName, KeyVersionName, NamespaceName, check_id
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, to_last_name, to_page_size, to_request_id, to_span
from kms.server.servicers.key_messages import (
    key_message,
    to_algorithm,
    to_change,
    to_purpose,
    to_query,
    to_settings,
    version_message,
)
from kms.services.blindfold_keys import DEFAULT_DELAY
from kms.services.key_versions import KeyVersions
from kms.services.keys import Keys
from protos.kms.v1 import key_service_pb2 as pb
from protos.kms.v1.key_pb2 import Key, KeyVersion
from protos.kms.v1.key_service_pb2_grpc import KeyServiceServicer, add_KeyServiceServicer_to_server


class KeyServicer(KeyServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["KeyService"].full_name

    def __init__(self, keys: Keys, versions: KeyVersions) -> None:
        self._keys = keys
        self._versions = versions

    def add_to(self, server: grpc.aio.Server) -> None:
        add_KeyServiceServicer_to_server(self, server)

    async def CreateKey(self, request: pb.CreateKeyRequest, context: ServicerContext) -> Key:
        parent = NamespaceName.parse(request.parent, "parent")
        name = KeyName(parent.tenant, parent.namespace, check_id(request.key_id, "key_id"))
        key = await self._keys.create(
            service_call(),
            name,
            to_purpose(request.key.purpose),
            to_algorithm(request.key.algorithm),
            to_settings(request.key),
            to_request_id(request.request_id),
            import_only=request.skip_initial_version,
        )
        return key_message(key)

    async def GetKey(self, request: pb.GetKeyRequest, context: ServicerContext) -> Key:
        return key_message(await self._keys.get(service_call(), KeyName.parse(request.name)))

    async def ListKeys(self, request: pb.ListKeysRequest, context: ServicerContext) -> pb.ListKeysResponse:
        parent, query = NamespaceName.parse(request.parent, "parent"), to_query(request)
        after, limit = to_last_name(request.page_token, f"{parent}/keys/"), to_page_size(request.page_size)
        page = await self._keys.list(service_call(), parent, query, after, limit)
        keys = [key_message(key) for key in page.items]
        return pb.ListKeysResponse(keys=keys, next_page_token=page_token(page.next_after))

    async def UpdateKey(self, request: pb.UpdateKeyRequest, context: ServicerContext) -> Key:
        name = KeyName.parse(request.key.name, "key.name")
        change = to_change(request.key, request.update_mask)
        return key_message(await self._keys.update(service_call(), name, change, request.key.etag))

    async def RotateKey(self, request: pb.RotateKeyRequest, context: ServicerContext) -> Key:
        return key_message(await self._keys.rotate(service_call(), KeyName.parse(request.name)))

    async def GetKeyVersion(self, request: pb.GetKeyVersionRequest, context: ServicerContext) -> KeyVersion:
        name = KeyVersionName.parse(request.name)
        return version_message(await self._versions.get(service_call(), name))

    async def ListKeyVersions(
        self, request: pb.ListKeyVersionsRequest, context: ServicerContext
    ) -> pb.ListKeyVersionsResponse:
        parent = KeyName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/versions/")
        page = await self._versions.list(service_call(), parent, after, to_page_size(request.page_size))
        versions = [version_message(view) for view in page.items]
        return pb.ListKeyVersionsResponse(key_versions=versions, next_page_token=page_token(page.next_after))

    async def SetPrimaryKeyVersion(
        self, request: pb.SetPrimaryKeyVersionRequest, context: ServicerContext
    ) -> KeyVersion:
        name = KeyVersionName.parse(request.name)
        return version_message(await self._versions.set_primary(service_call(), name, request.etag))

    async def EnableKeyVersion(
        self, request: pb.EnableKeyVersionRequest, context: ServicerContext
    ) -> KeyVersion:
        return await self._change(request, Verb.ENABLE)

    async def DisableKeyVersion(
        self, request: pb.DisableKeyVersionRequest, context: ServicerContext
    ) -> KeyVersion:
        return await self._change(request, Verb.DISABLE)

    async def MarkKeyVersionCompromised(
        self, request: pb.MarkKeyVersionCompromisedRequest, context: ServicerContext
    ) -> KeyVersion:
        return await self._change(request, Verb.MARK_COMPROMISED)

    async def ScheduleDestroyKeyVersion(
        self, request: pb.ScheduleDestroyKeyVersionRequest, context: ServicerContext
    ) -> KeyVersion:
        name = KeyVersionName.parse(request.name)
        delay = to_span(request.delay, "delay") if request.HasField("delay") else DEFAULT_DELAY
        call, verb = service_call(), Verb.SCHEDULE_DESTROY
        return version_message(await self._versions.change(call, name, verb, request.etag, delay))

    async def CancelDestroyKeyVersion(
        self, request: pb.CancelDestroyKeyVersionRequest, context: ServicerContext
    ) -> KeyVersion:
        return await self._change(request, Verb.CANCEL_DESTROY)

    async def _change(
        self,
        request: pb.EnableKeyVersionRequest
        | pb.DisableKeyVersionRequest
        | pb.MarkKeyVersionCompromisedRequest
        | pb.CancelDestroyKeyVersionRequest,
        verb: Verb,
    ) -> KeyVersion:
        name = KeyVersionName.parse(request.name)
        return version_message(await self._versions.change(service_call(), name, verb, request.etag))
