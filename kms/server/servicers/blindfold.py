"""`kms.v1.BlindfoldService`."""

from collections.abc import Callable
from typing import ClassVar

import grpc
from google.protobuf.duration_pb2 import Duration

from blindfold.exponent import DIGEST_SIZE, UID_SIZE
from kms.errors import InvalidField, KmsError
from kms.model.lifecycle import Verb, VersionState
from kms.model.names import BlindfoldKeyName, SecretPolicyName, TenantName
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
from kms.server.status import to_status
from kms.services.blindfold_keys import DEFAULT_DELAY, BlindfoldKeys, KeyView, key_document
from kms.services.documents import Documents
from kms.services.evaluation import Evaluation, PolicyBinding, RevisionBinding
from protos.kms.v1 import blindfold_service_pb2 as pb
from protos.kms.v1.blindfold_service_pb2_grpc import (
    BlindfoldServiceServicer,
    add_BlindfoldServiceServicer_to_server,
)
from protos.kms.v1.key_version_state_pb2 import KeyVersionState

DEFAULT_MODULUS_BITS = 3072


class BlindfoldServicer(BlindfoldServiceServicer):
    """`progress` tells how many candidates were tested for a version that is being generated."""

    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["BlindfoldService"].full_name

    def __init__(
        self,
        keys: BlindfoldKeys,
        documents: Documents,
        evaluation: Evaluation,
        progress: Callable[[BlindfoldKeyName], int],
    ) -> None:
        self._keys = keys
        self._documents = documents
        self._evaluation = evaluation
        self._progress = progress

    def add_to(self, server: grpc.aio.Server) -> None:
        add_BlindfoldServiceServicer_to_server(self, server)

    async def GenerateBlindfoldKey(
        self, request: pb.GenerateBlindfoldKeyRequest, context: ServicerContext
    ) -> pb.BlindfoldKey:
        parent = TenantName.parse(request.parent, "parent")
        bits, request_id = request.modulus_bits or DEFAULT_MODULUS_BITS, to_request_id(request.request_id)
        make_primary = request.make_primary
        view = await self._keys.begin(service_call(), parent, bits, request_id, make_primary=make_primary)
        return self._to_message(view)

    async def GetBlindfoldKey(
        self, request: pb.GetBlindfoldKeyRequest, context: ServicerContext
    ) -> pb.BlindfoldKey:
        return self._to_message(await self._keys.get(service_call(), BlindfoldKeyName.parse(request.name)))

    async def ListBlindfoldKeys(
        self, request: pb.ListBlindfoldKeysRequest, context: ServicerContext
    ) -> pb.ListBlindfoldKeysResponse:
        parent = TenantName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/blindfoldKeys/")
        page = await self._keys.list(service_call(), parent, after, to_page_size(request.page_size))
        keys = [self._to_message(view) for view in page.items]
        return pb.ListBlindfoldKeysResponse(blindfold_keys=keys, next_page_token=page_token(page.next_after))

    async def SetPrimaryBlindfoldKey(
        self, request: pb.SetPrimaryBlindfoldKeyRequest, context: ServicerContext
    ) -> pb.BlindfoldKey:
        name = BlindfoldKeyName.parse(request.name)
        return self._to_message(await self._keys.set_primary(service_call(), name, request.etag))

    async def EnableBlindfoldKey(
        self, request: pb.EnableBlindfoldKeyRequest, context: ServicerContext
    ) -> pb.BlindfoldKey:
        name = BlindfoldKeyName.parse(request.name)
        return self._to_message(await self._keys.change(service_call(), name, Verb.ENABLE, request.etag))

    async def DisableBlindfoldKey(
        self, request: pb.DisableBlindfoldKeyRequest, context: ServicerContext
    ) -> pb.BlindfoldKey:
        name = BlindfoldKeyName.parse(request.name)
        return self._to_message(await self._keys.change(service_call(), name, Verb.DISABLE, request.etag))

    async def ScheduleDestroyBlindfoldKey(
        self, request: pb.ScheduleDestroyBlindfoldKeyRequest, context: ServicerContext
    ) -> pb.BlindfoldKey:
        name = BlindfoldKeyName.parse(request.name)
        delay = to_span(request.delay, "delay") if request.HasField("delay") else DEFAULT_DELAY
        view = await self._keys.change(service_call(), name, Verb.SCHEDULE_DESTROY, request.etag, delay)
        return self._to_message(view)

    async def CancelDestroyBlindfoldKey(
        self, request: pb.CancelDestroyBlindfoldKeyRequest, context: ServicerContext
    ) -> pb.BlindfoldKey:
        name = BlindfoldKeyName.parse(request.name)
        view = await self._keys.change(service_call(), name, Verb.CANCEL_DESTROY, request.etag)
        return self._to_message(view)

    async def GetBlindfoldPublicKey(
        self, request: pb.GetBlindfoldPublicKeyRequest, context: ServicerContext
    ) -> pb.GetBlindfoldPublicKeyResponse:
        parent = TenantName.parse(request.parent, "parent")
        name, bundle = await self._documents.public_key(service_call(), parent)
        return pb.GetBlindfoldPublicKeyResponse(name=str(name), bundle=bundle)

    async def GetKeyDocument(
        self, request: pb.GetKeyDocumentRequest, context: ServicerContext
    ) -> pb.GetKeyDocumentResponse:
        name = BlindfoldKeyName.parse(request.name)
        return pb.GetKeyDocumentResponse(document=await self._documents.key_document(service_call(), name))

    async def GetPolicyDocument(
        self, request: pb.GetPolicyDocumentRequest, context: ServicerContext
    ) -> pb.GetPolicyDocumentResponse:
        asked = SecretPolicyName.parse(request.name)
        name, bundle = await self._documents.policy_document(service_call(), asked)
        return pb.GetPolicyDocumentResponse(name=str(name), bundle=bundle)

    async def EvaluateBlinded(
        self, request: pb.EvaluateBlindedRequest, context: ServicerContext
    ) -> pb.EvaluateBlindedResponse:
        call, key = service_call(), BlindfoldKeyName.parse(request.name)
        evaluated = await self._evaluation.evaluate(call, key, _to_binding(request), request.elements)
        results = [_to_result(item, call.request_id) for item in evaluated.results]
        cache = Duration(seconds=evaluated.cache_seconds) if evaluated.cache_seconds else None
        return pb.EvaluateBlindedResponse(results=results, decrypt_cache_timeout=cache)

    def _to_message(self, view: KeyView) -> pb.BlindfoldKey:
        record = view.row.record
        pending = record.state == VersionState.PENDING_GENERATION
        return pb.BlindfoldKey(
            name=str(view.name),
            state=KeyVersionState.ValueType(enum_number(KeyVersionState.DESCRIPTOR, record.state)),
            primary=view.primary,
            modulus_bits=record.modulus_bits,
            fingerprint=key_document(view.name, record).fingerprint if record.modulus else b"",
            create_time=timestamp(record.create_time),
            generate_time=timestamp(record.generate_time),
            destroy_time=timestamp(record.destroy_time),
            destroy_event_time=timestamp(record.destroy_event_time),
            last_used_time=timestamp(view.last_used),
            etag=view.row.etag,
            candidates_tested=self._progress(view.name) if pending else 0,
        )


def _to_binding(request: pb.EvaluateBlindedRequest) -> RevisionBinding | PolicyBinding:
    if request.HasField("policy"):
        name = SecretPolicyName.parse(request.policy.name, "policy.name")
        return PolicyBinding(name, _exactly(request.policy.uid, UID_SIZE, "policy.uid"))
    return RevisionBinding(_exactly(request.revision_digest, DIGEST_SIZE, "revision_digest"))


def _exactly(value: bytes, size: int, field: str) -> bytes:
    if len(value) != size:
        raise InvalidField(field, f"must have {size} bytes")
    return value


def _to_result(result: bytes | KmsError, request_id: str) -> pb.EvaluationResult:
    if isinstance(result, KmsError):
        return pb.EvaluationResult(error=to_status(result, request_id))
    return pb.EvaluationResult(element=result)
