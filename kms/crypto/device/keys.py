"""Keys in a device, ready for use. What they are asked is put off as `Pending`, to be asked in batches.

They give what keys in memory give, byte for byte (`docs/spec/ciphertext.md`); the public halves of RSA keys
are here, and work as all public keys do.
"""

import hmac
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from kms.crypto import rsa_keys
from kms.crypto.aead import NONCE_SIZE, TAG_SIZE, RawCiphertext, check_aad, check_plaintext, check_raw
from kms.crypto.device.device import Device
from kms.crypto.device.messages import Item, Operation
from kms.crypto.loaded_key import LoadedKey
from kms.crypto.mac import MAC_SIZE
from kms.crypto.rsa_keys import parse_public
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.errors import DeviceAbsent, DeviceFailed, KmsError, MacInvalid, SignatureInvalid
from kms.model.algorithms import Algorithm, Family
from kms.model.device_handle import DeviceHandle

T = TypeVar("T")
R = TypeVar("R")


class Place(NamedTuple):
    """A key in a device, and what it is asked to do."""

    device: Device
    handle: DeviceHandle
    operation: Operation
    algorithm: str


class Pending(NamedTuple, Generic[T]):
    """What a key is still to be asked, and what is made of its answer. `finish` may raise `KmsError`."""

    place: Place
    item: Item
    finish: Callable[[bytes], T]

    def then(self, more: Callable[[T], R]) -> "Pending[R]":
        return Pending(self.place, self.item, lambda answer: more(self.finish(answer)))


def ask_all(pending: Sequence[Pending[T]]) -> list[T | KmsError]:
    """The results, in order. It waits for the device, which has workers for that."""
    places: defaultdict[Place, list[int]] = defaultdict(list)
    for number, one in enumerate(pending):
        places[one.place].append(number)
    results: dict[int, T | KmsError] = {}
    for place, numbers in places.items():
        items = [pending[number].item for number in numbers]
        answers = zip(numbers, _ask(place, items), strict=True)
        done = [_finished(pending[number].finish, answer) for number, answer in answers]
        results.update(zip(numbers, done, strict=True))
    return [results[number] for number in range(len(pending))]


def _ask(place: Place, items: Sequence[Item]) -> Sequence[bytes | KmsError]:
    try:
        return place.device.use(place.handle, place.operation, place.algorithm, items)
    except KmsError as error:
        return [error] * len(items)


def _finished(finish: Callable[[bytes], T], answer: bytes | KmsError) -> T | KmsError:
    try:
        if isinstance(answer, KmsError):
            raise answer
        return finish(answer)
    except KmsError as error:
        return error


class _Asked:
    """The part of a key in a device that is the same for all families."""

    __slots__ = ("_algorithm_name", "_device", "_handle")

    def __init__(self, device: Device | None, handle: DeviceHandle, algorithm: Algorithm) -> None:
        self._device = device
        self._handle = handle
        self._algorithm_name = algorithm.name

    def __call__(self, operation: Operation, item: Item) -> Pending[bytes]:
        """Raises `DeviceAbsent`."""
        if self._device is None:
            raise DeviceAbsent(f"the key version is in the device {self._handle}, which is not connected")
        return Pending(Place(self._device, self._handle, operation, self._algorithm_name), item, bytes)


class DeviceAeadKey(LoadedKey):
    """As `AeadKey`."""

    __slots__ = ("_ask",)

    def __init__(self, algorithm: Algorithm, ask: _Asked) -> None:
        super().__init__(algorithm)
        self._ask = ask

    def seal(self, nonce: bytes, plaintext: bytes, aad: bytes) -> Pending[bytes]:
        """Ciphertext || tag. What has another length raises `DeviceFailed`."""
        size = len(plaintext) + TAG_SIZE
        return self._ask(Operation.SEAL, Item(plaintext, aad, nonce)).then(lambda made: _sized(made, size))

    def unseal(self, nonce: bytes, ciphertext_and_tag: bytes, aad: bytes) -> Pending[bytes]:
        return self._ask(Operation.UNSEAL, Item(ciphertext_and_tag, aad, nonce))

    def raw_encrypt(self, plaintext: bytes, aad: bytes = b"") -> Pending[RawCiphertext]:
        """Raises `LimitExceeded`."""
        check_plaintext(plaintext)
        check_aad(aad)
        nonce = os.urandom(NONCE_SIZE)
        return self.seal(nonce, plaintext, aad).then(
            lambda made: RawCiphertext(nonce, made[:-TAG_SIZE], made[-TAG_SIZE:])
        )

    def raw_decrypt(self, nonce: bytes, ciphertext: bytes, tag: bytes, aad: bytes = b"") -> Pending[bytes]:
        """Raises as `AeadKey.raw_decrypt`."""
        check_raw(nonce, ciphertext, tag, aad)
        return self.unseal(nonce, ciphertext + tag, aad)


