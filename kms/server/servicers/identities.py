"""`kms.v1.IdentityService`."""

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from kms.errors import InvalidField, Unauthenticated
from kms.identity.certificates import Leaf
from kms.identity.grant import Grant
from kms.identity.issued import IssuedCertificate
from kms.identity.join_tokens import DEFAULT_LIFE
from kms.identity.spiffe import parse_identity_name
from kms.model.names import NamespaceName, TenantName
from kms.model.records import IdentityRecord
from kms.server.call import ServicerContext, current_call, service_call
from kms.server.convert import page_token, timestamp, to_comment, to_last_name, to_page_size, to_span
from kms.server.interceptors.authentication import peer_certificate
from kms.server.servicers.certificate_bundle import certificate_message
from kms.services.granting import scope_of
from kms.services.identities import Identities
from kms.services.repository import Loaded
from protos.kms.v1 import identity_pb2
from protos.kms.v1 import identity_service_pb2 as pb
from protos.kms.v1.identity_service_pb2_grpc import (
    IdentityServiceServicer,
    add_IdentityServiceServicer_to_server,
)

# (leaf certificate in PEM, time) -> what it says. Raises `Unauthenticated`.
ReadLeaf = Callable[[bytes, datetime], Leaf]


class IdentityServicer(IdentityServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["IdentityService"].full_name

    def __init__(self, identities: Identities, read_leaf: ReadLeaf) -> None:
        self._identities = identities
        self._read_leaf = read_leaf

    def add_to(self, server: grpc.aio.Server) -> None:
        add_IdentityServiceServicer_to_server(self, server)

    async def CreateJoinToken(
        self, request: pb.CreateJoinTokenRequest, context: ServicerContext
    ) -> pb.JoinToken:
        asked = request.join_token
        grant = _to_grant(request.parent, asked)
        life = to_span(asked.ttl, "join_token.ttl") if asked.HasField("ttl") else DEFAULT_LIFE
        token, record = await self._identities.create_join_token(service_call(), grant, life)
        return pb.JoinToken(
            token=token.reveal(),
            identity=str(grant.identity),
            dns_names=grant.dns_names,
            labels=grant.labels,
            roles=sorted(grant.roles),
            expire_time=timestamp(record.expires_at),
        )

    async def GetIdentity(
        self, request: pb.GetIdentityRequest, context: ServicerContext
    ) -> identity_pb2.Identity:
        return _to_message(
            await self._identities.get(service_call(), parse_identity_name(request.name, "name"))
        )

    async def ListIdentities(
        self, request: pb.ListIdentitiesRequest, context: ServicerContext
    ) -> pb.ListIdentitiesResponse:
        parent = _to_parent(request.parent)
        after = to_last_name(request.page_token, f"{parent}/" if parent is not None else "operators/")
        page = await self._identities.list(service_call(), parent, after, to_page_size(request.page_size))
        identities = [_to_message(loaded) for loaded in page.items]
        return pb.ListIdentitiesResponse(identities=identities, next_page_token=page_token(page.next_after))

    async def RevokeIdentity(
        self, request: pb.RevokeIdentityRequest, context: ServicerContext
    ) -> identity_pb2.Identity:
        name = parse_identity_name(request.name, "name")
        comment = to_comment(request.comment)
        return _to_message(
            await self._identities.revoke(service_call(), name, request.serial_number, comment)
        )

    async def DeleteIdentity(self, request: pb.DeleteIdentityRequest, context: ServicerContext) -> Empty:
        name = parse_identity_name(request.name, "name")
        await self._identities.delete(service_call(), name, request.etag)
        return Empty()

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: ServicerContext
    ) -> pb.RenewCertificateResponse:
        call = service_call()
        if call.caller.via:
            raise Unauthenticated("renew on a connection of your own, not through a proxy")
        leaf = self._read_leaf(peer_certificate(current_call()), call.time)
        bundle = await self._identities.renew(call, leaf, request.csr)
        return pb.RenewCertificateResponse(certificate=certificate_message(bundle))


def _to_grant(parent: str, asked: pb.JoinToken) -> Grant:
    identity = parse_identity_name(asked.identity, "join_token.identity")
    scope = scope_of(identity)
    if parent != ("" if scope is None else str(scope)):
        raise InvalidField("parent", f"is not the parent of {identity}")
    return Grant(identity, tuple(asked.dns_names), dict(asked.labels), frozenset(asked.roles))


def _to_parent(text: str) -> NamespaceName | TenantName | None:
    if not text:
        return None
    return NamespaceName.parse(text, "parent") if "/namespaces/" in text else TenantName.parse(text, "parent")


def _to_message(loaded: Loaded[IdentityRecord]) -> identity_pb2.Identity:
    record, states = loaded.record, identity_pb2.Identity.State
    return identity_pb2.Identity(
        name=loaded.name,
        spiffe_id=record.spiffe_id,
        dns_names=record.dns_names,
        labels=record.labels,
        roles=record.roles,
        state=states.STATE_ACTIVE if record.revoke_time is None else states.STATE_REVOKED,
        create_time=timestamp(record.create_time),
        revoke_time=timestamp(record.revoke_time),
        certificates=[_certificate(IssuedCertificate.parse(text)) for text in reversed(record.certificates)],
        etag=loaded.etag,
        origin=record.origin,
    )


def _certificate(issued: IssuedCertificate) -> identity_pb2.IssuedCertificate:
    return identity_pb2.IssuedCertificate(
        serial_number=issued.serial,
        not_before=timestamp(issued.not_before),
        not_after=timestamp(issued.not_after),
    )
