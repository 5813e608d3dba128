"""`kms.v1.TrustedAuthorityService`."""

from typing import ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from kms.model.names import TenantName, TrustedAuthorityName, check_id
from kms.model.records import TrustedAuthorityRecord
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, timestamp, to_comment, to_last_name, to_page_size, to_request_id
from kms.server.servicers.admission_messages import to_admission
from kms.services.authority_settings import AuthoritySettings
from kms.services.repository import Loaded
from kms.services.stored_admission import admission_fields, admission_of
from kms.services.trusted_authorities import Revoked, TrustedAuthorities
from protos.kms.v1 import trusted_authority_service_pb2 as pb
from protos.kms.v1.trusted_authority_service_pb2_grpc import (
    TrustedAuthorityServiceServicer,
    add_TrustedAuthorityServiceServicer_to_server,
)


class TrustedAuthorityServicer(TrustedAuthorityServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["TrustedAuthorityService"].full_name

    def __init__(self, authorities: TrustedAuthorities) -> None:
        self._authorities = authorities

    def add_to(self, server: grpc.aio.Server) -> None:
        add_TrustedAuthorityServiceServicer_to_server(self, server)

    async def CreateTrustedAuthority(
        self, request: pb.CreateTrustedAuthorityRequest, context: ServicerContext
    ) -> pb.TrustedAuthority:
        parent = TenantName.parse(request.parent, "parent")
        name = TrustedAuthorityName(
            parent.tenant, check_id(request.trusted_authority_id, "trusted_authority_id")
        )
        settings, request_id = _to_settings(request.trusted_authority), to_request_id(request.request_id)
        return _to_message(await self._authorities.create(service_call(), name, settings, request_id))

    async def GetTrustedAuthority(
        self, request: pb.GetTrustedAuthorityRequest, context: ServicerContext
    ) -> pb.TrustedAuthority:
        return _to_message(
            await self._authorities.get(service_call(), TrustedAuthorityName.parse(request.name))
        )

    async def ListTrustedAuthorities(
        self, request: pb.ListTrustedAuthoritiesRequest, context: ServicerContext
    ) -> pb.ListTrustedAuthoritiesResponse:
        parent = TenantName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/trustedAuthorities/")
        page = await self._authorities.list(service_call(), parent, after, to_page_size(request.page_size))
        authorities = [_to_message(loaded) for loaded in page.items]
        return pb.ListTrustedAuthoritiesResponse(
            trusted_authorities=authorities, next_page_token=page_token(page.next_after)
        )

    async def UpdateTrustedAuthority(
        self, request: pb.UpdateTrustedAuthorityRequest, context: ServicerContext
    ) -> pb.TrustedAuthority:
        asked = request.trusted_authority
        name, settings = TrustedAuthorityName.parse(asked.name, "trusted_authority.name"), _to_settings(asked)
        return _to_message(await self._authorities.update(service_call(), name, settings, asked.etag))

    async def DeleteTrustedAuthority(
        self, request: pb.DeleteTrustedAuthorityRequest, context: ServicerContext
    ) -> Empty:
        await self._authorities.delete(service_call(), TrustedAuthorityName.parse(request.name), request.etag)
        return Empty()

    async def RevokeCertificate(
        self, request: pb.RevokeCertificateRequest, context: ServicerContext
    ) -> pb.TrustedAuthority:
        name, comment = TrustedAuthorityName.parse(request.name), to_comment(request.comment)
        which = Revoked(request.serial_number, request.certificate)
        return _to_message(await self._authorities.revoke(service_call(), name, which, comment))


def _to_settings(asked: pb.TrustedAuthority) -> AuthoritySettings:
    """Raises `InvalidField`, `LimitExceeded`."""
    admission = to_admission(asked)
    return AuthoritySettings(asked.certificates_pem, tuple(asked.key_types), admission)


def _to_message(loaded: Loaded[TrustedAuthorityRecord]) -> pb.TrustedAuthority:
    record = loaded.record
    return pb.TrustedAuthority(
        name=loaded.name,
        certificates_pem=record.certificates_pem,
        key_types=record.key_types,
        **admission_fields(admission_of(record)),
        create_time=timestamp(record.create_time),
        update_time=timestamp(record.update_time),
        etag=loaded.etag,
    )
