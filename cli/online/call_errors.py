"""From failed calls to exit codes, and what a person is told of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.online.renewal import ENROL_AGAIN
from kms.client import errors

CALLS: Mapping[type[errors.CallFailed], ExitCode] = MappingProxyType(
    {
        errors.CallUnauthenticated: ExitCode.UNAUTHENTICATED,
        errors.CallDenied: ExitCode.DENIED,
        errors.CallInvalid: ExitCode.USAGE,
        errors.CallNotFound: ExitCode.MISMATCH,
        errors.CallWrongState: ExitCode.CONFLICT,
        errors.CallConflict: ExitCode.CONFLICT,
        errors.CallAlreadyExists: ExitCode.CONFLICT,
        errors.CallExhausted: ExitCode.LIMITED,
        errors.CallUnavailable: ExitCode.UNAVAILABLE,
        errors.CallTimedOut: ExitCode.UNAVAILABLE,
        errors.CallInternal: ExitCode.FAILED,
        errors.CallDamaged: ExitCode.DAMAGED,
    }
)
# What the server was sent is damaged, not the call wrong.
REASONS: Mapping[str, ExitCode] = MappingProxyType({"BACKUP_INVALID": ExitCode.DAMAGED})


@contextmanager
def reported() -> Iterator[None]:
    """Makes a failed call the command's own failure. Raises `CliError` for it."""
    try:
        yield
        return
    except errors.CallFailed as error:
        failure = to_cli_error(error)
    raise failure


def to_cli_error(error: errors.CallFailed, place: str = "") -> CliError:
    """`place` comes before the message."""
    message, hint = place + error.message, error.hint
    if error.request_id:
        message += f" (request id {error.request_id})"
    if isinstance(error, errors.CallUnauthenticated):
        hint = ENROL_AGAIN
    elif error.retry_after is not None:
        hint = f"Try again after {error.retry_after:.1f} s."
    code = REASONS.get(error.reason) or CALLS.get(type(error), ExitCode.FAILED)
    return CliError(message, hint=hint, code=code, reason=error.reason or "CALL_FAILED")
