"""A key inside a PKCS 11 token as root of trust: AES-256, generated there, and never outside."""

import os
from collections.abc import Callable

from blindfold._encoding import lp
from blindfold.secret import SecretBytes
from kms.crypto.aead import NONCE_SIZE
from kms.crypto.device.device import Device
from kms.crypto.device.messages import Item, Operation
from kms.crypto.root_of_trust.interface import RootKeyRecord, WrongRootMaterial, check_provider
from kms.crypto.wrapping import FORMAT, TAG_SIZE, UnwrapFailed
from kms.errors import DecryptionFailed, DeviceAbsent, KmsError, StoreTampered
from kms.model.algorithms import ALGORITHMS
from kms.model.device_handle import ID_SIZE, DeviceHandle

LABEL = "kms root of trust"
_ALGORITHM = ALGORITHMS["AES_256_GCM"]


class Pkcs11:
    """See `interface.RootOfTrust`. Each record has a key of its own in the token, which `check` names.

    A key is left in the token when another takes its place: backups and older copies of the store need it.
    """

    provider = "pkcs11"
    warning = ""

    def __init__(self, device: Device, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._device = device
        self._random_bytes = random_bytes

    def protect(self, root_key: SecretBytes, store_id: bytes) -> RootKeyRecord:
        """Raises `DeviceUnavailable`, `DeviceLacksAlgorithm`, `DeviceFailed`."""
        made = self._device.generate(_ALGORITHM, self._random_bytes(ID_SIZE), LABEL)
        nonce = self._random_bytes(NONCE_SIZE)
        body = self._use(made.handle, Operation.SEAL, Item(root_key.reveal(), _aad(store_id), nonce))
        parameters = {"serial": made.handle.serial}
        return RootKeyRecord(store_id, self.provider, FORMAT + nonce + body, made.handle.id, parameters)

    def unlock(self, record: RootKeyRecord) -> SecretBytes:
        """Raises `DeviceUnavailable`, `DeviceFailed` besides."""
        check_provider(record, self.provider)
        handle = _handle(record)
        if record.wrapped[:1] != FORMAT or len(record.wrapped) < len(FORMAT) + NONCE_SIZE + TAG_SIZE:
            raise UnwrapFailed
        nonce, body = record.wrapped[1 : 1 + NONCE_SIZE], record.wrapped[1 + NONCE_SIZE :]
        try:
            return SecretBytes(self._use(handle, Operation.UNSEAL, Item(body, _aad(record.store_id), nonce)))
        except DeviceAbsent as error:
            problem: KmsError = WrongRootMaterial(
                f"the root key of this store is protected by {handle}: {error.message}"
            )
        except DecryptionFailed:
            problem = UnwrapFailed()
        raise problem

    def _use(self, handle: DeviceHandle, operation: Operation, item: Item) -> bytes:
        [result] = self._device.use(handle, operation, _ALGORITHM.name, [item])
        if isinstance(result, KmsError):
            raise result
        return result


def _handle(record: RootKeyRecord) -> DeviceHandle:
    try:
        return DeviceHandle(record.parameters["serial"], record.check)
    except (KeyError, ValueError):
        pass
    raise StoreTampered("the parameters of the device in the store are damaged")


def _aad(store_id: bytes) -> bytes:
    """What the wrapping binds: its purpose, and the store."""
    return b"kms/v1 root key in a device" + lp(store_id)
