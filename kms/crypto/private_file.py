"""Secrets in files: read only where nobody but their owner could have written or read them."""

import os
import stat
from pathlib import Path

from kms.errors import ConfigError


def read_private(path: Path, what: str, limit: int) -> bytes:
    """The first `limit` bytes. `what` names the file in messages, as "keyfile".

    Raises `ConfigError` for a file that others may read, that belongs to another user than this one or root,
    that is a link, or that is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot open the {what} {path}: {error.strerror}") from error
    try:
        _check(os.fstat(descriptor), path, what)
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, path: Path, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"the {what} {path} is not a regular file")
    if status.st_mode & 0o077:
        raise ConfigError(f"others may read the {what} {path}; run chmod 600 on it")
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"the {what} {path} belongs to another user")
