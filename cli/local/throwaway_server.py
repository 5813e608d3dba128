"""A KMS of this machine's own, on a temporary store, for as long as somebody needs it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from cli.errors import CliError, UsageError
from cli.exit_codes import ExitCode
from kms.main.configuration import Configuration
from kms.main.initialising import initialise
from kms.main.root_material import Material

PREFIX = "kms-vectors-"
LISTEN = "127.0.0.1:0"
TENANT = "default"
# What the server takes to end its calls, and more.
STOP_PATIENCE = 30.0
COMMAND = "from cli.kms import main; main()"
LOG = "server.log"


@dataclass(frozen=True, slots=True)
class ThrowawayServer:
    """Where it listens, an operator's credentials, and a private directory that goes with it."""

    listen: str
    enrolment_listen: str
    operator_credentials: Path
    directory: Path


@contextmanager
def throwaway_server() -> Iterator[ThrowawayServer]:
    """Made, served by a process of its own, stopped, and removed, however the context ends.

    Raises `CliError` if it does not start, `OSError`.
    """
    with TemporaryDirectory(prefix=PREFIX) as name:
        directory = Path(name)
        configuration = Configuration(
            directory=directory / "kms",
            trust_domain="vectors.internal",
            root_of_trust="keyfile",
            listen=LISTEN,
            enrolment_listen=LISTEN,
            checkpoint_file=directory / "checkpoint" / "checkpoint.json",
        )
        made = initialise(configuration, TENANT, Material(_no_passphrase))
        with _serving(configuration.directory, directory / LOG) as addresses:
            yield ThrowawayServer(
                addresses["listen"], addresses["enrolment_listen"], made.operator_credentials, directory
            )


@contextmanager
def _serving(data: Path, log: Path) -> Iterator[dict[str, str]]:
    """In a session of its own: Ctrl-C is for this process, which then stops that one."""
    command = [sys.executable, "-P", "-c", COMMAND, "serve", "--json", "--data", str(data)]
    with log.open("wb") as words:
        process = subprocess.Popen(  # noqa: S603 - the command is ours but for a path that we made
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, start_new_session=True
        )
    try:
        yield _addresses(process, log)
    finally:
        _stop(process)


def _addresses(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, str]:
    """What the server prints once it serves."""
    line = process.stdout.readline() if process.stdout else b""
    if line:
        addresses: dict[str, str] = json.loads(line)
        return addresses
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise CliError(
        f"the throw-away server did not start: {words[-1] if words else 'it said nothing'}",
        code=ExitCode.UNAVAILABLE,
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_PATIENCE)
    except BaseException:
        process.kill()
        process.communicate()
        raise


def _no_passphrase() -> NoReturn:
    raise UsageError("a root of trust that is a file has no passphrase")
