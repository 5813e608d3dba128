"""`grpc.reflection.v1alpha`: the API describes itself, as its .proto files do."""

from collections.abc import Iterable
from typing import ClassVar

import grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server


class Reflection:
    """Lists the given services, and itself."""

    SERVICE: ClassVar[str] = reflection.SERVICE_NAME

    def __init__(self, services: Iterable[str]) -> None:
        self._services = (*services, self.SERVICE)

    def add_to(self, server: grpc.aio.Server) -> None:
        # The stubs know the synchronous half only.
        servicer = reflection.aio.ReflectionServicer(self._services)  # type: ignore[attr-defined]
        add_ServerReflectionServicer_to_server(servicer, server)
