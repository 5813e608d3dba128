"""`kms.v1.RateLimitService`."""

from typing import ClassVar

import grpc
from google.protobuf.empty_pb2 import Empty

from kms.model.names import RateLimiterName, TenantName, UserIdentificationName, check_id
from kms.server.call import ServicerContext, service_call
from kms.server.convert import page_token, to_last_name, to_page_size, to_request_id
from kms.server.servicers.rate_limit_messages import (
    identification_message,
    limiter_message,
    to_identification,
    to_identification_change,
    to_limiter,
    to_limiter_change,
)
from kms.services.rate_limiters import RateLimiters, UserIdentifications
from protos.kms.v1 import rate_limit_service_pb2 as pb
from protos.kms.v1.rate_limit_pb2 import RateLimiter, UserIdentification
from protos.kms.v1.rate_limit_service_pb2_grpc import (
    RateLimitServiceServicer,
    add_RateLimitServiceServicer_to_server,
)


class RateLimitServicer(RateLimitServiceServicer):
    SERVICE: ClassVar[str] = pb.DESCRIPTOR.services_by_name["RateLimitService"].full_name

    def __init__(self, limiters: RateLimiters, identifications: UserIdentifications) -> None:
        self._limiters = limiters
        self._identifications = identifications

    def add_to(self, server: grpc.aio.Server) -> None:
        add_RateLimitServiceServicer_to_server(self, server)

    async def CreateRateLimiter(
        self, request: pb.CreateRateLimiterRequest, context: ServicerContext
    ) -> RateLimiter:
        parent = TenantName.parse(request.parent, "parent")
        name = RateLimiterName(parent.tenant, check_id(request.rate_limiter_id, "rate_limiter_id"))
        settings, request_id = to_limiter(request.rate_limiter), to_request_id(request.request_id)
        return limiter_message(await self._limiters.create(service_call(), name, settings, request_id))

    async def GetRateLimiter(
        self, request: pb.GetRateLimiterRequest, context: ServicerContext
    ) -> RateLimiter:
        return limiter_message(await self._limiters.get(service_call(), RateLimiterName.parse(request.name)))

    async def ListRateLimiters(
        self, request: pb.ListRateLimitersRequest, context: ServicerContext
    ) -> pb.ListRateLimitersResponse:
        parent = TenantName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/rateLimiters/")
        page = await self._limiters.list(service_call(), parent, after, to_page_size(request.page_size))
        limiters = [limiter_message(limiter) for limiter in page.items]
        return pb.ListRateLimitersResponse(
            rate_limiters=limiters, next_page_token=page_token(page.next_after)
        )

    async def UpdateRateLimiter(
        self, request: pb.UpdateRateLimiterRequest, context: ServicerContext
    ) -> RateLimiter:
        limiter = request.rate_limiter
        name = RateLimiterName.parse(limiter.name, "rate_limiter.name")
        change = to_limiter_change(limiter, request.update_mask)
        return limiter_message(await self._limiters.update(service_call(), name, change, limiter.etag))

    async def DeleteRateLimiter(
        self, request: pb.DeleteRateLimiterRequest, context: ServicerContext
    ) -> Empty:
        await self._limiters.delete(service_call(), RateLimiterName.parse(request.name), request.etag)
        return Empty()

    async def CreateUserIdentification(
        self, request: pb.CreateUserIdentificationRequest, context: ServicerContext
    ) -> UserIdentification:
        parent = TenantName.parse(request.parent, "parent")
        identifier = check_id(request.user_identification_id, "user_identification_id")
        name = UserIdentificationName(parent.tenant, identifier)
        settings = to_identification(request.user_identification)
        call, request_id = service_call(), to_request_id(request.request_id)
        return identification_message(await self._identifications.create(call, name, settings, request_id))

    async def GetUserIdentification(
        self, request: pb.GetUserIdentificationRequest, context: ServicerContext
    ) -> UserIdentification:
        name = UserIdentificationName.parse(request.name)
        return identification_message(await self._identifications.get(service_call(), name))

    async def ListUserIdentifications(
        self, request: pb.ListUserIdentificationsRequest, context: ServicerContext
    ) -> pb.ListUserIdentificationsResponse:
        parent = TenantName.parse(request.parent, "parent")
        after = to_last_name(request.page_token, f"{parent}/userIdentifications/")
        call, limit = service_call(), to_page_size(request.page_size)
        page = await self._identifications.list(call, parent, after, limit)
        return pb.ListUserIdentificationsResponse(
            user_identifications=[identification_message(item) for item in page.items],
            next_page_token=page_token(page.next_after),
        )

    async def UpdateUserIdentification(
        self, request: pb.UpdateUserIdentificationRequest, context: ServicerContext
    ) -> UserIdentification:
        identification = request.user_identification
        name = UserIdentificationName.parse(identification.name, "user_identification.name")
        change = to_identification_change(identification, request.update_mask)
        call, etag = service_call(), identification.etag
        return identification_message(await self._identifications.update(call, name, change, etag))

    async def DeleteUserIdentification(
        self, request: pb.DeleteUserIdentificationRequest, context: ServicerContext
    ) -> Empty:
        name = UserIdentificationName.parse(request.name)
        await self._identifications.delete(service_call(), name, request.etag)
        return Empty()
