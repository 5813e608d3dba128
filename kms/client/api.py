"""Any method of the API by its name, with requests and answers as JSON objects.

    Api(channel).call("SecretPolicyService", "GetSecretPolicy", {"name": "tenants/acme/..."}) -> {...}

Fields have the names of the .proto files; bytes are standard base64, times RFC 3339, durations `"600s"`,
64-bit integers strings, and a field mask one string of lowerCamelCase paths such as
`"content.rules,content.ruleCombining"` (ProtoJSON). What is unset is left out of answers.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kms.client.calls import Call
from kms.client.errors import from_rpc_error, receipt_in
from kms.errors import InvalidField
from kms.model.receipt import Receipt

TIMEOUT = 30.0
# How the names of methods begin that change nothing.
READING = ("Fetch", "Get", "List", "Validate", "Explain")

JsonObject = Mapping[str, Any]
M = TypeVar("M", bound=Message)

_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "AuditService": "audit_service",
        "BackupService": "backup_service",
        "BlindfoldService": "blindfold_service",
        "CryptoService": "crypto_service",
        "EnrolmentService": "enrolment_service",
        "IdentityAuthorityService": "identity_authority_service",
        "IdentityService": "identity_service",
        "ImportService": "import_service",
        "JwtIssuerService": "jwt_issuer_service",
        "KeyService": "key_service",
        "KmsPolicyService": "kms_policy_service",
        "NamespaceService": "namespace_service",
        "PrefixSetService": "prefix_set_service",
        "RateLimitService": "rate_limit_service",
        "SecretManagementAccessService": "secret_management_access_service",
        "RootOfTrustService": "root_of_trust_service",
        "SecretPolicyService": "secret_policy_service",
        "StatusService": "status_service",
        "TenantService": "tenant_service",
        "TrustedAuthorityService": "trusted_authority_service",
        "UnlockService": "unlock_service",
    }
)


Keep = Callable[[Receipt], None]


def keep_nothing(receipt: Receipt) -> None:
    """For who keeps no receipts."""


# Gives the channel for one call.
Lease = Callable[[], AbstractContextManager[grpc.Channel]]


class Api:
    """Calls on a channel, which the caller opens and closes. `timeout` is of each call, in seconds.

    Nothing is resent: `kms.client.client` and `kms.client.opening` do that where it is safe. All methods
    raise `CallFailed` for a call that fails, and `InvalidField` for a request that is none of the method's.
    `keep` is given the receipt of each call that left one, refused ones too.
    """

    def __init__(
        self, channel: grpc.Channel | Lease, timeout: float = TIMEOUT, keep: Keep = keep_nothing
    ) -> None:
        self._lease = channel if callable(channel) else lambda: nullcontext(channel)
        self._timeout = timeout
        self._keep = keep

    def call(self, service: str, method: str, request: JsonObject) -> dict[str, Any]:
        """The answer to one call. Raises `KeyError` for a service or method that the API does not have."""
        descriptor = _method(service, method)
        return _to_object(self.exchange(service, method, _to_message(descriptor, request), Message))

    def stream(self, service: str, method: str, request: JsonObject) -> Iterator[dict[str, Any]]:
        """The answers of a streaming method, as they come; without a timeout. Raises as `call`.

        Close the iterator to end the call early.
        """
        return self._objects(service, method, _to_message(_method(service, method), request))

    def exchange(self, service: str, method: str, request: Message, answer: type[M]) -> M:
        """`call` with messages. `answer` is the type that the method gives."""
        return self._answer(service, method, request.SerializeToString(), answer)

    def prepare(self, service: str, method: str, request: Message, answer: type[M]) -> Callable[[], M]:
        """A call that can be made several times, each time with the same bytes. It raises as `call`."""
        raw = request.SerializeToString()
        return lambda: self._answer(service, method, raw, answer)

    def messages(self, service: str, method: str, request: Message) -> Generator[Any]:
        """`stream` with messages."""
        return self._received(_method(service, method), request)

    def converse(self, service: str, method: str, requests: Iterator[Message]) -> Generator[Any]:
        """The answers, as they come, of a method that streams both ways."""
        return self._received(_method(service, method), requests)

    def _received(self, method: MethodDescriptor, sent: Message | Iterator[Message]) -> Generator[Any]:
        with self._lease() as channel:
            kind = channel.unary_stream if isinstance(sent, Message) else channel.stream_stream
            start: Callable[..., Any] = kind(_path(method), _to_bytes, _parser(method))
            call = start(sent)
            try:
                yield from call
                _keep(self._keep, receipt_in(call.trailing_metadata()))
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                _keep(self._keep, failure.receipt)
                raise failure from None
            finally:
                call.cancel()

    def _objects(self, service: str, method: str, request: Message) -> Iterator[dict[str, Any]]:
        with closing(self.messages(service, method, request)) as messages:
            yield from map(_to_object, messages)

    def _answer(self, service: str, method: str, raw: bytes, answer: type[M]) -> M:
        with self._lease() as channel:
            received = send(channel, _method(service, method), raw, self._timeout, self._keep)
        if not isinstance(received, answer):
            raise TypeError(f"{method} does not answer with {answer.__name__}")
        return received


def send(
    channel: grpc.Channel, method: MethodDescriptor, raw: bytes, timeout: float, keep: Keep = keep_nothing
) -> Message:
    """The answer to one call, of the method's type; its receipt goes to `keep`. Raises `CallFailed`."""
    multicallable = channel.unary_unary(_path(method), bytes, _parser(method))
    try:
        received, call = multicallable.with_call(raw, timeout=timeout)
    except grpc.RpcError as error:
        failure = from_rpc_error(error)
    else:
        _keep(keep, receipt_in(call.trailing_metadata()))
        answer: Message = received
        return answer
    _keep(keep, failure.receipt)
    raise failure


async def send_async(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    raw: bytes,
    timeout: float,
    keep: Keep = keep_nothing,
) -> Message:
    """As `send`, for asyncio."""
    call = channel.unary_unary(_path(method), bytes, _parser(method))(raw, timeout=timeout)
    try:
        received: Message = await call
    except grpc.RpcError as error:
        failure = from_rpc_error(error)
    else:
        _keep(keep, receipt_in(await call.trailing_metadata()))
        return received
    _keep(keep, failure.receipt)
    raise failure


def _keep(keep: Keep, receipt: Receipt | None) -> None:
    if receipt is not None:
        keep(receipt)


def prepared(service: str, method: str, request: JsonObject) -> Call[dict[str, Any]]:
    """What `Api.call` does, to be made several times.

    Reading and what has a request_id may be repeated; any other call may have been done, though its answer
    was lost. Raises as `Api.call`.
    """
    descriptor = _method(service, method)
    message: Any = _to_message(descriptor, request)
    repeatable = method.startswith(READING) or bool(getattr(message, "request_id", ""))
    return Call(descriptor, message.SerializeToString(), _to_object, repeatable)


def _method(service: str, method: str) -> MethodDescriptor:
    module = import_module(f"protos.kms.v1.{_MODULES[service]}_pb2")
    descriptor: MethodDescriptor = module.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    return descriptor


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def _to_bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _parser(method: MethodDescriptor) -> Callable[[bytes], Any]:
    parse: Callable[[bytes], Any] = GetMessageClass(method.output_type).FromString
    return parse


def _to_message(method: MethodDescriptor, request: JsonObject) -> Message:
    message: Message = GetMessageClass(method.input_type)()
    try:
        return json_format.ParseDict(dict(request), message)
    except json_format.ParseError as error:
        problem = str(error)
    raise InvalidField("request", problem)


def _to_object(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
