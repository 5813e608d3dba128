"""Blocks of a page that are run as they stand, but for their ports and the home directory."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def free_ports(count: int) -> list[str]:
    """Ports that were free a moment ago, all of them held until all are known."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


def environment(home: Path) -> dict[str, str]:
    """Of a new user: none of this process's settings, the programs of its environment first."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}


def run_tour(script: str, ports: Sequence[str], directory: Path, home: Path, timeout: float) -> str:
    """What it printed, once it ended well. Whatever it left running is ended."""
    for port, free in zip(ports, free_ports(len(ports)), strict=True):
        script = script.replace(port, free)
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as shell:
        try:
            output, _ = shell.communicate(timeout=timeout)
        finally:
            _end_all(shell.pid)
    text = output.decode()
    log = directory / "serve.log"
    assert shell.returncode == 0, text + (log.read_text() if log.exists() else "")
    return text


def _end_all(leader: int) -> None:
    """The server too, if the tour ended before it stopped it."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
