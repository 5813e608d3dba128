"""The vaults that a command connects to itself: accesses, and their credentials, opened blindly."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from blindfold.secret import SecretBytes
from cli.access_file import FILE as ACCESS_FILE
from cli.online.applying import named
from cli.online.names import resolve
from cli.online.session import Session
from cli.resource_file import read_files
from kms.client.accesses import FetchedAccesses
from kms.client.opening import open_sealed
from kms.external.sources import SecretSources
from kms.model.names import SecretManagementAccessName
from kms.model.secret_management_access import Allowances, SecretManagementAccess
from kms.model.secret_type import BlindfoldSecret

_Command = TypeVar("_Command", bound=Callable[..., Any])
Given = Mapping[SecretManagementAccessName, SecretManagementAccess]

_OPTIONS = (
    click.option(
        "--access-file",
        "access_files",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        metavar="FILE|DIR",
        help="Read accesses from here instead of the KMS; may be repeated.",
    ),
    click.option(
        "--endpoint",
        "endpoints",
        multiple=True,
        metavar="URL",
        help="Connect to no other vault; may be repeated. Needed for credentials not sealed for one.",
    ),
    click.option("--allow-clear", is_flag=True, help="Use credentials that are in clear."),
    click.option("--allow-http", is_flag=True, help="Connect to a loopback address without TLS."),
)


@dataclass(frozen=True, slots=True)
class Reach:
    """How a command comes to its accesses, and what it may do with them."""

    access_files: tuple[Path, ...]
    allowances: Allowances

    def sources(self, session: Session) -> SecretSources:
        """Raises `CliError`, `UsageError` for files that are no accesses."""
        accesses, given = FetchedAccesses(), _given(session, self.access_files)

        async def find(name: SecretManagementAccessName) -> SecretManagementAccess:
            if name in given:
                return given[name]
            return await asyncio.to_thread(accesses.fetch, session.api, name)

        async def open_blindly(secret: BlindfoldSecret) -> SecretBytes:
            name = secret.expect_name or None
            return await asyncio.to_thread(open_sealed, session.api, secret.sealed, expect_name=name)

        return SecretSources(find, open_blindly, self.allowances)


def access_options(command: _Command) -> _Command:
    """The command gets `reach` for them."""

    @functools.wraps(command)
    def call(
        *,
        access_files: tuple[Path, ...],
        endpoints: tuple[str, ...],
        allow_clear: bool,
        allow_http: bool,
        **rest: Any,
    ) -> None:
        allowances = Allowances(clear_secrets=allow_clear, plain_http=allow_http, endpoints=endpoints)
        command(reach=Reach(access_files, allowances), **rest)

    return functools.reduce(lambda inner, option: option(inner), reversed(_OPTIONS), call)  # type: ignore[return-value]


def _given(session: Session, paths: tuple[Path, ...]) -> Given:
    if not paths:
        return {}
    files = named(
        read_files(paths, ACCESS_FILE),
        lambda name: str(resolve(SecretManagementAccessName, name, session.tenant)),
    )
    return {SecretManagementAccessName.parse(name): file.content for name, file in files}
