"""The one path that every call takes, from bytes to its servicer."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from kms.errors import InvalidField, KmsError, LimitExceeded, RateLimited, Unauthenticated
from kms.server.call import Call, ServicerContext, current_call, enter
from kms.server.interceptors.authentication import peer_address
from kms.server.interceptors.error_mapping import answer
from kms.server.interceptors.request_id import REQUEST_ID_KEY, request_id

MAX_REQUEST = 4 * 2**20

# The stubs know the handlers of the synchronous server only.
Handler: TypeAlias = Any

# Looks at a call before its servicer, and returns it with what it learned; refuses it by raising.
Layer = Callable[[Call, ServicerContext], Awaitable[Call]]

# Counts a call that left no audit event of its own: SPIFFE id ("" for a stranger), IP address, error reason.
Count = Callable[[str, str, str], None]
_COUNTED = (Unauthenticated, RateLimited)


class CallPath(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Puts error mapping, the request id, the size limit, parsing and then the layers before each servicer.

    Parsing and printing happen inside the error mapping: grpc would tell the client what they raise.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        now: Callable[[], datetime],
        new_request_id: Callable[[], str],
        count_refused: Count,
    ) -> None:
        self._layers = tuple(layers)
        self._now = now
        self._new_request_id = new_request_id
        self._count_refused = count_refused

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler with the path before it; None, as grpc wants it, for a method that does not exist."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        if handler.response_streaming:
            return self._streaming(method, handler)
        if handler.request_streaming:
            raise TypeError(f"{method}: client streaming without a stream of answers is not used here")
        return self._unary(method, handler)

    def _unary(self, method: str, handler: Handler) -> Handler:
        async def serve(raw: bytes, context: ServicerContext) -> bytes:
            call = self._begin(method, context)

            async def act() -> bytes:
                request = _parse(raw, handler)
                await self._admit(replace(call, request=request), context)
                return bytes(handler.response_serializer(await handler.unary_unary(request, context)))

            return await answer(act, context, method, call.request_id, self._refused)

        return grpc.unary_unary_rpc_method_handler(serve)

    def _streaming(self, method: str, handler: Handler) -> Handler:
        async def serve(incoming: Any, context: ServicerContext) -> None:
            call = self._begin(method, context)

            async def act() -> None:
                if handler.request_streaming:
                    await self._admit(call, context)
                    await _send(handler.stream_stream(incoming, context), context)
                else:
                    request = _parse(incoming, handler)
                    await self._admit(replace(call, request=request), context)
                    await _send(handler.unary_stream(request, context), context)

            await answer(act, context, method, call.request_id, self._refused)

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                serve, handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_stream_rpc_method_handler(serve, None, handler.response_serializer)

    def _begin(self, method: str, context: ServicerContext) -> Call:
        identifier = request_id(context.invocation_metadata() or (), self._new_request_id)
        context.set_trailing_metadata(((REQUEST_ID_KEY, identifier),))
        call = Call(method, identifier, self._now(), peer_address(context.peer()))
        enter(call)
        return call

    async def _admit(self, call: Call, context: ServicerContext) -> None:
        enter(call)
        for layer in self._layers:
            call = await layer(call, context)
            enter(call)

    def _refused(self, error: KmsError) -> None:
        if isinstance(error, _COUNTED):
            call = current_call()
            caller = call.caller.spiffe_id if call.caller is not None else ""
            self._count_refused(caller, call.address, error.reason)


def _parse(raw: bytes, handler: Handler) -> Message:
    if len(raw) > MAX_REQUEST:
        raise LimitExceeded("request", f"has {len(raw)} bytes, at most {MAX_REQUEST} are allowed")
    try:
        request: Message = handler.request_deserializer(raw)
        return request
    except DecodeError:
        pass
    raise InvalidField("request", "is not a message of this method")


async def _send(answers: AsyncGenerator[Any] | Awaitable[None], context: ServicerContext) -> None:
    """Send what an async generator yields; or wait for a coroutine, which sends by itself."""
    if isinstance(answers, AsyncGenerator):
        async with aclosing(answers):
            async for item in answers:
                await context.write(item)
    else:
        await answers
