"""Sealing and opening need no network: no socket is made, and nothing is imported that could make one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SEAL = """
from blindfold import begin_open, seal
from testvectors import material
sealed = seal(b"offline", material.key("full"), material.policy(), pad=True)
begin_open(sealed, material.key("full"))
"""
WATCH = """
import sys
sys.addaudithook(lambda event, args: event.startswith("socket.") and (print(event), sys.exit(3)))
"""
NETWORKED = ("grpc", "ssl", "http", "urllib.request", "asyncio", "sqlite3", "click", "kms", "cli")


def run(program: str) -> "subprocess.CompletedProcess[str]":
    """In a fresh interpreter: an audit hook cannot be taken back, and modules stay imported."""
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_sealing_and_opening_make_no_socket() -> None:
    result = run(WATCH + SEAL + "print('sealed', len(sealed))")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("sealed")


def test_watch_notices_a_socket() -> None:
    result = run(WATCH + "import socket\nsocket.socket().close()")
    assert result.returncode == 3
    assert result.stdout.startswith("socket.__new__")


@pytest.mark.parametrize("program", ["import blindfold", SEAL], ids=["import", "seal"])
def test_nothing_that_could_reach_a_network_is_imported(program: str) -> None:
    result = run(f"{program}\nimport sys\nprint(*sorted({set(NETWORKED)} & sys.modules.keys()))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_search_for_modules_finds_those_that_are_imported() -> None:
    result = run(
        f"import ssl, http.client\nimport sys\nprint(*sorted({set(NETWORKED)} & sys.modules.keys()))"
    )
    assert result.stdout.split() == ["http", "ssl"]
