"""Keys that are used here instead of by the KMS: LOW keys that it exports to the identity, for a while.

A lease that is used is renewed before it ends, and serves meanwhile. It is an export of one key version
(docs/spec/ciphertext.md, "Nonces"): it is charged to the version's budget, and serves `USES_ELSEWHERE`
encryptions at most. What it makes, the KMS decrypts, and the other way round. The KMS neither decides nor
records each use.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
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
from wingman.secret_source import REFRESH_AFTER, REFRESH_PAUSE, nobody_there

# After an export that was refused: seconds, times 0.5 to 1.5.
PAUSE = 300.0
# A lease is due at two thirds of its time, or earlier by up to this part of it, so that many that began
# together are not renewed together; and when this part of its encryptions is left.
SPREAD = 1 / 15
LEFT = 1 / 16

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Lease:
    """A key version at hand until `until`, to be renewed from `due` on, and how often it may encrypt."""

    cipher: VersionCipher
    uid: bytes
    until: float
    due: float
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
        made = Encrypted(str(name), lease.cipher.encrypt(_bytes(request.plaintext), request.aad))
        if self._is_due(lease):
            self._renew(key, name, lease, request.aad)
        return made

    def decrypt(self, key: KeyName, request: Decrypt) -> Decrypted | None:
        """None where the KMS has to be asked. Raises `DecryptionFailed`, `InvalidField`."""
        if key not in self._keys:
            return None
        ciphertext = parse(request.ciphertext)
        name = _version(key, ciphertext.version)
        lease = self._leases.get(name)
        if lease is None or lease.uid != ciphertext.uid or not self._holds(name, lease):
            return None
        made = Decrypted(str(name), SecretBytes(lease.cipher.decrypt(ciphertext, request.aad)))
        if self._is_due(lease):
            self._renew(key, name, lease, request.aad)
        return made

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
        self._primaries.clear()
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
        """Which version encrypts is known for as long as a lease of it."""
        if self._clock() < lease.until:
            return True
        self._leases.pop(name, None)
        if self._primaries.get(name.key_name) == name:
            del self._primaries[name.key_name]
        return False

    def _is_due(self, lease: Lease) -> bool:
        return self._clock() >= lease.due or lease.encryptions <= USES_ELSEWHERE * LEFT

    def _want(self, name: KeyVersionName, uid: bytes) -> None:
        """Have it exported, unless it is at hand."""
        lease = self._leases.get(name)
        if lease is None or not self._holds(name, lease) or self._is_due(lease):
            self._start(name, lambda: self._fetch(name, uid))

    def _renew(self, key: KeyName, name: KeyVersionName, lease: Lease, aad: bytes) -> None:
        if self._primaries.get(key) == name:
            self._start(name, lambda: self._renew_primary(name, aad))
        else:
            self._start(name, lambda: self._fetch(name, lease.uid))

    def _start(self, name: KeyVersionName, act: Callable[[], Awaitable[None]]) -> None:
        """In the background, unless something is under way for that version, or was refused lately."""
        if name in self._tasks or self._clock() < self._not_before.get(name, 0.0):
            return
        task = asyncio.create_task(self._attempt(name, act))
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._tasks.pop(name, None))

    async def _attempt(self, name: KeyVersionName, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except (CallFailed, KmsError) as error:
            pause = PAUSE
            if nobody_there(error):
                pause = REFRESH_PAUSE
            else:
                _log.warning("no lease of %s: %s", name, error.message)
            self._not_before[name] = self._clock() + pause * (0.5 + self._jitter())

    async def _renew_primary(self, name: KeyVersionName, aad: bytes) -> None:
        """Have the KMS encrypt nothing, which tells whether another version does so by now.

        Raises `CallFailed`, `KmsError`.
        """
        key = name.key_name
        made = await self._connection.ask(lambda client: client.run(str(key), Encrypt(b"", aad)))
        if made.name == str(name):
            await self._fetch(name, parse(made.ciphertext).uid)
        else:
            self.encrypted(key, made)

    async def _fetch(self, name: KeyVersionName, uid: bytes) -> None:
        """Raises `CallFailed`, `KmsError`."""
        since = self._clock()
        cipher = await self._connection.ask(lambda client: self._export(client, name, uid))
        due = since + self._seconds * (REFRESH_AFTER - SPREAD * self._jitter())
        self._leases[name] = Lease(cipher, uid, since + self._seconds, due, USES_ELSEWHERE)
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
