"""`kms.v1.IdentityAuthorityService`."""

from typing import ClassVar

import grpc

from kms.identity.rotation import requested_key_sha256
from kms.identity.trust import fingerprint, key_digest, load_authorities
from kms.model.identity_authorities import AuthorityEntry, RootEntry
from kms.model.names import IdentityAuthorityName, IdentityRootName
from kms.server.call import ServicerContext, service_call
from kms.server.convert import enum_number, timestamp
from kms.services.identity_authorities import IdentityAuthorities
from protos.kms.v1 import identity_authority_service_pb2 as pb
from protos.kms.v1.identity_authority_service_pb2_grpc import (
    IdentityAuthorityServiceServicer,
    add_IdentityAuthorityServiceServicer_to_server,
)


class IdentityAuthorityServicer(IdentityAuthorityServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["IdentityAuthorityService"].full_name

    def __init__(self, authorities: IdentityAuthorities) -> None:
        self._authorities = authorities

    def add_to(self, server: grpc.aio.Server) -> None:
        add_IdentityAuthorityServiceServicer_to_server(self, server)

    async def GetIdentityTrust(
        self, request: pb.GetIdentityTrustRequest, context: ServicerContext
    ) -> pb.IdentityTrust:
        overview = await self._authorities.get(service_call())
        return pb.IdentityTrust(
            roots=map(_root, overview.record.roots),
            authorities=[
                _authority(item, overview.dependants.get(item.id, 0)) for item in overview.record.authorities
            ],
        )

    async def PrepareIdentityAuthority(
        self, request: pb.PrepareIdentityAuthorityRequest, context: ServicerContext
    ) -> pb.IdentityAuthority:
        return _authority(await self._authorities.prepare(service_call()))

    async def ActivateIdentityAuthority(
        self, request: pb.ActivateIdentityAuthorityRequest, context: ServicerContext
    ) -> pb.IdentityAuthority:
        name, pem = IdentityAuthorityName.parse(request.name), request.certificate_pem.encode()
        return _authority(await self._authorities.activate(service_call(), name, pem))

    async def RetireIdentityAuthority(
        self, request: pb.RetireIdentityAuthorityRequest, context: ServicerContext
    ) -> pb.IdentityAuthority:
        name = IdentityAuthorityName.parse(request.name)
        return _authority(await self._authorities.retire(service_call(), name, force=request.force))

    async def PublishIdentityRoot(
        self, request: pb.PublishIdentityRootRequest, context: ServicerContext
    ) -> pb.IdentityRoot:
        return _root(await self._authorities.publish_root(service_call(), request.certificates_pem.encode()))

    async def RetireIdentityRoot(
        self, request: pb.RetireIdentityRootRequest, context: ServicerContext
    ) -> pb.IdentityRoot:
        name = IdentityRootName.parse(request.name)
        return _root(await self._authorities.retire_root(service_call(), name, force=request.force))


def _root(entry: RootEntry) -> pb.IdentityRoot:
    [certificate] = load_authorities(entry.certificate_pem)
    states = pb.IdentityRoot.State
    return pb.IdentityRoot(
        name=str(IdentityRootName(entry.id)),
        state=states.STATE_TRUSTED if entry.is_trusted else states.STATE_RETIRED,
        identity_root=f"sha256:{fingerprint(certificate).hex()}",
        certificate_pem=entry.certificate_pem,
        publish_time=timestamp(entry.publish_time),
        retire_time=timestamp(entry.retire_time),
        expire_time=timestamp(certificate.not_valid_after_utc),
    )


def _authority(entry: AuthorityEntry, identities: int = 0) -> pb.IdentityAuthority:
    certificate = next(iter(load_authorities(entry.certificate_pem)), None)
    key_sha256 = (
        requested_key_sha256(entry.csr_pem.encode()) if certificate is None else key_digest(certificate)
    )
    states = pb.IdentityAuthority.State
    return pb.IdentityAuthority(
        name=str(IdentityAuthorityName(entry.id)),
        state=states.ValueType(enum_number(states.DESCRIPTOR, entry.state)),
        key_sha256=f"sha256:{key_sha256.hex()}",
        csr_pem=entry.csr_pem,
        certificate_pem=entry.certificate_pem,
        root=str(IdentityRootName(entry.root)) if entry.root else "",
        prepare_time=timestamp(entry.prepare_time),
        activate_time=timestamp(entry.activate_time),
        retire_time=timestamp(entry.retire_time),
        expire_time=None if certificate is None else timestamp(certificate.not_valid_after_utc),
        identity_count=identities,
    )
