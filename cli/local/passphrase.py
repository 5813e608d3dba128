"""The passphrase of a root of trust: from a file, from standard input, or asked for on a terminal."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from blindfold.secret import SecretBytes
from cli.errors import UsageError
from cli.options import STREAM
from cli.secret_io import read_secret

_Command = TypeVar("_Command", bound=Callable[..., Any])


def passphrase_option(command: _Command) -> _Command:
    """`passphrase_file`, for `passphrase_reader`."""
    return click.option(
        "--passphrase-file",
        type=STREAM,
        metavar="FILE",
        help="File with the passphrase of the root of trust, - for standard input; else it is asked for.",
    )(command)


def passphrase_reader(passphrase_file: str | None, *, confirm: bool = False) -> Callable[[], SecretBytes]:
    """What `kms.main` calls if the root of trust needs a passphrase. It raises `UsageError`, `CliError`."""

    def read() -> SecretBytes:
        if passphrase_file is not None:
            return read_secret(passphrase_file, "passphrase")
        if not sys.stdin.isatty():
            raise UsageError(
                "the root of trust needs its passphrase, and there is no terminal to ask on",
                hint="Give --passphrase-file FILE, or - for standard input.",
            )
        text = click.prompt("Passphrase", hide_input=True, err=True, confirmation_prompt=confirm)
        return SecretBytes(text.encode())

    return read
