"""Keys that are used here instead of by the KMS: LOW keys that it exports to the identity, for a while.

A lease is an export of one key version (docs/spec/ciphertext.md, "Nonces"): it is charged to the version's
budget, and serves `USES_ELSEWHERE` encryptions at most. What it makes, the KMS decrypts, and the other way
round. The KMS neither decides nor records each use.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from blindfold.secret import SecretBytes
from kms.client.client import KmsClient
from kms.client.errors import CallFailed
from kms.client.operations import Decrypt, Decrypted, Encrypt, Encrypted
from kms.client.transfers import export_key
from kms.crypto import key_wrapping
from kms.crypto.aead import AeadKey
from kms.crypto.ciphertext import VersionCipher, parse
from kms.errors import KmsError
from kms.model.algorithms import ALGORITHMS, USES_ELSEWHERE
from kms.model.names import KeyName, KeyVersionName
from wingman.kms_connection import KmsConnection
from wingman.secret_source import REFRESH_PAUSE, nobody_there

# After an export that was refused: seconds, times 0.5 to 1.5.
PAUSE = 300.0

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Lease:
    """A key version at hand until `until`, and how often it may still encrypt."""

    cipher: VersionCipher
    uid: bytes
    until: float
    encryptions: int


class KeyLeases:
    """For one event loop. `keys` are those that may be used here, each lease for `seconds` of the clock."""

    def __init__(
        self,
        connection: KmsConnection,
        keys: Iterable[KeyName],
        seconds: float,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._keys = frozenset(keys)
        self._seconds = seconds
        self._clock = clock
        self._jitter = jitter
        self._leases: dict[KeyVersionName, Lease] = {}
        self._primaries: dict[KeyName, KeyVersionName] = {}
        self._not_before: dict[KeyVersionName, float] = {}
        self._tasks: dict[KeyVersionName, asyncio.Task[None]] = {}
        self._recipient: key_wrapping.Unwrapper | None = None

    def encrypt(self, key: KeyName, request: Encrypt) -> Encrypted | None:
        """None where the KMS has to be asked. Raises `LimitExceeded`."""
        name = self._primaries.get(key)
        lease = self._leases.get(name) if name else None
        if name is None or lease is None or not self._holds(name, lease) or not lease.encryptions:
            return None
        lease.encryptions -= 1
        return Encrypted(str(name), lease.cipher.encrypt(_bytes(request.plaintext), request.aad))

    def decrypt(self, key: KeyName, request: Decrypt) -> Decrypted | None:
        """None where the KMS has to be asked. Raises `DecryptionFailed`, `InvalidField`."""
        if key not in self._keys:
            return None
        ciphertext = parse(request.ciphertext)
        name = _version(key, ciphertext.version)
        lease = self._leases.get(name)
        if lease is None or lease.uid != ciphertext.uid or not self._holds(name, lease):
            return None
        return Decrypted(str(name), SecretBytes(lease.cipher.decrypt(ciphertext, request.aad)))

    def encrypted(self, key: KeyName, made: Encrypted) -> None:
        """The KMS did it: its version is the one that encrypts, and is asked for."""
        if key in self._keys:
            name = KeyVersionName.parse(made.name)
            self._primaries[key] = name
            self._want(name, parse(made.ciphertext).uid)

    def decrypted(self, key: KeyName, request: Decrypt, made: Decrypted) -> None:
        """The KMS did it: the version is asked for."""
        if key in self._keys:
            self._want(KeyVersionName.parse(made.name), parse(request.ciphertext).uid)

    def clear(self) -> None:
        """Drops all keys, and those on their way."""
        self._leases.clear()
        for task in self._tasks.values():
            task.cancel()

    def sweep(self) -> None:
        """Drops keys whose time is over."""
        for name, lease in list(self._leases.items()):
            self._holds(name, lease)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _holds(self, name: KeyVersionName, lease: Lease) -> bool:
        if self._clock() < lease.until:
            return True
        self._leases.pop(name, None)
        return False

    def _want(self, name: KeyVersionName, uid: bytes) -> None:
        """Have it exported in the background, unless it is at hand, under way, or was refused lately."""
        lease = self._leases.get(name)
        if lease is not None and self._holds(name, lease) and lease.encryptions:
            return
        if name in self._tasks or self._clock() < self._not_before.get(name, 0.0):
            return
        task = asyncio.create_task(self._fetch(name, uid))
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._tasks.pop(name, None))

    async def _fetch(self, name: KeyVersionName, uid: bytes) -> None:
        until = self._clock() + self._seconds
        try:
            cipher = await self._connection.ask(lambda client: self._export(client, name, uid))
        except (CallFailed, KmsError) as error:
            pause = PAUSE
            if nobody_there(error):
                pause = REFRESH_PAUSE
            else:
                _log.warning("%s is not used here: %s", name, error.message)
            self._not_before[name] = self._clock() + pause * (0.5 + self._jitter())
            return
        self._leases[name] = Lease(cipher, uid, until, USES_ELSEWHERE)
        _log.info("%s is used here for %g s", name, self._seconds)

    def _export(self, client: KmsClient, name: KeyVersionName, uid: bytes) -> VersionCipher:
        """In a worker. Raises `CallFailed`, `KmsError`."""
        if self._recipient is None:
            self._recipient = key_wrapping.Unwrapper(key_wrapping.generate().material)
        exported = export_key(client.api, name, self._recipient)
        with self._recipient.unwrap(exported.wrapped_key) as material:
            return VersionCipher(AeadKey(ALGORITHMS[exported.algorithm], material), name, uid)


def _version(key: KeyName, number: int) -> KeyVersionName:
    return KeyVersionName(key.tenant, key.namespace, key.key, number)


def _bytes(plaintext: bytes | SecretBytes) -> bytes:
    return plaintext.reveal() if isinstance(plaintext, SecretBytes) else plaintext
