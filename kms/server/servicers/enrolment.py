"""`kms.v1.EnrolmentService`, on the listener that asks for no certificate."""

from typing import ClassVar

import grpc

from blindfold.secret import SecretBytes
from kms.model.join_token import JoinToken
from kms.model.names import JwtIssuerName
from kms.server.call import ServicerContext, current_call
from kms.server.servicers.certificate_bundle import certificate_message
from kms.services.identities import Identities
from kms.services.jwt_enrolment import JwtEnrolment
from protos.kms.v1 import enrolment_service_pb2 as pb
from protos.kms.v1.enrolment_service_pb2_grpc import (
    EnrolmentServiceServicer,
    add_EnrolmentServiceServicer_to_server,
)


class EnrolmentServicer(EnrolmentServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["EnrolmentService"].full_name

    def __init__(self, identities: Identities, with_jwt: JwtEnrolment) -> None:
        self._identities = identities
        self._with_jwt = with_jwt

    def add_to(self, server: grpc.aio.Server) -> None:
        add_EnrolmentServiceServicer_to_server(self, server)

    async def Enrol(self, request: pb.EnrolRequest, context: ServicerContext) -> pb.EnrolResponse:
        call = current_call()
        token = JoinToken.parse(request.token)
        bundle = await self._identities.enrol(
            token, request.csr, address=call.address, request_id=call.request_id, now=call.time
        )
        return pb.EnrolResponse(certificate=certificate_message(bundle))

    async def EnrolWithJwt(
        self, request: pb.EnrolWithJwtRequest, context: ServicerContext
    ) -> pb.EnrolResponse:
        call = current_call()
        bundle = await self._with_jwt.enrol(
            JwtIssuerName.parse(request.issuer, "issuer"),
            SecretBytes(request.token.encode()),
            request.csr,
            address=call.address,
            request_id=call.request_id,
            now=call.time,
        )
        return pb.EnrolResponse(certificate=certificate_message(bundle))
