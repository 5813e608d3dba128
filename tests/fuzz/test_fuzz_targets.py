"""Every fuzz target starts from good seeds, notices a broken property, and runs for some seconds."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from blindfold.errors import Corrupt
from fuzz.target import PropertyBroken, Target
from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
SECONDS, RUNS = 4, 100_000


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_seeds_hold_the_property_and_some_are_accepted(target: Target) -> None:
    accepted = [target.check(seed) for seed in target.seeds()]
    assert any(accepted)


def test_parser_that_prints_other_bytes_is_noticed() -> None:
    with pytest.raises(PropertyBroken):
        Target(bytes.strip, list).check(b" a")


def test_error_of_another_kind_is_noticed() -> None:
    def parse(data: bytes) -> bytes:
        raise Corrupt("public") if data else KeyError("not one of ours")

    assert not Target(parse, list).check(b"a")
    with pytest.raises(KeyError):
        Target(parse, list).check(b"")


@pytest.mark.slow
@pytest.mark.optional
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="no atheris for this Python")
@pytest.mark.parametrize("name", TARGETS)
def test_target_finds_nothing(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz", name]
    command += ["--seconds", str(SECONDS), "--runs", str(RUNS), "--found", str(tmp_path / "found")]
    result = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert "DONE" in result.stderr or "Done" in result.stderr
    assert not list((tmp_path / "found").iterdir())
