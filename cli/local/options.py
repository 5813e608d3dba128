"""Options of the commands that run where the store is."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.options import DIRECTORY

_Command = TypeVar("_Command", bound=Callable[..., Any])


def data_option(command: _Command) -> _Command:
    return click.option(
        "--data", type=DIRECTORY, required=True, help="Directory of the server: store and configuration."
    )(command)
