"""Failed calls as exceptions: what the server said, and what a person can do next."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from kms.errors import ChecksumMismatch, KmsError
from kms.model.chain import Malformed
from kms.model.receipt import Receipt

Detail = TypeVar("Detail", ErrorInfo, BadRequest, RetryInfo)

DOMAIN = "kms"
DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"
RECEIPT_KEY = "x-audit-receipt"


class CallFailed(Exception):
    """Base: a call that the server refused, or that did not reach it.

    `reason` is that of `kms.errors` ("" if the answer is not the KMS's own, as when nothing listens);
    `hint` says what to do next, "" if there is nothing to say; `request_id` finds the call in the server's
    log and audit, "" if it did not get there; `metadata` are the details of the reason; `violations` pairs
    of a field and what is wrong with it; `retry_after` the seconds after which the server may say yes;
    `receipt` says where the refusal's event stands in the audit chain, None if it left none.
    """

    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        hint: str = "",
        request_id: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[tuple[str, str]] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.hint = hint or self.default_hint
        self.request_id = request_id
        self.metadata = MappingProxyType(dict(metadata or {}))
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.receipt: Receipt | None = None


class CallUnauthenticated(CallFailed):
    """The server accepts no certificate of this caller."""


class CallDenied(CallFailed):
    """Not allowed, or not there."""


class CallInvalid(CallFailed):
    """Bad input: see `violations`."""


class CallNotFound(CallFailed):
    """Not there; said only to those who may list such resources."""


class CallWrongState(CallFailed):
    """The resource's state does not permit this."""


class CallConflict(CallFailed):
    """Somebody else wrote in between."""

    default_hint = "Repeat the call."


class CallAlreadyExists(CallFailed):
    """The name is taken."""

    default_hint = "Choose another name, or get the one that exists."


class CallExhausted(CallFailed):
    """A limit or budget is used up: see `retry_after`, None where waiting does not help."""


class CallUnavailable(CallFailed):
    """The server cannot be reached or cannot serve now."""

    default_hint = (
        "Check the address, that the server runs, and that ca.pem is its authority; then try again."
    )


class CallInternal(CallFailed):
    """The server failed."""

    default_hint = "Tell the operator of the KMS the request id."


class CallDamaged(CallInvalid):
    """A request or an answer that does not have the CRC32C given with it: it changed on its way."""

    default_hint = ChecksumMismatch.hint


class CallTimedOut(CallFailed):
    """No answer within the deadline. Whether the call was done is unknown."""

    default_hint = "Repeat the call; a create call with its request_id."


CLASSES: Mapping[grpc.StatusCode, type[CallFailed]] = MappingProxyType(
    {
        grpc.StatusCode.UNAUTHENTICATED: CallUnauthenticated,
        grpc.StatusCode.PERMISSION_DENIED: CallDenied,
        grpc.StatusCode.INVALID_ARGUMENT: CallInvalid,
        grpc.StatusCode.FAILED_PRECONDITION: CallWrongState,
        grpc.StatusCode.NOT_FOUND: CallNotFound,
        grpc.StatusCode.ABORTED: CallConflict,
        grpc.StatusCode.ALREADY_EXISTS: CallAlreadyExists,
        grpc.StatusCode.RESOURCE_EXHAUSTED: CallExhausted,
        grpc.StatusCode.UNAVAILABLE: CallUnavailable,
        grpc.StatusCode.INTERNAL: CallInternal,
        grpc.StatusCode.DEADLINE_EXCEEDED: CallTimedOut,
    }
)

# Where one status has several meanings, the reason decides.
_REASONS: Mapping[str, type[CallFailed]] = MappingProxyType({ChecksumMismatch.reason: CallDamaged})


def from_rpc_error(error: grpc.RpcError) -> CallFailed:
    """The exception to raise for what a stub raised, sync or asyncio."""
    pairs = cast(Iterable[tuple[str, str | bytes]], error.trailing_metadata() or ())
    metadata = dict(pairs)
    failure = _failure(
        error.code(),
        error.details() or "",
        _parse(metadata.get(DETAILS_KEY)),
        request_id=str(metadata.get(REQUEST_ID_KEY, "")),
    )
    failure.receipt = receipt_in(pairs)
    return failure


def receipt_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> Receipt | None:
    """The receipt in what came at the end of a call, None for none that can be read."""
    try:
        return Receipt.parse(str(dict(metadata or ())[RECEIPT_KEY]))
    except (KeyError, Malformed):
        return None


def from_status(status: Status, request_id: str = "") -> CallFailed:
    """The exception for one item of a batch that failed, from its `google.rpc.Status`."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    code = codes.get(status.code, grpc.StatusCode.UNKNOWN)
    return _failure(code, status.message, status, request_id=request_id)


def _failure(code: grpc.StatusCode, message: str, status: Status, *, request_id: str) -> CallFailed:
    info = next((info for info in _details(status, ErrorInfo) if info.domain == DOMAIN), ErrorInfo())
    delays = [retry.retry_delay.ToMicroseconds() / 10**6 for retry in _details(status, RetryInfo)]
    kind = _REASONS.get(info.reason) or CLASSES.get(code, CallFailed)
    return kind(
        message or code.name,
        reason=info.reason,
        hint=_hints().get(info.reason, ""),
        request_id=request_id,
        metadata=info.metadata,
        violations=(
            (violation.field, violation.description)
            for bad in _details(status, BadRequest)
            for violation in bad.field_violations
        ),
        retry_after=delays[0] if delays else None,
    )


def _parse(details: str | bytes | None) -> Status:
    """Details that cannot be read, as a proxy might send, count as none."""
    try:
        return Status.FromString(details) if isinstance(details, bytes) else Status()
    except DecodeError:
        return Status()


def _details(status: Status, kind: type[Detail]) -> Iterator[Detail]:
    for packed in status.details:
        detail = kind()
        try:
            if packed.Unpack(detail):
                yield detail
        except DecodeError:
            continue


def _hints() -> dict[str, str]:
    """The hint of each reason that `kms.errors` has."""
    found: dict[str, str] = {}
    waiting: list[type[KmsError]] = [KmsError]
    while waiting:
        kind = waiting.pop()
        found[kind.reason] = kind.hint or found.get(kind.reason, "")
        waiting.extend(kind.__subclasses__())
    return found
