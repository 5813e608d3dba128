"""A server's memory: it leaves no core file, nobody looks into it, and swapping is warned of."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from blindfold.secret import SecretBytes
from kms.main.process_memory import memory_warnings

PROTECTED = """
import ctypes, resource
from kms.crypto.private_process import protect_process_memory
protect_process_memory()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def test_process_leaves_no_core_and_is_not_dumpable() -> None:
    done = subprocess.run([sys.executable, "-c", PROTECTED], capture_output=True, text=True, check=True)
    assert done.stdout == "(0, 0) 0\n"


@pytest.fixture
def swaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as /proc/swaps, on a machine where some memory can be locked."""
    monkeypatch.setattr(resource, "getrlimit", lambda what: (8 << 20, 8 << 20))
    kept = SecretBytes(b"so that some memory is locked")
    assert len(kept)
    return tmp_path / "swaps"


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("", ""),
        ("/dev/sda2 partition 8388604 0 -2\n", "/dev/sda2"),
        ("/swapfile file 1048572 12 -2\n/dev/sda2 partition 1 0 -3\n", "/swapfile, /dev/sda2"),
        ("/dev/zram0 partition 4096 0 100\n", ""),
    ],
)
def test_swap_is_warned_of_by_name(swaps: Path, lines: str, named: str) -> None:
    swaps.write_text(HEADER + lines)
    warnings = memory_warnings(swaps)
    assert bool(warnings) == bool(named)
    assert all(f"swapped to {named}: encrypt it" in warning for warning in warnings)


def test_no_list_of_swaps_is_no_warning(swaps: Path) -> None:
    assert memory_warnings(swaps) == []


def test_a_low_limit_of_locked_memory_is_warned_of(swaps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (64 << 10, 64 << 10))
    [warning] = memory_warnings(swaps)
    assert "Only 64 KiB" in warning
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert memory_warnings(swaps) == []
