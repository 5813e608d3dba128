"""What a command writes: a file that appears whole or not at all, or what is there and no file."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from blindfold._whole_file import whole_file
from cli.errors import UsageError

PRIVATE = 0o600
PUBLIC = 0o666


@contextmanager
def output_file(path: Path, *, mode: int) -> Iterator[BinaryIO]:
    """A binary file that takes path's place when the block ends without an error, and else is gone.

    `mode` is `PRIVATE` for secrets, or `PUBLIC`, which the umask narrows. What exists and is no regular file,
    such as /dev/null or a named pipe, is written to as it is. A symbolic link to a file is refused: the link,
    or what it points to, would be replaced unasked. Raises `UsageError`, `OSError`.
    """
    if is_special(path):
        with path.open("wb") as file:
            yield file
        return
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link", hint="Give the path that it points to.")
    with whole_file(path, mode) as file:
        yield file


def is_special(path: Path) -> bool:
    """Whether something is there that is written to as it is, and never replaced."""
    return path.exists() and not path.is_file()


def is_regular(descriptor: int) -> bool:
    """Whether an open file has a size that can be relied on."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)