class DeviceMacKey(LoadedKey):
    """As `MacKey`."""

    __slots__ = ("_ask",)

    def __init__(self, algorithm: Algorithm, ask: _Asked) -> None:
        super().__init__(algorithm)
        self._ask = ask

    def mac(self, message: bytes) -> Pending[bytes]:
        """Raises `LimitExceeded`."""
        check_plaintext(message, "message")
        return self._ask(Operation.MAC, Item(message)).then(lambda made: _sized(made, MAC_SIZE))

    def verify(self, message: bytes, mac: bytes) -> Pending[bytes]:
        """The message, if the code is its own: the device makes it again. Raises `LimitExceeded`."""

        def compare(made: bytes) -> bytes:
            if not hmac.compare_digest(made, mac):
                raise MacInvalid
            return message

        return self.mac(message).then(compare)


class DevicePssKey(PssKey):
    """A `PssKey` whose private half is asked by `begin_sign` and `begin_sign_digest`."""

    __slots__ = ("_ask",)

    def __init__(self, algorithm: Algorithm, ask: _Asked, spki: bytes) -> None:
        super().__init__(algorithm, parse_public(spki, [algorithm.key_bits], "public_key"), None)
        self._ask = ask

    def begin_sign(self, message: bytes) -> Pending[bytes]:
        """The device signs the digest, which is made here. Raises `LimitExceeded`."""
        check_plaintext(message, "message")
        return self.begin_sign_digest(rsa_keys.digest(self.algorithm, message))

    def begin_sign_digest(self, digest: bytes) -> Pending[bytes]:
        """Raises `InvalidField`. What does not verify raises `DeviceFailed`, and is given to nobody."""
        self.check_digest(digest)

        def verify(made: bytes) -> bytes:
            try:
                self.verify_digest(digest, made)
            except SignatureInvalid:
                pass
            else:
                return made
            raise DeviceFailed("the device made a signature that does not verify")

        return self._ask(Operation.SIGN, Item(digest)).then(verify)


class DeviceOaepKey(OaepKey):
    """An `OaepKey` whose private half is asked by `begin_decrypt`."""

    __slots__ = ("_ask",)

    def __init__(self, algorithm: Algorithm, ask: _Asked, spki: bytes) -> None:
        super().__init__(algorithm, parse_public(spki, [algorithm.key_bits], "public_key"), None)
        self._ask = ask

    def begin_decrypt(self, ciphertext: bytes, label: bytes = b"") -> Pending[bytes]:
        """Raises `InvalidField`, `LimitExceeded`. The padding is the device's to check, never ours."""
        self.check_ciphertext(ciphertext, label)
        return self._ask(Operation.DECRYPT, Item(ciphertext, label))


def _sized(made: bytes, size: int) -> bytes:
    if len(made) != size:
        raise DeviceFailed("the device made a result of a wrong length")
    return made


DeviceKey = DeviceAeadKey | DeviceMacKey | DevicePssKey | DeviceOaepKey
_KEYS: Mapping[Family, Callable[[Algorithm, _Asked, bytes], DeviceKey]] = MappingProxyType(
    {
        Family.AES_GCM: lambda algorithm, ask, _: DeviceAeadKey(algorithm, ask),
        Family.HMAC: lambda algorithm, ask, _: DeviceMacKey(algorithm, ask),
        Family.RSA_PSS: DevicePssKey,
        Family.RSA_OAEP: DeviceOaepKey,
    }
)


def load_in_device(
    device: Device | None, handle: DeviceHandle, algorithm: Algorithm, spki: bytes
) -> DeviceKey:
    """The key version's key, ready to be asked; nothing is asked yet.

    Without a device, all that needs the secret half raises `DeviceAbsent`.
    """
    return _KEYS[algorithm.family](algorithm, _Asked(device, handle, algorithm), spki)
