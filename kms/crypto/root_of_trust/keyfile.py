"""The root of trust of a first run: 32 random bytes in a file of mode 0600."""

import os
from collections.abc import Callable
from pathlib import Path

from blindfold._encoding import b64url, unb64url
from blindfold.errors import Corrupt
from blindfold.secret import SecretBytes
from kms.crypto.private_file import read_private
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
        line = read_private(self._path, "keyfile", _MAX_FILE_SIZE)
        try:
            text = line.decode("ascii")
            key = SecretBytes(unb64url(text.removeprefix(_PREFIX).removesuffix("\n")))
            whole = len(key) == _SIZE and text == f"{_PREFIX}{b64url(key.reveal())}\n"
        except (UnicodeDecodeError, Corrupt):
            whole = False
        if not whole:
            raise ConfigError(f"{self._path} is not a keyfile")
        return key
