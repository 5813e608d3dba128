"""Run one fuzz target, or each in a process of its own: `python -m fuzz [TARGET] --seconds N`.

An input that breaks the property is written to `fuzz/found/`, and the exit status is not 0.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

# Before anything else imports the package: only its own code is instrumented, not the libraries it uses.
with atheris.instrument_imports(include=["blindfold", "cli", "kms"]):
    from fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"
MAX_LENGTH = 8192


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--runs", type=int, default=-1, help="inputs at most; -1 sets no limit")
    parser.add_argument("--found", type=Path, default=FOUND, help="where an input that fails is written")
    options = parser.parse_args()
    if options.target:
        return fuzz(options.target, options.seconds, options.runs, options.found)
    return max(in_own_process(name, sys.argv[1:]) for name in TARGETS)


def in_own_process(name: str, options: list[str]) -> int:
    """libFuzzer ends the process that it runs in."""
    return abs(subprocess.run([sys.executable, "-m", "fuzz", name, *options], check=False).returncode)  # noqa: S603


def fuzz(name: str, seconds: int, runs: int, found: Path) -> int:
    target = TARGETS[name]
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / f"{number:04}").write_bytes(seed)
        atheris.Setup(
            [
                f"fuzz {name}",
                f"-max_total_time={seconds}",
                f"-runs={runs}",
                f"-max_len={MAX_LENGTH}",
                f"-artifact_prefix={found}/{name}-",
                "-timeout=10",
                corpus,
            ],
            target.check,
            enable_python_coverage=True,
        )
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
