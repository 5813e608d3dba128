"""Renewing the credentials of a directory, which several processes may use: one of them at a time does it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kms.client.api import Api
from kms.client.channel import open_channel
from kms.client.credentials import Credentials, read_credentials
from kms.client.enrolment import renew


def renew_now(server: str, directory: Path, server_name: str | None = None) -> Credentials:
    """Raises as `kms.client.enrolment.renew`."""
    with locked(directory, fcntl.LOCK_EX):
        return _renew(server, directory, server_name)


def renew_if(
    is_due: Callable[[Credentials], bool], server: str, directory: Path, server_name: str | None = None
) -> None:
    """Renew unless another process does, or has just done it. Raises as `renew_now`."""
    with suppress(BlockingIOError), locked(directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
        if is_due(read_credentials(directory)):
            _renew(server, directory, server_name)


def _renew(server: str, directory: Path, server_name: str | None) -> Credentials:
    with open_channel(server, directory, server_name) as channel:
        return renew(Api(channel), directory)


@contextmanager
def locked(directory: Path, operation: int) -> Iterator[None]:
    """One process at a time: two that write would mix one's key with the other's certificate."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)
