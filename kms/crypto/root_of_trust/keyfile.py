"""The root of trust of a first run: 32 random bytes in a file of mode 0600."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from blindfold._encoding import b64url, unb64url
from blindfold.errors import Corrupt
from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust import software
from kms.crypto.root_of_trust.interface import RootKeyRecord, check_provider
from kms.errors import ConfigError

_PREFIX = "kms:v1:keyfile:"
_SIZE = 32
_MAX_FILE_SIZE = 256


class Keyfile:
    """See `interface.RootOfTrust`. The file is read at each use, never kept."""

    provider = "keyfile"

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> "Keyfile":
        """Write a new key. Raises `ConfigError` if the path is taken or cannot be written."""
        line = f"{_PREFIX}{b64url(random_bytes(_SIZE))}\n".encode()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise ConfigError(f"cannot create the keyfile {path}: {error.strerror}") from error
        return cls(path)

    @property
    def warning(self) -> str:
        return (
            f"The root of trust is the file {self._path}: development grade. Whoever copies it and the store "
            "has every key. Move to another root of trust before you keep real secrets."
        )

    def protect(self, root_key: SecretBytes, store_id: bytes) -> RootKeyRecord:
        with self._read() as key:
            return software.protect(key, root_key, store_id, self.provider, {})

    def unlock(self, record: RootKeyRecord) -> SecretBytes:
        check_provider(record, self.provider)
        with self._read() as key:
            return software.unlock(key, record)

    def _read(self) -> SecretBytes:
        """Raises `ConfigError` for a file that others may read, that is a link, or that is no keyfile."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"cannot open the keyfile {self._path}: {error.strerror}") from error
        try:
            self._check_status(os.fstat(descriptor))
            line = os.read(descriptor, _MAX_FILE_SIZE)
        finally:
            os.close(descriptor)
        try:
            text = line.decode("ascii")
            key = SecretBytes(unb64url(text.removeprefix(_PREFIX).removesuffix("\n")))
            whole = len(key) == _SIZE and text == f"{_PREFIX}{b64url(key.reveal())}\n"
        except (UnicodeDecodeError, Corrupt):
            whole = False
        if not whole:
            raise ConfigError(f"{self._path} is not a keyfile")
        return key

    def _check_status(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"the keyfile {self._path} is not a regular file")
        if status.st_mode & 0o077:
            raise ConfigError(f"others may read the keyfile {self._path}; run chmod 600 on it")
        if status.st_uid not in (os.geteuid(), 0):
            raise ConfigError(f"the keyfile {self._path} belongs to another user")
