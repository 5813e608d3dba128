"""A directory of files that only whoever is meant to can read, each there whole or not at all."""

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from kms.errors import ConfigError
from wingman.errors import FileNotWritten

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_MOUNTS = Path("/proc/self/mountinfo")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What `write` puts a secret into before it has its name.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}", re.ASCII)


class SecretDirectory:
    """Files have `mode`, and belong to `group`, -1 for the process's own. For one thread at a time."""

    def __init__(self, path: Path, mode: int, group: int = -1) -> None:
        self.path = path
        self._mode = mode
        self._group = group

    def prepare(self, *, require_memory: bool) -> str:
        """Make the directory if there is none, and return a warning, or "" where all is well.

        What a process left half written that was killed, which is of secrets too, is removed.
        Raises `ConfigError` for what is no directory, or one that others may write to, and for one on a disk
        where `require_memory`.
        """
        try:
            self.path.mkdir(mode=0o750 if self._mode & 0o040 else 0o700, parents=True, exist_ok=True)
            if self._group != -1:
                os.chown(self.path, -1, self._group)
            found = self.path.lstat()
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror or 'cannot be made'}") from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise ConfigError(
                f"{self.path} must be a directory of Wingman's own user, and writable for no other"
            )
        with suppress(OSError):
            for left in filter(lambda path: _TEMPORARY.fullmatch(path.name), self.path.iterdir()):
                left.unlink()
        kind = file_system(found.st_dev)
        if kind in IN_MEMORY:
            return ""
        problem = (
            f"{self.path} is on {kind or 'a disk'}, where deleted secrets stay readable; mount a tmpfs there"
        )
        if require_memory:
            raise ConfigError(problem)
        return problem

    def write(self, name: str, content: bytes) -> bool:
        """Whether the file has changed. Raises `FileNotWritten`; what was there before then still is."""
        try:
            directory = os.open(self.path, _DIRECTORY)
            try:
                return self._write(directory, name, content)
            finally:
                os.close(directory)
        except OSError as error:
            problem = error.strerror or type(error).__name__
        raise FileNotWritten(f"{self.path / name}: {problem}")

    def _write(self, directory: int, name: str, content: bytes) -> bool:
        if self._is_there(directory, name, content):
            return False
        temporary = f".{name}.{secrets.token_hex(8)}"
        try:
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory
            )
            with os.fdopen(descriptor, "wb") as file:
                if self._group != -1:
                    os.fchown(descriptor, -1, self._group)
                os.fchmod(descriptor, self._mode)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        return True

    def _is_there(self, directory: int, name: str, content: bytes) -> bool:
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
            )
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            is_ours = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == self._mode
            is_theirs = self._group in (-1, found.st_gid)
            return is_ours and is_theirs and found.st_size == len(content) and file.read() == content


def file_system(device: int) -> str:
    """The type of the mounted file system with that device number, "" if it is not told (proc(5))."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        mount, _, after = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return after.split(" ", 1)[0]
    return ""
