"""Answers, in the form that is asked for, and what a failure is told as.

A value is base64 text; with `?raw` its bytes; for `Accept: application/json` a JSON object. Failures are a
line of text, or `{"error": {...}}`.
"""

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from blindfold import errors as sealed
from kms.client import errors as call
from kms.client.errors import CallFailed
from kms.errors import Kind, KmsError
from kms.external.errors import ExternalFailed
from wingman.http.bodies import BadBody

_log = logging.getLogger(__name__)

HEADERS: Mapping[str, str] = MappingProxyType(
    {"cache-control": "no-store", "x-content-type-options": "nosniff"}
)
OF_CALLS: Mapping[type[CallFailed], int] = MappingProxyType(
    {
        call.CallUnauthenticated: 403,
        call.CallDenied: 403,
        call.CallNotFound: 403,
        call.CallWrongState: 403,
        call.CallConflict: 403,
        call.CallAlreadyExists: 403,
        call.CallExhausted: 403,
        call.CallInvalid: 400,
        call.CallDamaged: 503,
        call.CallUnavailable: 503,
        call.CallTimedOut: 503,
        call.CallInternal: 500,
        call.CallFailed: 500,
    }
)
OF_KINDS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.UNAUTHENTICATED: 403,
        Kind.DENIED: 403,
        Kind.INVALID: 400,
        Kind.STATE: 403,
        Kind.NOT_FOUND: 404,
        Kind.CONFLICT: 403,
        Kind.ALREADY_EXISTS: 403,
        Kind.EXHAUSTED: 503,
        Kind.UNAVAILABLE: 503,
        Kind.INTERNAL: 500,
    }
)
# What is wrong with a sealed secret itself; a KMS that answers wrongly is everything else.
DAMAGED = (
    sealed.Corrupt,
    sealed.Unsupported,
    sealed.OpenFailed,
    sealed.NameMismatch,
    sealed.DocumentMismatch,
)


# After these the connection does not serve on: what is left of the body is slow, or too much.
CLOSING = (408, 413)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is told of an error. `retry_after` in seconds, None if waiting does not help."""

    status: int
    reason: str
    message: str
    hint: str = ""
    retry_after: float | None = None

    def to_json(self) -> dict[str, str]:
        told = {"reason": self.reason, "message": self.message, "hint": self.hint}
        return {name: text for name, text in told.items() if text}


def describe(error: Exception) -> Failure:
    """Text of an error that was not foreseen is withheld: it may hold a secret."""
    if isinstance(error, BadBody):
        return Failure(error.status, "BAD_BODY", error.message)
    if isinstance(error, CallFailed):
        status = 503 if error.retry_after is not None else OF_CALLS[type(error)]
        reason = error.reason or "KMS_UNREACHABLE"
        return Failure(status, reason, error.message, error.hint, error.retry_after)
    if isinstance(error, KmsError):
        return Failure(OF_KINDS[error.kind], error.reason, error.message, error.hint)
    if isinstance(error, ExternalFailed):
        return _of_external(error)
    if isinstance(error, sealed.BlindfoldError):
        status = 400 if isinstance(error, DAMAGED) else 500
        if status == 500:
            # A KMS that computes wrongly is an alarm.
            _log.error("%s: %s", type(error).__name__, error)
        return Failure(status, type(error).__name__, str(error), error.hint)
    _log.error("a request failed", exc_info=error)
    return Failure(500, "INTERNAL", "internal error", "Wingman's log says where.")


def _of_external(error: ExternalFailed) -> Failure:
    """404 is for what Wingman itself knows: whatever a vault does not give is 403."""
    status = 403 if error.kind is Kind.NOT_FOUND else OF_KINDS[error.kind]
    return Failure(status, error.reason, error.message, error.hint, error.retry_after)


def wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def refusal(request: Request, failure: Failure) -> Response:
    headers = dict(HEADERS)
    if failure.retry_after is not None:
        headers["retry-after"] = str(max(1, round(failure.retry_after)))
    if failure.status in CLOSING:
        headers["connection"] = "close"
    if wants_json(request):
        return JSONResponse({"error": failure.to_json()}, failure.status, headers)
    return text(failure.message, failure.status, headers)


def text(line: str, status: int = 200, headers: Mapping[str, str] = HEADERS) -> Response:
    return Response(line + "\n", status, dict(headers), "text/plain; charset=utf-8")


def value(request: Request, name: str, data: bytes, more: Mapping[str, object] | None = None) -> Response:
    """Bytes that are called `name` in JSON, where they are accompanied by `more`."""
    if "raw" in request.query_params:
        return Response(data, headers=dict(HEADERS), media_type="application/octet-stream")
    printed = base64_text(data)
    if wants_json(request):
        return json({name: printed, **(more or {})})
    return Response(printed, headers=dict(HEADERS), media_type="text/plain; charset=utf-8")


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def json(told: Mapping[str, object], status: int = 200) -> Response:
    return JSONResponse(told, status, dict(HEADERS))
