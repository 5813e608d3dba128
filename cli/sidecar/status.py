"""`wingman status`: how a Wingman is."""

import http.client
import json
from pathlib import Path

import click

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.options import FILE, json_option
from cli.output import write_fields, write_json
from wingman.configuration import SOCKET
from wingman.unix_http import UnixConnection

TIMEOUT = 10.0


@click.command(
    epilog="""\b
Example:
  wingman status
  wingman status --socket /tmp/wingman.sock --json"""
)
@click.option("--socket", "path", type=FILE, default=SOCKET, show_default=True, help="Where it listens.")
@json_option
def status(path: Path, as_json: bool) -> None:
    """Show how a Wingman is: INITIALIZING, READY, DEGRADED or HALTED, and why.

    Ends with 0 if programs are served (READY, DEGRADED), else with 6.
    """
    told = _ask(path)
    (write_json if as_json else write_fields)(told)
    if told["status"] not in ("READY", "DEGRADED"):
        raise CliError(f"it is {told['status']}: {told['because']}", code=ExitCode.UNAVAILABLE)


def _ask(path: Path) -> dict[str, str]:
    """Raises `CliError`."""
    connection = UnixConnection(str(path), TIMEOUT)
    try:
        connection.request("GET", "/status", headers={"accept": "application/json"})
        told: dict[str, str] = json.loads(connection.getresponse().read())
        return told
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except (http.client.HTTPException, ValueError):
        problem = "it does not answer as a Wingman does"
    finally:
        connection.close()
    raise CliError(
        f"{path}: {problem}",
        hint="Is it running, as the same user, with this socket?",
        code=ExitCode.UNAVAILABLE,
    )
