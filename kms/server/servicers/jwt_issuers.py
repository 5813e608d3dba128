"""`kms.v1.JwtIssuerService`."""

from typing import ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from kms.model.names import JwtIssuerName, TenantName, check_id
from kms.model.records import JwtIssuerRecord
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, timestamp, to_last_name, to_page_size, to_request_id
from kms.server.servicers.admission_messages import to_admission
from kms.services.jwt_issuers import IssuerSettings, JwtIssuers
from kms.services.repository import Loaded
from kms.services.stored_admission import admission_fields, admission_of
from protos.kms.v1 import jwt_issuer_service_pb2 as pb
from protos.kms.v1.jwt_issuer_service_pb2_grpc import (
    JwtIssuerServiceServicer,
    add_JwtIssuerServiceServicer_to_server,
)


class JwtIssuerServicer(JwtIssuerServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["JwtIssuerService"].full_name

    def __init__(self, issuers: JwtIssuers) -> None:
        self._issuers = issuers

    def add_to(self, server: grpc.aio.Server) -> None:
        add_JwtIssuerServiceServicer_to_server(self, server)

    async def CreateJwtIssuer(
        self, request: pb.CreateJwtIssuerRequest, context: ServicerContext
    ) -> pb.JwtIssuer:
        parent = TenantName.parse(request.parent, "parent")
        name = JwtIssuerName(parent.tenant, check_id(request.jwt_issuer_id, "jwt_issuer_id"))
        settings, request_id = _to_settings(request.jwt_issuer), to_request_id(request.request_id)
        return _to_message(await self._issuers.create(service_call(), name, settings, request_id))

    async def GetJwtIssuer(self, request: pb.GetJwtIssuerRequest, context: ServicerContext) -> pb.JwtIssuer:
        return _to_message(await self._issuers.get(service_call(), JwtIssuerName.parse(request.name)))

    async def ListJwtIssuers(
        self, request: pb.ListJwtIssuersRequest, context: ServicerContext
    ) -> pb.ListJwtIssuersResponse:
        parent = TenantName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/jwtIssuers/")
        page = await self._issuers.list(service_call(), parent, after, to_page_size(request.page_size))
        issuers = [_to_message(loaded) for loaded in page.items]
        return pb.ListJwtIssuersResponse(jwt_issuers=issuers, next_page_token=page_token(page.next_after))

    async def UpdateJwtIssuer(
        self, request: pb.UpdateJwtIssuerRequest, context: ServicerContext
    ) -> pb.JwtIssuer:
        asked = request.jwt_issuer
        name, settings = JwtIssuerName.parse(asked.name, "jwt_issuer.name"), _to_settings(asked)
        return _to_message(await self._issuers.update(service_call(), name, settings, asked.etag))

    async def DeleteJwtIssuer(self, request: pb.DeleteJwtIssuerRequest, context: ServicerContext) -> Empty:
        await self._issuers.delete(service_call(), JwtIssuerName.parse(request.name), request.etag)
        return Empty()


def _to_settings(asked: pb.JwtIssuer) -> IssuerSettings:
    """Raises `InvalidField`, `LimitExceeded`."""
    admission = to_admission(asked)
    return IssuerSettings(asked.issuer, asked.audience, asked.jwks, tuple(asked.algorithms), admission)


def _to_message(loaded: Loaded[JwtIssuerRecord]) -> pb.JwtIssuer:
    record = loaded.record
    return pb.JwtIssuer(
        name=loaded.name,
        issuer=record.issuer,
        audience=record.audience,
        jwks=record.jwks,
        algorithms=record.algorithms,
        **admission_fields(admission_of(record)),
        create_time=timestamp(record.create_time),
        update_time=timestamp(record.update_time),
        etag=loaded.etag,
    )
