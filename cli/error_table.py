"""From the errors of `blindfold` and `kms` to exit codes."""

from collections.abc import Mapping
from types import MappingProxyType

from blindfold import errors as blindfold_errors
from cli.errors import Failure
from cli.exit_codes import ExitCode
from kms.errors import Kind, KmsError
from kms.external.errors import ExternalFailed

BLINDFOLD: Mapping[type[blindfold_errors.BlindfoldError], ExitCode] = MappingProxyType(
    {
        blindfold_errors.Corrupt: ExitCode.DAMAGED,
        blindfold_errors.NotSealed: ExitCode.DAMAGED,
        blindfold_errors.Unsupported: ExitCode.DAMAGED,
        blindfold_errors.DocumentInvalid: ExitCode.DAMAGED,
        blindfold_errors.DocumentUntrusted: ExitCode.DAMAGED,
        blindfold_errors.DocumentExpired: ExitCode.STALE,
        blindfold_errors.DocumentStale: ExitCode.STALE,
        blindfold_errors.PolicyReplaced: ExitCode.STALE,
        blindfold_errors.DocumentMismatch: ExitCode.MISMATCH,
        blindfold_errors.KeyUnacceptable: ExitCode.DAMAGED,
        blindfold_errors.ElementOutOfRange: ExitCode.DAMAGED,
        blindfold_errors.InputInvalid: ExitCode.USAGE,
        blindfold_errors.WrongAnswer: ExitCode.WRONG_ANSWER,
        blindfold_errors.OpenFailed: ExitCode.DAMAGED,
        blindfold_errors.NameMismatch: ExitCode.MISMATCH,
        blindfold_errors.StateConsumed: ExitCode.FAILED,
        blindfold_errors.EvaluationFault: ExitCode.FAILED,
        blindfold_errors.GenerationFailed: ExitCode.FAILED,
    }
)

KMS: Mapping[Kind, ExitCode] = MappingProxyType(
    {
        Kind.UNAUTHENTICATED: ExitCode.UNAUTHENTICATED,
        Kind.DENIED: ExitCode.DENIED,
        Kind.NOT_FOUND: ExitCode.MISMATCH,
        Kind.INVALID: ExitCode.USAGE,
        Kind.STATE: ExitCode.CONFLICT,
        Kind.CONFLICT: ExitCode.CONFLICT,
        Kind.ALREADY_EXISTS: ExitCode.CONFLICT,
        Kind.EXHAUSTED: ExitCode.LIMITED,
        Kind.UNAVAILABLE: ExitCode.UNAVAILABLE,
        Kind.INTERNAL: ExitCode.FAILED,
    }
)

# The kind of these is how a server answers; where the command itself met the damage, it says so.
REASONS: Mapping[str, ExitCode] = MappingProxyType(
    {
        "AUDIT_CHAIN_BROKEN": ExitCode.DAMAGED,
        "BACKUP_INVALID": ExitCode.DAMAGED,
        "STORE_TAMPERED": ExitCode.DAMAGED,
        "STORE_ROLLED_BACK": ExitCode.STALE,
    }
)


def describe(error: Exception) -> Failure | None:
    """None for an error of none of these packages."""
    if isinstance(error, KmsError):
        code = REASONS.get(error.reason, KMS[error.kind])
        return Failure(code, error.reason, error.message, error.hint)
    if isinstance(error, ExternalFailed):
        return Failure(KMS[error.kind], error.reason, error.message, error.hint)
    if isinstance(error, blindfold_errors.BlindfoldError):
        return Failure(BLINDFOLD[type(error)], type(error).__name__, str(error), error.hint)
    return None
