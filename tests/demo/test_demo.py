"""The demo holds, and its search can fail."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo import search

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "end"), [("demo", "demo: ok"), ("demo.vault", "demo-vault: ok")])
def test_demo_ends_with_ok(module: str, end: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": "tests"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == end


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_search_finds_a_secret_in_each_encoding(before: bytes) -> None:
    value = bytes(range(7, 71))
    needle = [search.needle("value", value)]
    number = int.from_bytes(value, "big")
    for block in (
        value,
        value[::-1],
        value.hex().encode(),
        base64.b64encode(before + value + b"after"),
        base64.urlsafe_b64encode(before + value + b"after"),
        number.to_bytes(64, "little"),
        search.python_digits(value),
    ):
        assert search.found(needle, [b"noise" + block + b"noise"]) == {"value"}
    assert search.found(needle, [b"noise" * 100, bytes(100)]) == set()


def test_search_finds_what_lies_in_a_process_s_memory() -> None:
    program = "import sys; held = bytes.fromhex(sys.stdin.readline()); print(len(held), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        value = bytes(range(100, 164))
        process.stdin.write(value.hex().encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"64\n"
        assert search.found([search.needle("held", value)], search.memory(process.pid)) == {"held"}
        absent = [search.needle("absent", value[::-2])]
        assert search.found(absent, search.memory(process.pid)) == set()
        process.stdin.write(b"\n")
