"""The README's tour, run as it stands but for its ports and the home directory."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from tours import run_tour

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


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Toured:
    home, directory = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("tour")
    return Toured(directory, run_tour(TOURS[0], PORTS, directory, home, TIMEOUT))


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
