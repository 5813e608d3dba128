"""`kms serve`: the server, in the foreground."""

import asyncio
import json
from pathlib import Path

import click

from cli.local.event_log import log_to_stderr
from cli.local.options import data_option
from cli.local.passphrase import passphrase_option, passphrase_reader
from cli.options import json_option
from cli.output import warn
from kms.main.configuration import Configuration
from kms.main.serving import Served
from kms.main.serving import serve as serve_until_stopped


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
@passphrase_option
@json_option
def serve(data: Path, accept_rollback: bool, passphrase_file: str | None, as_json: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; calls in flight are then finished.

    Prints one line with both addresses once it serves. The log goes to standard error, one line an event.
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

    asyncio.run(
        serve_until_stopped(
            configuration,
            passphrase_reader(passphrase_file),
            accept_rollback=accept_rollback,
            on_ready=announce,
        )
    )


def _bound(listen: str, port: int) -> str:
    return f"{listen.rpartition(':')[0]}:{port}"


def _line(addresses: dict[str, str]) -> str:
    return f"serving on {addresses['listen']}, enrolling on {addresses['enrolment_listen']}"
