"""`kms serve`: the server, in the foreground."""

import asyncio
import json
import os
import sys
from pathlib import Path

import click

from cli.local.event_log import log_to_stderr
from cli.local.options import data_option
from cli.local.passphrase import passphrase_option, passphrase_reader
from cli.local.shares import share_option, share_reader
from cli.options import json_option
from cli.output import warn
from kms.main.configuration import Configuration
from kms.main.root_material import Material
from kms.main.serving import Ending, Served
from kms.main.serving import serve as serve_until_stopped

LOCKED = "--locked"


@click.command(
    epilog="""\b
Example:
  kms serve --data /var/lib/kms
  kms serve --data kms-data --passphrase-file - < passphrase.txt"""
)
@data_option
@click.option(
    "--accept-rollback",
    is_flag=True,
    help="Serve a store that is older than its checkpoint, as after a restore. The audit trail records it.",
)
@click.option(
    LOCKED, "locked", is_flag=True, help="Wait for `kms operator unlock` although --share-file is given."
)
@passphrase_option
@share_option
@json_option
def serve(
    data: Path,
    accept_rollback: bool,
    locked: bool,
    passphrase_file: str | None,
    share_files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Serve until SIGTERM or Ctrl-C; calls in flight are then finished.

    Prints one line with both addresses once it serves. The log goes to standard error, one line an event.
    A server whose root of trust is shares is locked until its operators unlock it: `kms operator unlock`.
    """
    configuration = Configuration.load(data.resolve())
    log_to_stderr()

    def announce(served: Served) -> None:
        addresses = {
            "listen": _bound(configuration.listen, served.ports.main),
            "enrolment_listen": _bound(configuration.enrolment_listen, served.ports.enrolment),
        }
        if served.ports.proxy:
            addresses["proxy_listen"] = _bound(configuration.proxy_listen, served.ports.proxy)
        if served.ports.monitoring:
            addresses["monitoring_listen"] = _bound(configuration.monitoring_listen, served.ports.monitoring)
        for warning in served.warnings:
            warn(warning)
        click.echo(json.dumps(addresses) if as_json else _line(addresses))

    shares = share_reader(share_files) if share_files and not locked else None
    material = Material(passphrase_reader(passphrase_file), shares)
    ending = asyncio.run(
        serve_until_stopped(configuration, material, accept_rollback=accept_rollback, on_ready=announce)
    )
    if ending is Ending.LOCKED:
        _begin_anew()


def _begin_anew() -> None:
    """The same program, locked: Python cannot wipe all that it knew of keys, the system can."""
    sys.stdout.flush()
    arguments = [argument for argument in sys.orig_argv[1:] if argument != LOCKED]
    os.execv(sys.executable, [sys.executable, *arguments, LOCKED])  # noqa: S606 - our own command line


def _bound(listen: str, port: int) -> str:
    return f"{listen.rpartition(':')[0]}:{port}"


def _line(addresses: dict[str, str]) -> str:
    return f"serving on {addresses['listen']}, enrolling on {addresses['enrolment_listen']}"
