"""`wingman exec`: a program with its secrets, and the sidecar beside it for as long as it runs."""

import asyncio
from pathlib import Path

import click

from cli.connection import connection_options
from cli.local.event_log import log_to_stderr
from cli.online.call_errors import reported
from cli.options import STREAM
from cli.sidecar.configuration_file import read_configuration
from kms.crypto.private_process import protect_process_memory
from wingman.configuration import Configuration
from wingman.supervising import Supervisor


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Example:
  wingman exec --config wingman.yaml -- /usr/sbin/nginx -g 'daemon off;'""",
)
@click.option("--config", "name", type=STREAM, required=True, help="YAML or JSON; - is standard input.")
@connection_options
@click.option("--json", "as_json", is_flag=True, expose_value=False, help="Print errors as JSON on stderr.")
@click.argument("arguments", metavar="PROGRAM [ARGUMENT]...", nargs=-1, required=True)
@click.pass_context
def exec_(
    context: click.Context,
    name: str,
    server: str | None,
    credentials: Path | None,
    profile_path: Path | None,
    arguments: tuple[str, ...],
) -> None:
    """Run a program once its secrets are there, and serve for as long as it runs.

    Files are written, and kept fresh, as the configuration says; the member `program` says which environment
    variables lead the program to which secrets. Signals are passed on. Standard output is the program's.

    Ends with the program's own exit code, with 128 and the number of the signal that ended it, or before it
    was started as other commands do.
    """
    protect_process_memory()
    configuration = read_configuration(name, server, credentials, profile_path)
    log_to_stderr()
    with reported():
        context.exit(asyncio.run(_supervise(configuration, arguments)))


async def _supervise(configuration: Configuration, arguments: tuple[str, ...]) -> int:
    return await Supervisor(configuration, arguments).run()
