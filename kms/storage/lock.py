"""One process per store: an exclusive `flock` on a file beside it, released when the process ends."""

import fcntl
import os
from pathlib import Path
from typing import Self

from kms.errors import ConfigError


class StoreLock:
    """Holds the lock from `acquire` to `release`. A network file system may not honour it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, store: Path) -> Self:
        """Raises `ConfigError` if another process, or another store object of this one, holds it."""
        path = store.with_name(store.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot open the lock {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            taken = True
        else:
            taken = False
        if taken:
            raise ConfigError(f"{store} is in use by another server; stop that one first")
        return cls(descriptor)

    def release(self) -> None:
        """Safe to call again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
