"""`kms operator status` and `unlock`: what can be asked of a server that is locked."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import UsageError
from cli.online.call_errors import reported
from cli.online.enrol import enrolment_server, enrolment_server_option, identity_root_option
from cli.online.view import person, view
from cli.options import CREDENTIALS_ENV, DIRECTORY, STREAM, json_option, profile_option, read_profile
from cli.output import write_fields, write_json
from cli.secret_io import read_secret
from kms.client.credentials import CA_FILE, pinned_root
from kms.client.enrolment import presented_chain
from kms.client.unlocking import Unlocker

_Command = TypeVar("_Command", bound=Callable[..., Any])


def unlocker_options(command: _Command) -> Callable[..., None]:
    """The command gets `unlocker`, and `as_json`."""

    @functools.wraps(command)
    def call(
        *,
        server: str | None,
        credentials: Path | None,
        identity_root: bytes | None,
        profile_path: Path | None,
        **rest: Any,
    ) -> None:
        settings = read_profile(profile_path)
        address = enrolment_server(server, settings)
        with reported():
            roots = _roots(address, credentials or settings.credentials, identity_root)
            command(unlocker=Unlocker(address, roots), **rest)

    call = click.option(
        "--credentials",
        type=DIRECTORY,
        envvar=CREDENTIALS_ENV,
        show_envvar=True,
        help="Directory whose ca.pem the server is verified by. Certificates in it may have ended.",
    )(call)
    return enrolment_server_option(identity_root_option(profile_option(json_option(call))))


@click.command(
    epilog="""\b
Example:
  kms operator status --server kms.example.com:7444 --identity-root sha256:..."""
)
@unlocker_options
def status(unlocker: Unlocker, as_json: bool) -> None:
    """Show whether the server is locked, and how many shares it has been given.

    No certificate is needed: those of operators may have ended while the server was away.
    """
    _show(unlocker.status(), as_json)


@click.command(
    epilog="""\b
Example:
  kms operator unlock share.txt
  kms operator unwrap-share --key olga.pem share-1.json | kms operator unlock"""
)
@click.argument("share", metavar="[SHARE_FILE]", type=STREAM, default="-")
@unlocker_options
def unlock(unlocker: Unlocker, share: str, as_json: bool) -> None:
    """Give the words of one share, from a file or standard input, to a locked server.

    They are sent only once the server has proved to be a locked one of the authority that --credentials or
    --identity-root names. With the last share that is needed the server begins to serve. Shares are forgotten
    if no other follows within 15 minutes.
    """
    _show(unlocker.unlock(read_secret(share, "share")), as_json)


def _roots(server: str, credentials: Path | None, identity_root: bytes | None) -> bytes:
    """In PEM. Raises `UsageError`, `CallFailed`, `Unauthenticated`."""
    if identity_root is not None:
        return pinned_root(presented_chain(server), identity_root)
    if credentials is None:
        raise UsageError(
            "the authority of the KMS is not known",
            hint="Give --credentials DIR, or --identity-root sha256:HEX as `kms init` printed it.",
        )
    path = credentials / CA_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror
    raise UsageError(f"{path} cannot be read: {reason}")


def _show(status: dict[str, object], as_json: bool) -> None:
    shown = view(status)
    if as_json:
        write_json(shown)
    else:
        write_fields(person(shown))
