"""`grpc.health.v1`: whether the services are to be used now. It names services, which are public, alone."""

from collections.abc import Iterable
from typing import ClassVar

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import (
    DESCRIPTOR,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from kms.server.call import ServicerContext


class Health:
    """Answers NOT_SERVING for every service until told otherwise, and for good once stopping."""

    SERVICE: ClassVar[str] = DESCRIPTOR.services_by_name["Health"].full_name

    def __init__(self, services: Iterable[str]) -> None:
        self._services = ("", *services)
        self._servicer = _Servicer(self._services)

    def add_to(self, server: grpc.aio.Server) -> None:
        add_HealthServicer_to_server(self._servicer, server)

    async def set_serving(self, serving: bool) -> None:
        """Tell clients, also those that watch. Without effect after `stop`."""
        status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self._servicer.set(service, status)

    async def stop(self) -> None:
        """NOT_SERVING for good."""
        await self._servicer.enter_graceful_shutdown()


# The stubs know the synchronous half only.
class _Servicer(health.aio.HealthServicer):  # type: ignore[name-defined,misc]
    """With the method that the library's own lacks."""

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__()
        self._server_status = dict.fromkeys(services, HealthCheckResponse.NOT_SERVING)

    async def List(self, request: HealthListRequest, context: ServicerContext) -> HealthListResponse:
        listed = {name: HealthCheckResponse(status=status) for name, status in self._server_status.items()}
        return HealthListResponse(statuses=listed)
