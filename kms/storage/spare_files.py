"""Files for the store that connections cannot use up: each connection, whoever opens it, is an open file too.

The system limits all that a process has open. That limit is set some below what it may be, and lifted for the
moment in which the store opens a file.
"""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

RESERVED = 16
# A connection takes 45 KiB and more, so these bound the memory, too.
MOST = 1 << 16

_lifting = threading.Lock()


def reserve_files() -> None:
    """Let this process open as many files as it may, 65,536 at most, but for those kept for the store."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most - RESERVED, 1), hard))


@contextmanager
def spare_files() -> Iterator[None]:
    """For the moment of opening a file only: meanwhile connections may take the place, too."""
    with _lifting:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
