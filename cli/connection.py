"""Where the KMS is and who asks: `--server` and `--credentials`, their variables, and the profile."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import click

from cli.errors import UsageError
from cli.options import (
    CREDENTIALS_ENV,
    DIRECTORY,
    PROFILE_ENV,
    SERVER_ENV,
    profile_option,
    read_profile,
)

_Command = TypeVar("_Command", bound=Callable[..., Any])


def connection_options(command: _Command) -> _Command:
    """`server`, `credentials` and `profile_path`, for `Connection.resolve`."""
    command = click.option(
        "--credentials",
        type=DIRECTORY,
        envvar=CREDENTIALS_ENV,
        show_envvar=True,
        help="Directory with key.pem, cert.pem and ca.pem.",
    )(profile_option(command))
    return click.option(
        "--server",
        metavar="HOST:PORT",
        envvar=SERVER_ENV,
        show_envvar=True,
        help="Address of the KMS.",
    )(command)


@dataclass(frozen=True, slots=True)
class Connection:
    """`server` is host:port, `credentials` a directory as `kms.client.credentials` reads it."""

    server: str
    credentials: Path

    @classmethod
    def resolve(cls, server: str | None, credentials: Path | None, profile_path: Path | None) -> Self:
        """From the call, else the environment, else the profile. Raises `UsageError`."""
        settings = read_profile(profile_path)
        server = server or settings.server
        credentials = credentials or settings.credentials
        if not server:
            raise UsageError(
                "the address of the KMS is not known",
                hint=f"Give --server HOST:PORT, {SERVER_ENV}, or server in the profile ({PROFILE_ENV}).",
            )
        if credentials is None:
            raise UsageError(
                "the credentials to call the KMS with are not known",
                hint=f"Give --credentials DIR, {CREDENTIALS_ENV}, or credentials in the profile.",
            )
        return cls(server, credentials)
