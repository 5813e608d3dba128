"""`wingman serve`: the sidecar, in the foreground."""

import asyncio
import json
from pathlib import Path

import click

from cli.connection import connection_options
from cli.local.event_log import log_to_stderr
from cli.online.call_errors import reported
from cli.options import STREAM, json_option
from cli.sidecar.configuration_file import read_configuration
from kms.crypto.private_process import protect_process_memory
from wingman.serving import Served
from wingman.serving import serve as serve_until_stopped
from wingman.supervising import write_once


@click.command(
    epilog="""\b
Example:
  wingman serve --config wingman.yaml
  wingman serve --config wingman.yaml --once
  echo '{"listen": "127.0.0.1:8070"}' | wingman serve --config - --server kms.example.com:7443"""
)
@click.option("--config", "name", type=STREAM, required=True, help="YAML or JSON; - is standard input.")
@click.option("--once", is_flag=True, help="Write the files of the configuration, serve nothing, and end.")
@connection_options
@json_option
def serve(
    name: str,
    once: bool,
    server: str | None,
    credentials: Path | None,
    profile_path: Path | None,
    as_json: bool,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are then finished.

    Prints one line with the socket, and the port if there is one, once programs can connect. The log goes to
    standard error, one line an event.

    With --once it waits for a KMS that does not answer, and ends when all files are written: for containers
    that run before others.
    """
    protect_process_memory()
    configuration = read_configuration(name, server, credentials, profile_path)
    log_to_stderr()
    if once:
        with reported():
            asyncio.run(write_once(configuration))
        return

    def announce(served: Served) -> None:
        listen = f"{configuration.listen.rpartition(':')[0]}:{served.port}" if served.port else ""
        places = {"socket": served.socket, "listen": listen}
        places = {name: place for name, place in places.items() if place}
        click.echo(json.dumps(places) if as_json else f"serving on {' and '.join(places.values())}")

    asyncio.run(serve_until_stopped(configuration, announce))
