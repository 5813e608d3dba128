"""A process that holds keys: no core files, no look from outside."""

import ctypes
import resource

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4


def protect_process_memory() -> None:
    """No core files, which would hold every key; and where Linux can, nobody but root attaches a debugger."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
