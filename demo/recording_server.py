"""`kms serve`, with a copy of every message kept in clear: what the demo searches afterwards.

The product has no switch for this. The recorder is put around its handlers from outside, as the outermost
interceptor, by replacing grpc's factory of servers in this process.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

# First, because it sets TLS 1.3 for grpc.
import kms  # noqa: F401

# isort: split
import grpc

RECORD = "DEMO_RECORD"


class Recorder(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Writes the bytes of every request and every answer to a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def _keep(self, data: bytes) -> bytes:
        self._file.write(data + b"\n")
        return data

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        parse, form = handler.request_deserializer or bytes, handler.response_serializer or bytes
        return handler._replace(
            request_deserializer=lambda data: parse(self._keep(data)),
            response_serializer=lambda answer: self._keep(form(answer)),
        )


def main() -> None:
    recorder = Recorder(Path(os.environ[RECORD]))
    make_server = grpc.aio.server

    def make_recorded(*arguments: Any, interceptors: Any = (), **more: Any) -> grpc.aio.Server:
        return make_server(*arguments, interceptors=[recorder, *interceptors], **more)

    grpc.aio.server = make_recorded
    from cli.kms import main as kms_main

    kms_main()


if __name__ == "__main__":
    sys.exit(main())
