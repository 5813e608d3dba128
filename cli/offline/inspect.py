"""`blindfold inspect`: all that a sealed secret shows to everybody."""

from datetime import UTC, datetime
from typing import Any

import click

from blindfold.bundle import print_time
from blindfold.errors import BlindfoldError, Corrupt
from blindfold.inspection import Inspection
from blindfold.inspection import inspect as inspect_source
from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.options import STREAM, json_option
from cli.output import write_fields, write_json
from cli.progress import Progress, ProgressSource
from cli.secret_io import input_stream, remaining_size, sealed_source


@click.command(
    epilog="""\b
Example:
  blindfold inspect tls.key.sealed
  blindfold inspect --json < token.txt"""
)
@json_option
@click.argument("sealed", metavar="[FILE]", type=STREAM, default="-")
def inspect(sealed: str, as_json: bool) -> None:
    """Show everything public of a sealed secret, and what is wrong with it.

    FILE is in any form: binary, blindfold:v1: text, or string:/// location; by default standard input. No key
    is needed. Nothing shown is authenticated before the secret is opened. Ends with exit code 5 if something
    is wrong.
    """
    inspection = read_inspection(sealed)
    shown = inspection.to_json()
    if as_json:
        write_json(shown)
    else:
        write_fields(_fields(shown))
    if inspection.problem:
        raise CliError(inspection.problem, hint=Corrupt.hint, code=ExitCode.DAMAGED)


def read_inspection(name: str) -> Inspection:
    """The inspection of a file in any form; a form that cannot be decoded is a problem, not an error."""
    with input_stream(name) as stream:
        progress = Progress(remaining_size(stream))
        try:
            return inspect_source(ProgressSource(sealed_source(stream), progress))
        except BlindfoldError as error:
            problem = f"{type(error).__name__}: {error}"
        finally:
            progress.close()
    return Inspection(None, 0, 0, problem)


def _fields(shown: dict[str, object]) -> dict[str, Any]:
    """For a person: without what is absent, the time readable."""
    fields = {name: value for name, value in shown.items() if value not in (None, "")}
    if isinstance(created := shown.get("created"), int):
        fields["created"] = _time(created)
    return fields


def _time(seconds: int) -> str:
    try:
        return print_time(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"
