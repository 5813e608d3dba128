"""The clock that what is kept is counted on."""

import time


def elapsed() -> float:
    """Seconds since some moment: nobody sets it, and it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
