"""Services of a server that is locked: every method is there, and refused."""

from typing import NoReturn

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from kms.errors import Locked
from kms.server.call import ServicerContext
from kms.server.interceptors.call_path import Handler


class LockedServicer:
    """In the place of a service, given by its full name."""

    def __init__(self, service: str) -> None:
        self.SERVICE = service

    def add_to(self, server: grpc.aio.Server) -> None:
        methods = descriptor_pool.Default().FindServiceByName(self.SERVICE).methods
        handlers = {method.name: _handler(method) for method in methods}
        generic = grpc.method_handlers_generic_handler(self.SERVICE, handlers)
        server.add_generic_rpc_handlers((generic,))


def _handler(method: MethodDescriptor) -> Handler:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.client_streaming, method.server_streaming]
    # What was sent is not looked at, and nothing is ever sent.
    return make(_refuse, bytes, bytes)


async def _refuse(request: object, context: ServicerContext) -> NoReturn:
    raise Locked
