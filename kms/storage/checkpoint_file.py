"""The checkpoint kept outside the store: one line, replaced whole, durable when `write` returns."""

import os
from pathlib import Path

from kms.model.chain import Malformed, SignedCheckpoint
from kms.storage.spare_files import spare_files

_MAX_SIZE = 4096


class CheckpointFile:
    """The file at a path that is best on another file system than the store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def read(self) -> SignedCheckpoint | None:
        """What is in the file, its signature unverified; None without a file.

        Raises `Malformed` for a file that `write` did not write, and `OSError`.
        """
        try:
            with self.path.open("rb") as file:
                line = file.read(_MAX_SIZE + 1)
        except FileNotFoundError:
            return None
        if not line.endswith(b"\n"):
            raise Malformed("not one line")
        return SignedCheckpoint.parse(line[:-1])

    def write(self, signed: SignedCheckpoint) -> None:
        """Replace the file: after a crash it holds the old line or the new one. Raises `OSError`."""
        new = self.path.with_name(self.path.name + ".new")
        with spare_files():
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._write(new, signed)
            new.replace(self.path)
            os.fsync(directory)
        finally:
            os.close(directory)

    def _write(self, new: Path, signed: SignedCheckpoint) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with spare_files():
            descriptor = os.open(new, flags, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(signed.to_line() + b"\n")
            file.flush()
            os.fsync(file.fileno())
