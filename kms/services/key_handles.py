"""Key versions ready for use: unwrapped when first needed, kept in this process's memory only."""

import threading
from collections import OrderedDict

from kms.crypto.key_handle import KeyHandle, load, load_public
from kms.model.algorithms import ALGORITHMS
from kms.model.names import KeyVersionName
from kms.model.records import KeyVersionRecord
from kms.services.keyring import Keyring

MAX_HANDLES = 20_000


class KeyHandles:
    """Safe for calls from several threads."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._handles: OrderedDict[KeyVersionName, KeyHandle] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: KeyVersionName, record: KeyVersionRecord) -> KeyHandle:
        """The handle of a key version. Above 20,000, the least recently used ones are forgotten."""
        with self._lock:
            handle = self._handles.get(name)
            if handle is not None:
                self._handles.move_to_end(name)
                return handle
        handle = self._load(name, record)
        with self._lock:
            handle = self._handles.setdefault(name, handle)
            while len(self._handles) > MAX_HANDLES:
                self._handles.popitem(last=False)
        return handle

    def forget(self, name: KeyVersionName) -> None:
        """Drop the handle of a version that was stopped or destroyed."""
        with self._lock:
            self._handles.pop(name, None)

    def _load(self, name: KeyVersionName, record: KeyVersionRecord) -> KeyHandle:
        algorithm = ALGORITHMS[record.algorithm]
        if not record.wrapped_key:
            return load_public(algorithm, record.public_key)
        with self._keyring.unwrap_key_version(name, record) as material:
            return load(algorithm, material)
