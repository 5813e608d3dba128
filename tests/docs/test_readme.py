"""The README's tour, run as it stands but for its ports and the home directory."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
TOURS = re.findall(r"^```console-tour\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PORTS = ("7443", "7444")
# Two safe primes on a slow machine are most of it.
TIMEOUT = 900
SECRET = b"correct horse battery staple"


@dataclass(frozen=True)
class Toured:
    """Where the tour was made, and what it printed."""

    directory: Path
    output: str


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


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Toured:
    script = TOURS[0]
    for port, free in zip(PORTS, free_ports(len(PORTS)), strict=True):
        script = script.replace(port, free)
    home, directory = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("tour")
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
            output, _ = shell.communicate(timeout=TIMEOUT)
        finally:
            end_all(shell.pid)
    text = output.decode()
    log = directory / "serve.log"
    assert shell.returncode == 0, text + (log.read_text() if log.exists() else "")
    return Toured(directory, text)


def end_all(leader: int) -> None:
    """The server too, if the tour ended before it stopped it."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_there_is_one_tour_and_it_names_the_ports_that_are_exchanged() -> None:
    assert len(TOURS) == 1
    assert all(port in TOURS[0] for port in PORTS)


@pytest.mark.slow
def test_tour_seals_offline_and_opens_what_it_sealed(toured: Toured) -> None:
    assert (toured.directory / "opened.txt").read_bytes() == SECRET
    assert SECRET not in (toured.directory / "secret.sealed").read_bytes()
    assert "opened" in toured.output.split("\n")


@pytest.mark.slow
def test_tour_is_refused_what_the_policy_does_not_allow(toured: Toured) -> None:
    assert "refused: 3" in toured.output
    assert not (toured.directory / "stolen.txt").exists()


@pytest.mark.slow
def test_tour_ends_with_an_audit_trail_that_holds_both(toured: Toured) -> None:
    lines = (toured.directory / "audit.jsonl").read_text().splitlines()
    bodies = [json.loads(line).get("body", {}) for line in lines]
    opened = [body["decision"] for body in bodies if body.get("action") == "EvaluateBlinded"]
    assert opened == ["ALLOW", "DENY"]


@pytest.mark.slow
def test_tour_stops_its_server_without_an_error(toured: Toured) -> None:
    log = (toured.directory / "serve.log").read_text()
    assert "serving on" in log
    assert " error " not in log
