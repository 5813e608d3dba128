"""The command line's own errors, and what a person is told of any error."""

import traceback
from dataclasses import dataclass
from pathlib import Path

import click

from cli.exit_codes import ExitCode


class CliError(Exception):
    """A failure of the command line itself. `message` and `hint` are shown as they are.

    `reason` is its name for programs, by default made of the code's.
    """

    def __init__(
        self, message: str, *, hint: str = "", code: ExitCode = ExitCode.FAILED, reason: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.reason = reason or f"CLI_{code.name}"


class UsageError(CliError):
    """The call cannot be carried out as it was made."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, code=ExitCode.USAGE)


class ReaderGone(Exception):
    """Nobody reads standard output any more. Not an `OSError`, which click would turn into a plain 1."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is reported. `reason` is its stable name for programs."""

    code: ExitCode
    reason: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, object]:
        return {
            "reason": self.reason,
            "message": self.message,
            "hint": self.hint,
            "exit_code": int(self.code),
        }


def describe(error: Exception) -> Failure:
    """What to say of an error. Text of an error that was not foreseen is withheld: it may hold a secret."""
    if isinstance(error, CliError):
        return Failure(error.code, error.reason, error.message, error.hint)
    if isinstance(error, click.ClickException):
        return _describe_click(error)
    if isinstance(error, OSError):
        return Failure(ExitCode.FAILED, "SYSTEM", _system_message(error))
    return _describe_foreseen(error) or _describe_unforeseen(error)


def _describe_click(error: click.ClickException) -> Failure:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"See `{context.command_path} --help`." if context else ""
    return Failure(ExitCode.USAGE, "CLI_USAGE", error.format_message(), hint)


def _system_message(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def _describe_foreseen(error: Exception) -> Failure | None:
    # Here, not above: an error is the only use of these packages for most of the offline commands' life.
    from cli import error_table

    return error_table.describe(error)


def _describe_unforeseen(error: Exception) -> Failure:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return Failure(
        ExitCode.FAILED,
        "INTERNAL",
        f"internal error: {type(error).__name__} at {place}",
        "This is a defect of the program; report the line above.",
    )
