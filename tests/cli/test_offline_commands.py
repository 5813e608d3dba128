"""Sealing touches no network, imports nothing for one, costs little, and runs in constant memory."""

import json
import os
import resource
import subprocess
import sys

import pytest
from desk import ROOT, Desk, opened

FORBIDDEN = (
    "grpc",
    "ssl",
    "http",
    "urllib.request",
    "asyncio",
    "sqlite3",
    "sqlite_utils",
    "protos",
    "google",
)
MAX_CPU_SECONDS = 0.25
MAX_RESIDENT = 96 << 20

WATCHED = """
import json, sys
touched = []
sys.addaudithook(lambda event, _: touched.append(event) if event.startswith(("socket.", "urllib.")) else None)
from cli.blindfold import program
try:
    program.main(sys.argv[1:], "blindfold")
except SystemExit as end:
    print(json.dumps({"code": end.code, "touched": touched, "modules": sorted(sys.modules)}), file=sys.stderr)
"""

# Not ru_maxrss: a child begins with that of the process that started it.
PEAK = """
import sys
from pathlib import Path
from cli.blindfold import program
try:
    program.main(sys.argv[1:], "blindfold")
finally:
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    print(int(peak.split()[1]) * 1024, file=sys.stderr)
"""


def python(desk: Desk, script: str, *arguments: object) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=desk.environment, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ["seal", "inspect", "verify"])
def test_offline_command_opens_no_socket_and_imports_no_network(desk: Desk, name: str) -> None:
    desk.seal("--out", desk.path / "secret.sealed", desk.path / "secret")
    arguments = {
        "seal": [*desk.sealing, desk.path / "secret"],
        "inspect": ["inspect", desk.path / "secret.sealed"],
        "verify": ["verify", *desk.sealing[-2:], desk.path / "tenant.key"],
    }
    report = json.loads(python(desk, WATCHED, *arguments[name]).stderr)
    assert (report["code"], report["touched"]) == (0, [])
    assert not [name for name in FORBIDDEN if name in report["modules"]]


def test_help_imports_no_command(desk: Desk) -> None:
    report = json.loads(python(desk, WATCHED, "--help").stderr)
    assert not [name for name in report["modules"] if name.startswith(("cli.offline.", "blindfold"))]


def test_cold_seal_of_4_kib_costs_a_quarter_second_of_cpu_or_less(desk: Desk) -> None:
    desk.file("small", os.urandom(4096))

    def cost() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert opened(desk.process(*desk.sealing, desk.path / "small").stdout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cost() for _ in range(3)) <= MAX_CPU_SECONDS


def test_large_file_is_sealed_and_inspected_in_constant_memory(desk: Desk) -> None:
    big, sealed = desk.path / "big", desk.path / "big.sealed"
    with big.open("wb") as file:
        file.truncate(200 << 20)
    for arguments in ([*desk.sealing, "--out", sealed, big], ["inspect", sealed]):
        result = python(desk, PEAK, *arguments)
        assert result.returncode == 0
        assert int(result.stderr.splitlines()[-1]) < MAX_RESIDENT
