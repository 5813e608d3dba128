"""The one path that every call takes, from bytes to its servicer."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

from kms.errors import InvalidField, LimitExceeded, RateLimited, TooManyUnits, Unauthenticated
from kms.server.call import Call, Metadata, ServicerContext, current_call, enter
from kms.server.interceptors.authentication import peer_address
from kms.server.interceptors.error_mapping import abort, refusal
from kms.server.interceptors.request_id import request_id
from kms.server.interceptors.trailers import trailers
from kms.server.late_refusals import LateRefusals
from kms.server.open_calls import CallsAtOnce
from kms.server.wire import count_fields, has_more_fields
from kms.services.rate_limits import Requester

# A context tells its code as a number, or as the code.
_CODES = {key: code.name for code in grpc.StatusCode for key in (code, code.value[0])}

MAX_REQUEST = 4 * 2**20
# Of fields at the outermost level, where batches have their items: twice as many as there may be.
MAX_FIELDS = 2048
# Up to so many bytes a message is parsed in less time than its fields are counted in.
PARSED_FIRST = 32 * 2**10

# The stubs know the handlers of the synchronous server only.
Handler: TypeAlias = Any

Serve: TypeAlias = Callable[[Any, ServicerContext], Awaitable[Any]]

# Looks at a call before its servicer and returns it with what it learned, or raises. It does not wait.
Layer = Callable[[Call], Call]

# Counts a call that left no audit event of its own: SPIFFE id ("" for a stranger), IP address, error reason.
Count = Callable[[str, str, str], None]

# Hears of a call's begin: its method and metadata. What it returns hears of the end: the name of the code.
Begin = Callable[[str, Metadata], Callable[[str], None]]
_COUNTED = (Unauthenticated, RateLimited, TooManyUnits)


class CallPath:
    """Puts error mapping, the request id, the size limit, parsing and then the layers before a handler.

    Parsing and printing happen inside the error mapping: grpc would tell the client what they raise. Each
    message of a client's stream is a call of its own to the layers, at its own time.

    Refusals that leave no audit event are counted, and told late.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        now: Callable[[], datetime],
        new_request_id: Callable[[], str],
        count_refused: Count,
        open_calls: CallsAtOnce,
        late: LateRefusals,
        observers: Sequence[Begin] = (),
    ) -> None:
        self._layers = tuple(layers)
        self._now = now
        self._new_request_id = new_request_id
        self._count_refused = count_refused
        self._open = open_calls
        self._late = late
        self._observers = tuple(observers)

    def before(self, method: str, handler: Handler) -> Handler:
        """The handler of a method, given by its full path, with the path before it."""
        if handler.request_streaming and handler.response_streaming:
            return self._both_streaming(method, handler)
        if handler.request_streaming:
            raise TypeError(f"{method}: client streaming without a stream of answers is not used here")
        return (
            self._streaming(method, handler) if handler.response_streaming else self._unary(method, handler)
        )

    def _unary(self, method: str, handler: Handler) -> Handler:
        act, parse, to_bytes = handler.unary_unary, handler.request_deserializer, handler.response_serializer

        async def serve(raw: bytes, context: ServicerContext) -> bytes:
            identifier, metadata = self._identify(context)
            try:
                request = self._admitted(method, identifier, metadata, context, raw, parse)
                with self._open.one_of(_requester(), method):
                    answer: bytes = to_bytes(await act(request, context))
                context.set_trailing_metadata(trailers(identifier))
                return answer
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                refused = self._refused(error, method, identifier, len(raw))
            return await self._end(refused, context, identifier)

        return grpc.unary_unary_rpc_method_handler(self._observed(method, serve))

    def _streaming(self, method: str, handler: Handler) -> Handler:
        async def serve(raw: bytes, context: ServicerContext) -> None:
            async def answer(identifier: str, metadata: Metadata) -> None:
                parse = handler.request_deserializer
                request = self._admitted(method, identifier, metadata, context, raw, parse)
                with self._open.one_of(_requester(), method):
                    await _send(handler.unary_stream(request, context), context)

            await self._stream(method, context, answer, len(raw))

        serve_observed = self._observed(method, serve)
        return grpc.unary_stream_rpc_method_handler(serve_observed, None, handler.response_serializer)

    def _both_streaming(self, method: str, handler: Handler) -> Handler:
        async def serve(incoming: AsyncIterator[bytes], context: ServicerContext) -> None:
            async def answer(identifier: str, metadata: Metadata) -> None:
                call = self._call(method, identifier, metadata, context)
                self._admit(call)
                messages = self._messages(call, incoming, handler.request_deserializer)
                with self._open.one_of(_requester(), method):
                    await _send(handler.stream_stream(messages, context), context)

            await self._stream(method, context, answer)

        serve_observed = self._observed(method, serve)
        return grpc.stream_stream_rpc_method_handler(serve_observed, None, handler.response_serializer)

    def _observed(self, method: str, serve: Serve) -> Serve:
        """Serve, and tell the observers if there are any."""
        if not self._observers:
            return serve

        async def observed(incoming: Any, context: ServicerContext) -> Any:
            metadata = tuple(context.invocation_metadata() or ())
            ends = [begin(method, metadata) for begin in self._observers]
            code = grpc.StatusCode.CANCELLED.name
            try:
                answer = await serve(incoming, context)
                code = grpc.StatusCode.OK.name
                return answer
            except grpc.aio.AbortError:
                code = _CODES.get(context.code(), grpc.StatusCode.UNKNOWN.name)
                raise
            finally:
                for end in ends:
                    end(code)

        return observed

    async def _stream(
        self,
        method: str,
        context: ServicerContext,
        answer: Callable[[str, Metadata], Awaitable[None]],
        size: int = 0,
    ) -> None:
        """`answer` is given the request id and the metadata; `size` is the request's, in bytes."""
        identifier, metadata = self._identify(context)
        try:
            await answer(identifier, metadata)
            context.set_trailing_metadata(trailers(identifier))
            return
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            refused = self._refused(error, method, identifier, size)
        await self._end(refused, context, identifier)

    async def _messages(
        self, call: Call, incoming: AsyncIterator[bytes], parse: Callable[[bytes], Message]
    ) -> AsyncGenerator[Message]:
        async for raw in incoming:
            request = _parse(raw, parse)
            self._admit(call._replace(time=self._now(), request=request))
            yield request

    def _identify(self, context: ServicerContext) -> tuple[str, Metadata]:
        """The request id, and what the client sent beside the request."""
        metadata = tuple(context.invocation_metadata() or ())
        return request_id(metadata, self._new_request_id), metadata

    def _call(
        self,
        method: str,
        identifier: str,
        metadata: Metadata,
        context: ServicerContext,
        request: Message | None = None,
    ) -> Call:
        address, transport = peer_address(context.peer()), context.auth_context()
        return Call(method, identifier, self._now(), address, [], transport, metadata, request)

    def _admitted(
        self,
        method: str,
        identifier: str,
        metadata: Metadata,
        context: ServicerContext,
        raw: bytes,
        parse: Callable[[bytes], Message],
    ) -> Message:
        """The request. Of one that is refused nothing is kept but `raw`, which grpc holds."""
        request = _parse(raw, parse)
        self._admit(self._call(method, identifier, metadata, context, request))
        return request

    def _admit(self, call: Call) -> None:
        enter(call)
        for layer in self._layers:
            learned = layer(call)
            if learned is not call:
                enter(learned)
                call = learned

    def _refused(self, error: Exception, method: str, identifier: str, size: int) -> "_Refused":
        user, held = "", 0.0
        if isinstance(error, _COUNTED):
            call, user = current_call(), _user()
            enter(call._replace(request=None))
            caller = call.caller.spiffe_id if call.caller is not None else ""
            self._count_refused(caller, call.address, error.reason)
            held = self._late.delay(user, size)
        return _Refused(refusal(error, method, identifier, held), user, held, size)

    async def _end(self, refused: "_Refused", context: ServicerContext, identifier: str) -> NoReturn:
        if refused.held:
            await self._late.hold(refused.user, refused.held, refused.size)
        await abort(context, refused.status, identifier)


@dataclass(frozen=True, slots=True)
class _Refused:
    """How a call ends: with that status, after so many seconds. `size` is its request's, in bytes."""

    status: Status
    user: str
    held: float
    size: int


def _user() -> str:
    """Whoever makes the current call, as limits tell users apart."""
    return _requester().user


def _requester() -> Requester:
    """Whoever makes the current call."""
    call = current_call()
    return Requester(call.caller, call.address)


def _parse(raw: bytes, parse: Callable[[bytes], Message]) -> Message:
    if len(raw) > MAX_REQUEST:
        raise LimitExceeded("request", f"has {len(raw)} bytes, at most {MAX_REQUEST} are allowed")
    counted_first = len(raw) > PARSED_FIRST
    if not counted_first or not has_more_fields(raw, MAX_FIELDS):
        request = _parsed(raw, parse)
        if counted_first or len(raw) <= MAX_FIELDS or count_fields(request) <= MAX_FIELDS:
            return request
    raise LimitExceeded("request", f"has more than {MAX_FIELDS} fields or items")


def _parsed(raw: bytes, parse: Callable[[bytes], Message]) -> Message:
    try:
        return parse(raw)
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
