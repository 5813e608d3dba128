"""Key versions ready for use: unwrapped when first needed, kept in this process's memory only."""

from dataclasses import dataclass

from kms.crypto.aead import AeadKey
from kms.crypto.ciphertext import DeviceVersionCipher, VersionCipher
from kms.crypto.device.device import Device
from kms.crypto.device.keys import DeviceAeadKey, DeviceKey, load_in_device
from kms.crypto.key_handle import KeyHandle, load, load_public
from kms.model.algorithms import ALGORITHMS
from kms.model.device_handle import DeviceHandle
from kms.model.names import KeyVersionName
from kms.model.records import KeyVersionRecord
from kms.services.keyring import Keyring
from kms.services.loaded_keys import LoadedKeys

MAX_HANDLES = 20_000


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key version ready for use; `cipher` makes and opens self-describing ciphertexts, if it is AES.

    `text` is its name, as answers say it.
    """

    name: KeyVersionName
    text: str
    handle: KeyHandle | DeviceKey
    cipher: VersionCipher | DeviceVersionCipher | None

    @property
    def is_in_device(self) -> bool:
        return isinstance(self.handle, DeviceKey)


class KeyHandles:
    """Safe for calls from several threads. `device` None: there is none."""

    def __init__(self, keyring: Keyring, device: Device | None = None) -> None:
        self._keyring = keyring
        self._device = device
        self._handles: LoadedKeys[KeyVersionName, tuple[bytes, KeyUse]] = LoadedKeys(MAX_HANDLES)

    def begin(self) -> int:
        """To be called before a record is read, and given to `get` with it."""
        return self._handles.begin()

    def get(self, name: KeyVersionName, uid: bytes, record: KeyVersionRecord, begun: int) -> KeyUse:
        """A key version, loaded at most once while its stored bytes stay what they are.

        `uid` is the key's. Above 20,000, the least recently used ones are forgotten. Raises `StoreTampered`.
        """
        material = record.wrapped_key or record.handle.encode() or record.public_key
        kept = self._handles.get(name)
        if kept is not None and kept[0] == material:
            return kept[1]
        handle = self._load(name, record)
        use = KeyUse(name, str(name), handle, _cipher(handle, name, uid))
        self._handles.keep(name, (material, use), begun)
        return use

    def forget(self, name: KeyVersionName) -> None:
        """Drop the handle of a version that is stopped or destroyed: as `LoadedKeys.forget`."""
        self._handles.forget(name)

    def _load(self, name: KeyVersionName, record: KeyVersionRecord) -> KeyHandle | DeviceKey:
        algorithm = ALGORITHMS[record.algorithm]
        if record.handle:
            return load_in_device(
                self._device, DeviceHandle.parse(record.handle), algorithm, record.public_key
            )
        if not record.wrapped_key:
            return load_public(algorithm, record.public_key)
        with self._keyring.unwrap_key_version(name, record) as material:
            return load(algorithm, material)


def _cipher(
    handle: KeyHandle | DeviceKey, name: KeyVersionName, uid: bytes
) -> VersionCipher | DeviceVersionCipher | None:
    if isinstance(handle, AeadKey):
        return VersionCipher(handle, name, uid)
    return DeviceVersionCipher(handle, name, uid) if isinstance(handle, DeviceAeadKey) else None
