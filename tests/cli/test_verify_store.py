"""`kms verify-store`: what it prints, and how it ends."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import kms
from cli.exit_codes import ExitCode


def call(*arguments: object) -> Result:
    return CliRunner().invoke(kms.program, [str(item) for item in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "kms"
    assert call("init", "--data", directory, "--tenant", "acme").exit_code == 0
    return directory


def spoil(data: Path) -> None:
    with closing(sqlite3.connect(data / "store.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE rows SET mac = zeroblob(32) WHERE kind = 'settings'")


def test_sound_store_ends_with_0(data: Path) -> None:
    result = call("verify-store", "--data", data)
    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    assert re.search(r"^sound +yes$", result.stdout, re.MULTILINE)
    shown = json.loads(call("verify-store", "--data", data, "--json").stdout)
    assert (shown["sound"], shown["live"], shown["faults"], shown["findings"]) == (True, False, 0, [])


def test_what_is_wrong_is_on_standard_output_and_ends_with_5(data: Path) -> None:
    spoil(data)
    result = call("verify-store", "--data", data)
    assert result.exit_code == ExitCode.DAMAGED
    assert "ROW: settings kms fails its authentication\n" in result.stdout
    assert "1 things in the store are not as they must be" in result.stderr
    result = call("verify-store", "--data", data, "--json")
    assert json.loads(result.stdout)["findings"] == [
        {"invariant": "ROW", "subject": "settings kms", "problem": "fails its authentication"}
    ]
    assert json.loads(result.stderr)["error"]["reason"] == "STORE_UNSOUND"


def test_directory_without_a_store_is_said_to_be_none(data: Path, tmp_path: Path) -> None:
    (data / "store.sqlite").unlink()
    assert call("verify-store", "--data", data).exit_code == ExitCode.FAILED
    assert call("verify-store", "--data", tmp_path).exit_code == ExitCode.FAILED
