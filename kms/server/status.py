"""Refusals as gRPC status: one table for the code, and always a `google.rpc.ErrorInfo` with the reason.

The details travel as `google.rpc.Status` in the trailing metadata `grpc-status-details-bin`.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from kms.errors import InvalidField, Kind, KmsError, RateLimited

DOMAIN = "kms"
DETAILS_KEY = "grpc-status-details-bin"

CODES: Mapping[Kind, grpc.StatusCode] = MappingProxyType(
    {
        Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
        Kind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
        Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        Kind.STATE: grpc.StatusCode.FAILED_PRECONDITION,
        Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Kind.CONFLICT: grpc.StatusCode.ABORTED,
        Kind.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        Kind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Kind.INTERNAL: grpc.StatusCode.INTERNAL,
    }
)

# The status travels in headers, of which a client takes 8 KiB, and the text is in it up to three times.
MAX_TEXT = 1024
_CODE_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: KmsError, request_id: str, held: float = 0.0) -> Status:
    """The status that tells a refusal to its caller, so many seconds after it was raised.

    Of an error of kind INTERNAL it tells the reason and the request id, nothing else.
    """
    if error.kind is Kind.INTERNAL:
        return internal_status(request_id, error.reason)
    details = [_packed(detail) for detail in _details(error, held)]
    return Status(code=CODES[error.kind].value[0], message=_cut(error.message), details=details)


def internal_status(request_id: str, reason: str = KmsError.reason) -> Status:
    """The status for a failure of which the caller learns only under which id to ask the operator."""
    return Status(
        code=grpc.StatusCode.INTERNAL.value[0],
        message=f"internal error; tell the operator the request id {request_id}",
        details=[_packed(ErrorInfo(reason=reason, domain=DOMAIN))],
    )


def status_code(status: Status) -> grpc.StatusCode:
    """The status's code as grpc knows it."""
    return _CODE_BY_NUMBER[status.code]


def _details(error: KmsError, held: float) -> Iterator[Message]:
    metadata = {key: _cut(value) for key, value in error.metadata.items()}
    yield ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    if isinstance(error, InvalidField):
        violation = BadRequest.FieldViolation(field=_cut(error.field), description=_cut(error.description))
        yield BadRequest(field_violations=[violation])
    if isinstance(error, RateLimited):
        delay = Duration()
        delay.FromMicroseconds(max(0, round((error.retry_after_seconds - held) * 10**6)))
        yield RetryInfo(retry_delay=delay)


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
