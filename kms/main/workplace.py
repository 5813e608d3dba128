"""Where a store is built before it is where a server looks for it, and how it gets there.

The checkpoint file is replaced before the store is moved, so that a crash in between leaves nothing to serve.
What it replaced is kept until then: whoever begins anew finds the checkpoint file as it was.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kms.errors import ConfigError
from kms.main.configuration import STORE, Configuration
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.lock import StoreLock

# In the server's directory, which never serves from it.
RESTORING = "restoring"


@dataclass(frozen=True, slots=True)
class Workplace:
    """A directory with a store and its checkpoint."""

    directory: Path

    @classmethod
    @contextmanager
    def restoring(cls, configuration: Configuration) -> Iterator[Self]:
        """For a store that is to be served, while no server has one there. Gone at the end.

        What an interrupted restore left is undone before. Raises `ConfigError` where there is a store.
        """
        place = cls(configuration.directory / RESTORING)
        lock = StoreLock.acquire(configuration.store_path)
        try:
            _check_free(configuration.store_path)
            place._undo(configuration)
            place.directory.mkdir(mode=0o700)
            try:
                yield place
            finally:
                place._undo(configuration)
        finally:
            lock.release()

    @classmethod
    @contextmanager
    def verifying(cls, configuration: Configuration) -> Iterator[Self]:
        """For a store that nobody will serve."""
        with tempfile.TemporaryDirectory(prefix="verifying-", dir=configuration.directory) as directory:
            yield cls(Path(directory))

    @property
    def store(self) -> Path:
        return self.directory / STORE

    @property
    def outside(self) -> CheckpointFile:
        """What is the outside checkpoint of the store here."""
        return CheckpointFile(self.directory / "checkpoint")

    def publish(self, configuration: Configuration) -> None:
        """Put the store, and its checkpoint, where a server looks for them. Raises `OSError`."""
        signed, outside = self.outside.read(), CheckpointFile(configuration.checkpoint_file)
        if signed is None or self.store.with_name(f"{STORE}-wal").exists():
            raise ConfigError("the restored store was not closed well; restore it again")
        outside.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = outside.read()
        if before is not None:
            self._replaced.write(before)
        outside.write(signed)
        self.store.rename(configuration.store_path)
        _sync(configuration.directory)

    @property
    def _replaced(self) -> CheckpointFile:
        return CheckpointFile(self.directory / "replaced")

    def _undo(self, configuration: Configuration) -> None:
        """Leave nothing here, and the checkpoint file as it was unless the store is where it belongs."""
        outside = CheckpointFile(configuration.checkpoint_file)
        if self.store.exists() and _bytes(outside) == _bytes(self.outside) != b"":
            before = self._replaced.read()
            if before is None:
                outside.path.unlink()
            else:
                outside.write(before)
        shutil.rmtree(self.directory, ignore_errors=True)


def _check_free(store: Path) -> None:
    if any(store.with_name(store.name + suffix).exists() for suffix in ("", "-wal")):
        raise ConfigError(f"there is a store at {store}; nothing is restored over another one")


def _bytes(file: CheckpointFile) -> bytes:
    return file.path.read_bytes() if file.exists() else b""


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
