"""The outermost step of every call: whatever is raised leaves as a status that tells no secret."""

import logging
import traceback
from typing import NoReturn

from google.rpc.status_pb2 import Status

from kms.errors import Kind, KmsError, StoreTampered
from kms.server.call import ServicerContext
from kms.server.interceptors.trailers import trailers
from kms.server.status import DETAILS_KEY, internal_status, status_code, to_status

_log = logging.getLogger(__name__)


def refusal(error: Exception, method: str, request_id: str, held: float = 0.0) -> Status:
    """The status that ends a call in which error was raised, so many seconds later.

    An exception that is no `KmsError` may quote a secret, and grpc would send its text to the client: only
    its type and where it was raised are logged, and the client is told the request id.
    """
    if not isinstance(error, KmsError):
        _log_failure(error, method, request_id)
        return internal_status(request_id)
    if error.kind is Kind.INTERNAL or isinstance(error, StoreTampered):
        _log_failure(error, method, request_id)
    return to_status(error, request_id, held)


async def abort(context: ServicerContext, status: Status, request_id: str) -> NoReturn:
    """End the call with a status. Outside of any `except` block, so that no exception clings to it."""
    details = (DETAILS_KEY, status.SerializeToString())
    await context.abort(status_code(status), status.message, (*trailers(request_id), details))


def _log_failure(error: Exception, method: str, request_id: str) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    _log.error("%s failed, request id %s: %s at %s", method, request_id, type(error).__qualname__, places)
