"""A passphrase as root of trust: Argon2id (RFC 9106, by libsodium), limits and salt in the record."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from blindfold.secret import SecretBytes
from kms.crypto.root_of_trust import software
from kms.crypto.root_of_trust.interface import RootKeyRecord, check_provider
from kms.errors import ConfigError, InvalidField, StoreTampered

MIN_SIZE = 12
_SALT_SIZE = argon2id.SALTBYTES
_KEY_SIZE = 32
_MAX_OPERATIONS = 64
_MAX_MEMORY = 8 << 30


@dataclass(frozen=True, slots=True)
class Argon2Limits:
    """`operations` passes over `memory` bytes."""

    operations: int
    memory: int


SENSITIVE = Argon2Limits(argon2id.OPSLIMIT_SENSITIVE, argon2id.MEMLIMIT_SENSITIVE)


class Passphrase:
    """See `interface.RootOfTrust`. `limits` are for new records; an old record states its own."""

    provider = "passphrase"
    warning = ""

    def __init__(
        self,
        passphrase: SecretBytes,
        *,
        limits: Argon2Limits = SENSITIVE,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._passphrase = passphrase
        self._limits = limits
        self._random_bytes = random_bytes

    def protect(self, root_key: SecretBytes, store_id: bytes) -> RootKeyRecord:
        """Raises `InvalidField` for a passphrase below 12 bytes, `ConfigError` without enough memory."""
        if len(self._passphrase) < MIN_SIZE:
            raise InvalidField("passphrase", f"must have at least {MIN_SIZE} bytes")
        salt = self._random_bytes(_SALT_SIZE)
        parameters = {
            "salt": salt.hex(),
            "operations": str(self._limits.operations),
            "memory": str(self._limits.memory),
        }
        with self._derive(salt, self._limits) as key:
            return software.protect(key, root_key, store_id, self.provider, parameters)

    def unlock(self, record: RootKeyRecord) -> SecretBytes:
        check_provider(record, self.provider)
        salt, limits = _parse(record)
        with self._derive(salt, limits) as key:
            return software.unlock(key, record)

    def _derive(self, salt: bytes, limits: Argon2Limits) -> SecretBytes:
        try:
            return SecretBytes(
                argon2id.kdf(
                    _KEY_SIZE,
                    self._passphrase.reveal(),
                    salt,
                    opslimit=limits.operations,
                    memlimit=limits.memory,
                )
            )
        except CryptoError:
            pass
        raise ConfigError(f"Argon2id needs {limits.memory >> 20} MiB of memory, which this machine refuses")


def _parse(record: RootKeyRecord) -> tuple[bytes, Argon2Limits]:
    """Salt and limits, inside bounds that keep a changed record from exhausting the machine."""
    try:
        salt = bytes.fromhex(record.parameters["salt"])
        limits = Argon2Limits(int(record.parameters["operations"]), int(record.parameters["memory"]))
        sound = (
            len(salt) == _SALT_SIZE
            and argon2id.OPSLIMIT_MIN <= limits.operations <= _MAX_OPERATIONS
            and argon2id.MEMLIMIT_MIN <= limits.memory <= _MAX_MEMORY
        )
    except (KeyError, ValueError):
        sound = False
    if not sound:
        raise StoreTampered("the passphrase parameters of the store are damaged")
    return salt, limits
