"""Processor time, user and system, in seconds."""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence


def children_seconds() -> float:
    """Of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def of_program(arguments: Sequence[str]) -> float:
    """Of one run of this interpreter with those arguments, which must succeed."""
    before = children_seconds()
    subprocess.run([sys.executable, *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return children_seconds() - before


def of_process(pid: int) -> float:
    """Of a process that runs, all its threads together. Its files in /proc tell no more than hundredths."""
    # Its clock, as clock_getcpuclockid(3) names it on Linux.
    return time.clock_gettime(~pid << 3 | 2)
