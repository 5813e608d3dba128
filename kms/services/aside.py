"""Unnamed files that a backup is written to before it is sent."""

import hashlib
import tempfile
from collections.abc import Awaitable, Callable
from typing import BinaryIO

from kms.errors import Unavailable


class Aside:
    """A file that is written from its beginning, and hashed as it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def append(self, piece: bytes) -> None:
        """Raises `Unavailable` where the disk is full."""
        self._digest.update(piece)
        try:
            self._file.write(piece)
            return
        except OSError as error:
            reason = error.strerror
        raise Unavailable(f"a backup cannot be written aside: {reason}")

    def finish(self) -> bytes:
        """Go back to the beginning. The SHA-256 of all that was written."""
        self._file.seek(0)
        return self._digest.digest()


async def written_aside(write: Callable[[Aside], Awaitable[None]]) -> BinaryIO:
    """What was written, at its beginning, for the caller to close."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        await write(Aside(file))
    except BaseException:
        file.close()
        raise
    return file
