"""Shares of a root of trust: from files, or asked for one after the other on a terminal."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from blindfold.secret import SecretBytes
from cli.errors import UsageError
from cli.options import STREAM
from cli.secret_io import read_secret

_Command = TypeVar("_Command", bound=Callable[..., Any])


def share_option(command: _Command) -> _Command:
    """`share_files`, for `share_reader`."""
    return click.option(
        "--share-file",
        "share_files",
        type=STREAM,
        multiple=True,
        metavar="FILE",
        help="File with the words of a share of the root of trust; given once for each share that is needed.",
    )(command)


def share_reader(share_files: Sequence[str]) -> Callable[[int], Sequence[SecretBytes]]:
    """What `kms.main` calls if the root of trust is shares. It raises `UsageError`, `CliError`."""

    def read(threshold: int) -> Sequence[SecretBytes]:
        if share_files:
            return [read_secret(name, "share") for name in share_files]
        if not sys.stdin.isatty():
            raise UsageError(
                f"the root of trust needs {threshold} shares, and there is no terminal to ask on",
                hint="Give --share-file FILE for each.",
            )
        return [_ask(number, threshold) for number in range(1, threshold + 1)]

    return read


def _ask(number: int, threshold: int) -> SecretBytes:
    text = click.prompt(f"Share {number} of {threshold}", hide_input=True, err=True)
    return SecretBytes(text.encode())
