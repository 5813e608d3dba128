"""`kms.v1.CryptoService`."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar

import grpc

from kms.errors import InvalidField, KmsError
from kms.server.call import ServicerContext, service_call
from kms.server.open_calls import OpenCalls
from kms.server.servicers.crypto_conversions import CryptoOperations
from kms.server.servicers.crypto_operation import Operation
from kms.server.status import to_status
from kms.server.streaming import in_order
from kms.services.cryptography import Cryptography
from kms.services.randomness import Randomness
from protos.kms.v1 import crypto_batch_pb2 as batch
from protos.kms.v1 import crypto_pb2 as pb
from protos.kms.v1 import crypto_service_pb2 as service
from protos.kms.v1.crypto_service_pb2_grpc import CryptoServiceServicer, add_CryptoServiceServicer_to_server

STREAMS_OF_A_CALLER = 16
SERVED_AT_ONCE = 64


class CryptoServicer(CryptoServiceServicer):
    SERVICE: ClassVar[str] = service.DESCRIPTOR.services_by_name["CryptoService"].full_name

    def __init__(self, use: Cryptography, randomness: Randomness) -> None:
        self._operations = CryptoOperations(use, randomness)
        self._streams = OpenCalls(STREAMS_OF_A_CALLER)

    def add_to(self, server: grpc.aio.Server) -> None:
        add_CryptoServiceServicer_to_server(self, server)

    async def Stream(
        self, request_iterator: AsyncIterator[service.StreamRequest], context: ServicerContext
    ) -> AsyncGenerator[service.StreamResponse]:
        with self._streams.one_of(service_call().caller.spiffe_id):
            answers = in_order(request_iterator, self._answer, SERVED_AT_ONCE)
            async with aclosing(answers):
                async for answer in answers:
                    yield answer

    async def _answer(self, request: service.StreamRequest) -> service.StreamResponse:
        call, kind = service_call(), request.WhichOneof("request")
        try:
            if kind is None:
                raise InvalidField("request", "is not set, or of an operation that this server does not have")
            operation: Operation[Any, Any] = getattr(self._operations, kind)
            return service.StreamResponse(**{kind: await operation.one(call, getattr(request, kind))})
        except KmsError as error:
            return service.StreamResponse(error=to_status(error, call.request_id))

    async def Encrypt(self, request: pb.EncryptRequest, context: ServicerContext) -> pb.EncryptResponse:
        return await self._operations.encrypt.one(service_call(), request)

    async def BatchEncrypt(
        self, request: batch.BatchEncryptRequest, context: ServicerContext
    ) -> batch.BatchEncryptResponse:
        return await self._operations.encrypt.many(service_call(), request, batch.BatchEncryptResponse())

    async def Decrypt(self, request: pb.DecryptRequest, context: ServicerContext) -> pb.DecryptResponse:
        return await self._operations.decrypt.one(service_call(), request)

    async def BatchDecrypt(
        self, request: batch.BatchDecryptRequest, context: ServicerContext
    ) -> batch.BatchDecryptResponse:
        return await self._operations.decrypt.many(service_call(), request, batch.BatchDecryptResponse())

    async def ReEncrypt(self, request: pb.ReEncryptRequest, context: ServicerContext) -> pb.ReEncryptResponse:
        return await self._operations.re_encrypt.one(service_call(), request)

    async def BatchReEncrypt(
        self, request: batch.BatchReEncryptRequest, context: ServicerContext
    ) -> batch.BatchReEncryptResponse:
        return await self._operations.re_encrypt.many(service_call(), request, batch.BatchReEncryptResponse())

    async def GenerateDataKey(
        self, request: pb.GenerateDataKeyRequest, context: ServicerContext
    ) -> pb.GenerateDataKeyResponse:
        return await self._operations.generate_data_key.one(service_call(), request)

    async def BatchGenerateDataKey(
        self, request: batch.BatchGenerateDataKeyRequest, context: ServicerContext
    ) -> batch.BatchGenerateDataKeyResponse:
        return await self._operations.generate_data_key.many(
            service_call(), request, batch.BatchGenerateDataKeyResponse()
        )

    async def GenerateRandom(
        self, request: pb.GenerateRandomRequest, context: ServicerContext
    ) -> pb.GenerateRandomResponse:
        return await self._operations.generate_random.one(service_call(), request)

    async def BatchGenerateRandom(
        self, request: batch.BatchGenerateRandomRequest, context: ServicerContext
    ) -> batch.BatchGenerateRandomResponse:
        return await self._operations.generate_random.many(
            service_call(), request, batch.BatchGenerateRandomResponse()
        )

    async def RawEncrypt(
        self, request: pb.RawEncryptRequest, context: ServicerContext
    ) -> pb.RawEncryptResponse:
        return await self._operations.raw_encrypt.one(service_call(), request)

    async def BatchRawEncrypt(
        self, request: batch.BatchRawEncryptRequest, context: ServicerContext
    ) -> batch.BatchRawEncryptResponse:
        return await self._operations.raw_encrypt.many(
            service_call(), request, batch.BatchRawEncryptResponse()
        )

    async def RawDecrypt(
        self, request: pb.RawDecryptRequest, context: ServicerContext
    ) -> pb.RawDecryptResponse:
        return await self._operations.raw_decrypt.one(service_call(), request)

    async def BatchRawDecrypt(
        self, request: batch.BatchRawDecryptRequest, context: ServicerContext
    ) -> batch.BatchRawDecryptResponse:
        return await self._operations.raw_decrypt.many(
            service_call(), request, batch.BatchRawDecryptResponse()
        )

    async def AsymmetricEncrypt(
        self, request: pb.AsymmetricEncryptRequest, context: ServicerContext
    ) -> pb.AsymmetricEncryptResponse:
        return await self._operations.asymmetric_encrypt.one(service_call(), request)

    async def BatchAsymmetricEncrypt(
        self, request: batch.BatchAsymmetricEncryptRequest, context: ServicerContext
    ) -> batch.BatchAsymmetricEncryptResponse:
        return await self._operations.asymmetric_encrypt.many(
            service_call(), request, batch.BatchAsymmetricEncryptResponse()
        )

    async def AsymmetricDecrypt(
        self, request: pb.AsymmetricDecryptRequest, context: ServicerContext
    ) -> pb.AsymmetricDecryptResponse:
        return await self._operations.asymmetric_decrypt.one(service_call(), request)

    async def BatchAsymmetricDecrypt(
        self, request: batch.BatchAsymmetricDecryptRequest, context: ServicerContext
    ) -> batch.BatchAsymmetricDecryptResponse:
        return await self._operations.asymmetric_decrypt.many(
            service_call(), request, batch.BatchAsymmetricDecryptResponse()
        )

    async def Sign(self, request: pb.SignRequest, context: ServicerContext) -> pb.SignResponse:
        return await self._operations.sign.one(service_call(), request)

    async def BatchSign(
        self, request: batch.BatchSignRequest, context: ServicerContext
    ) -> batch.BatchSignResponse:
        return await self._operations.sign.many(service_call(), request, batch.BatchSignResponse())

    async def Verify(self, request: pb.VerifyRequest, context: ServicerContext) -> pb.VerifyResponse:
        return await self._operations.verify.one(service_call(), request)

    async def BatchVerify(
        self, request: batch.BatchVerifyRequest, context: ServicerContext
    ) -> batch.BatchVerifyResponse:
        return await self._operations.verify.many(service_call(), request, batch.BatchVerifyResponse())

    async def GetPublicKey(
        self, request: pb.GetPublicKeyRequest, context: ServicerContext
    ) -> pb.GetPublicKeyResponse:
        return await self._operations.get_public_key.one(service_call(), request)

    async def BatchGetPublicKey(
        self, request: batch.BatchGetPublicKeyRequest, context: ServicerContext
    ) -> batch.BatchGetPublicKeyResponse:
        return await self._operations.get_public_key.many(
            service_call(), request, batch.BatchGetPublicKeyResponse()
        )

    async def Mac(self, request: pb.MacRequest, context: ServicerContext) -> pb.MacResponse:
        return await self._operations.mac.one(service_call(), request)

    async def BatchMac(
        self, request: batch.BatchMacRequest, context: ServicerContext
    ) -> batch.BatchMacResponse:
        return await self._operations.mac.many(service_call(), request, batch.BatchMacResponse())

    async def MacVerify(self, request: pb.MacVerifyRequest, context: ServicerContext) -> pb.MacVerifyResponse:
        return await self._operations.mac_verify.one(service_call(), request)

    async def BatchMacVerify(
        self, request: batch.BatchMacVerifyRequest, context: ServicerContext
    ) -> batch.BatchMacVerifyResponse:
        return await self._operations.mac_verify.many(service_call(), request, batch.BatchMacVerifyResponse())
