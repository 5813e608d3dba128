"""What keys are used for. Every method takes the items of one call and gives a result for each.

An operation's path is `Operations`; here is only what each one does with a key version. What every item of a
batch is made into is a tuple: it costs half of what a frozen dataclass does.
"""

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from kms.crypto import ciphertext as envelope
from kms.crypto.aead import AeadKey, RawCiphertext, split_raw
from kms.crypto.ciphertext import DeviceVersionCipher, VersionCipher
from kms.crypto.device.keys import DeviceAeadKey, DeviceMacKey, DeviceOaepKey, DevicePssKey, Pending
from kms.crypto.key_handle import expect
from kms.crypto.mac import MacKey
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.errors import InvalidField, KmsError, WrongState
from kms.model.algorithms import Algorithm, Purpose
from kms.model.names import KeyName, KeyVersionName
from kms.services.call import Call
from kms.services.key_handles import KeyUse
from kms.services.operations import Item, Operation, Operations

T = TypeVar("T")
R = TypeVar("R")
# What a key gives at once, or a device later. Named, as functions that are made for each item would build it.
Bytes: TypeAlias = bytes | Pending[bytes]
Act: TypeAlias = Callable[[KeyUse], Bytes]

DATA_KEY_SIZES = (16, 32, 64)


def _operation(name: str, action: str, *purposes: Purpose, **more: Any) -> Operation:
    return Operation(name, action, frozenset(purposes), **more)


_CIPHER, _RAW = Purpose.ENCRYPT_DECRYPT, Purpose.RAW_ENCRYPT_DECRYPT
_OAEP, _PSS, _MAC = Purpose.ASYMMETRIC_DECRYPT, Purpose.ASYMMETRIC_SIGN, Purpose.MAC

ENCRYPT = _operation("ENCRYPT", "Encrypt", _CIPHER, is_new=True, draws_nonce=True)
DECRYPT = _operation("DECRYPT", "Decrypt", _CIPHER, is_new=False)
REENCRYPT_FROM = _operation(
    *("REENCRYPT_FROM", "ReEncrypt", _CIPHER),
    is_new=False,
    is_named=True,
    unless="; of a raw ciphertext, name the version",
)
REENCRYPT_RAW_FROM = _operation(
    *("REENCRYPT_FROM", "ReEncrypt", _RAW),
    is_new=False,
    is_named=True,
    unless=" of a version: its ciphertexts say theirs",
)
REENCRYPT_TO = _operation("REENCRYPT_TO", "ReEncrypt", _CIPHER, is_new=True, draws_nonce=True, is_named=True)
DATA_KEY = _operation("GENERATE_DATA_KEY", "GenerateDataKey", _CIPHER, is_new=True, draws_nonce=True)
RAW_ENCRYPT = _operation("RAW_ENCRYPT", "RawEncrypt", _RAW, is_new=True, draws_nonce=True)
RAW_DECRYPT = _operation("RAW_DECRYPT", "RawDecrypt", _RAW, is_new=False)
ASYMMETRIC_ENCRYPT = _operation("ENCRYPT", "AsymmetricEncrypt", _OAEP, is_new=True, many_in_worker=True)
ASYMMETRIC_DECRYPT = _operation("DECRYPT", "AsymmetricDecrypt", _OAEP, is_new=False, in_worker=True)
SIGN = _operation("SIGN", "Sign", _PSS, is_new=True, in_worker=True)
VERIFY = _operation("VERIFY", "Verify", _PSS, is_new=False, many_in_worker=True)
MAC = _operation("MAC", "Mac", _MAC, is_new=True)
MAC_VERIFY = _operation("MAC_VERIFY", "MacVerify", _MAC, is_new=False)
GET_PUBLIC_KEY = _operation("GET_PUBLIC_KEY", "GetPublicKey", _OAEP, _PSS, is_new=False)


class Made(NamedTuple):
    """What an operation made, and the key version that made it."""

    name: KeyVersionName
    data: bytes


class DataKey(NamedTuple):
    """A fresh key, encrypted; in clear too if it was asked for."""

    name: KeyVersionName
    ciphertext: bytes
    plaintext: bytes


class Raw(NamedTuple):
    """A raw ciphertext and the key version that made it."""

    name: KeyVersionName
    value: RawCiphertext


class PublicKey(NamedTuple):
    """The public half of a key version, an SPKI in DER."""

    name: KeyVersionName
    algorithm: Algorithm
    spki: bytes


class Plain(NamedTuple):
    """To encrypt: with AES, `aad` is bound to it; with OAEP it is the label, and `version` may be named."""

    plaintext: bytes
    aad: bytes = b""
    version: int = 0


class Sealed(NamedTuple):
    """To decrypt. An AES ciphertext names its version itself; for OAEP 0 is the primary.

    With a version, an AES ciphertext is a raw one, to be moved: nonce || ciphertext || tag.
    """

    ciphertext: bytes
    aad: bytes = b""
    version: int = 0
    allow_compromised: bool = False


class RawSealed(NamedTuple):
    """To decrypt with a raw key; `version` 0 is the primary."""

    value: RawCiphertext
    aad: bytes = b""
    version: int = 0
    allow_compromised: bool = False


class Message(NamedTuple):
    """To sign, or to make or verify a code or signature of; `is_digest`: `data` is the digest already.

    `proof` is the signature or code to verify, empty where one is to be made.
    """

    data: bytes
    is_digest: bool = False
    proof: bytes = b""
    version: int = 0
    allow_compromised: bool = False


Results = list[T | KmsError]
_Made: TypeAlias = Made | Pending[Made]
_DataKey: TypeAlias = DataKey | Pending[DataKey]
_Raw: TypeAlias = Raw | Pending[Raw]


class Cryptography:
    """Calls with 1 to 1,000 items. An item's failure is its result; the call's own is raised."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def encrypt(self, call: Call, key: KeyName, items: Sequence[Plain]) -> Results[Made]:
        """Self-describing ciphertexts under the primary version."""
        work = [_encrypting(item) for item in items]
        return await self._operations.run(call, key, ENCRYPT, work)

    async def decrypt(self, call: Call, key: KeyName, items: Sequence[Sealed]) -> Results[Made]:
        """Each by the version its ciphertext names."""
        return await self._opened(call, key, DECRYPT, items)

    async def re_encrypt(
        self,
        call: Call,
        source: KeyName,
        destination: KeyName,
        items: Sequence[tuple[Sealed, bytes]],
    ) -> Results[tuple[KeyVersionName, Made]]:
        """From one key, version and AAD to another; the plaintext stays here. Each pair ends in the new AAD.

        Raw ciphertexts are moved too. Both keys' policies are asked, the source's first.
        """
        sealed = [item for item, _ in items]
        raw = any(item.version for item in sealed)
        opened = await self._opened(call, source, REENCRYPT_RAW_FROM if raw else REENCRYPT_FROM, sealed)
        good = {number: made for number, made in enumerate(opened) if isinstance(made, Made)}
        results: Results[tuple[KeyVersionName, Made]] = [
            made if isinstance(made, KmsError) else WrongState("was not reached") for made in opened
        ]
        if good:
            again = [Plain(made.data, items[number][1]) for number, made in good.items()]
            work = [_encrypting(item) for item in again]
            moved = await self._operations.run(call, destination, REENCRYPT_TO, work)
            for (number, made), result in zip(good.items(), moved, strict=True):
                results[number] = result if isinstance(result, KmsError) else (made.name, result)
        return results

    async def generate_data_key(
        self, call: Call, key: KeyName, sizes: Sequence[tuple[int, bytes]], *, with_plaintext: bool
    ) -> Results[DataKey]:
        """Fresh keys of 16, 32 or 64 bytes, each with its AAD."""

        def make(size: int, aad: bytes) -> Callable[[KeyUse], _DataKey]:
            def act(use: KeyUse) -> _DataKey:
                if size not in DATA_KEY_SIZES:
                    raise InvalidField("byte_count", "must be 16, 32 or 64")
                fresh = secrets.token_bytes(size)
                shown = fresh if with_plaintext else b""
                return _then(_cipher(use).encrypt(fresh, aad), lambda made: DataKey(use.name, made, shown))

            return act

        work = [Item(make(size, aad), aad) for size, aad in sizes]
        return await self._operations.run(call, key, DATA_KEY, work)

    async def raw_encrypt(self, call: Call, key: KeyName, items: Sequence[Plain]) -> Results[Raw]:
        """Plain AES-GCM with a nonce drawn here, for who must interoperate."""

        def make(item: Plain) -> Callable[[KeyUse], _Raw]:
            return lambda use: _then(
                _raw(use).raw_encrypt(item.plaintext, item.aad), lambda made: Raw(use.name, made)
            )

        return await self._operations.run(
            call, key, RAW_ENCRYPT, [Item(make(item), item.aad, item.version) for item in items]
        )

    async def raw_decrypt(self, call: Call, key: KeyName, items: Sequence[RawSealed]) -> Results[Made]:
        """The inverse."""

        def make(item: RawSealed) -> Act:
            value = item.value
            return lambda use: _raw(use).raw_decrypt(value.nonce, value.ciphertext, value.tag, item.aad)

        work = [Item(_made(make(item)), item.aad, item.version, item.allow_compromised) for item in items]
        return await self._operations.run(call, key, RAW_DECRYPT, work)

    async def asymmetric_encrypt(self, call: Call, key: KeyName, items: Sequence[Plain]) -> Results[Made]:
        """RSA-OAEP; whoever has the public key can do it alone."""

        def make(item: Plain) -> Act:
            return lambda use: expect(use.handle, OaepKey).encrypt(item.plaintext, item.aad)

        work = [Item(_made(make(item)), item.aad, item.version) for item in items]
        return await self._operations.run(call, key, ASYMMETRIC_ENCRYPT, work)

    async def asymmetric_decrypt(self, call: Call, key: KeyName, items: Sequence[Sealed]) -> Results[Made]:
        """RSA-OAEP, by the named version or the primary."""

        def make(item: Sealed) -> Act:
            def act(use: KeyUse) -> Bytes:
                handle = expect(use.handle, OaepKey)
                if isinstance(handle, DeviceOaepKey):
                    return handle.begin_decrypt(item.ciphertext, item.aad)
                return handle.decrypt(item.ciphertext, item.aad)

            return act

        work = [Item(_made(make(item)), item.aad, item.version, item.allow_compromised) for item in items]
        return await self._operations.run(call, key, ASYMMETRIC_DECRYPT, work)

    async def sign(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """RSA-PSS, salt as long as the hash."""

        def make(item: Message) -> Act:
            def act(use: KeyUse) -> Bytes:
                handle = expect(use.handle, PssKey)
                if isinstance(handle, DevicePssKey):
                    begin = handle.begin_sign_digest if item.is_digest else handle.begin_sign
                    return begin(item.data)
                return handle.sign_digest(item.data) if item.is_digest else handle.sign(item.data)

            return act

        return await self._run_messages(call, key, SIGN, items, make)

    async def verify(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """The message back, if the signature holds; else `SignatureInvalid` is its result."""

        def make(item: Message) -> Act:
            def act(use: KeyUse) -> bytes:
                handle = expect(use.handle, PssKey)
                check = handle.verify_digest if item.is_digest else handle.verify
                return check(item.data, item.proof)

            return act

        return await self._run_messages(call, key, VERIFY, items, make)

    async def mac(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """HMAC-SHA256."""

        def make(item: Message) -> Act:
            return lambda use: _mac(use).mac(item.data)

        return await self._run_messages(call, key, MAC, items, make)

    async def mac_verify(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """The message back, if the code holds; else `MacInvalid` is its result."""

        def make(item: Message) -> Act:
            return lambda use: _mac(use).verify(item.data, item.proof)

        return await self._run_messages(call, key, MAC_VERIFY, items, make)

    async def public_key(self, call: Call, key: KeyName, versions: Sequence[int]) -> Results[PublicKey]:
        """The public keys; 0 is the primary version."""
        work = [Item(_public_key, version=number, allow_compromised=True) for number in versions]
        return await self._operations.run(call, key, GET_PUBLIC_KEY, work)

    async def _opened(
        self, call: Call, key: KeyName, operation: Operation, items: Sequence[Sealed]
    ) -> Results[Made]:
        opening = _opening_raw if operation is REENCRYPT_RAW_FROM else _opening
        work = [opening(item) for item in items]
        return await self._operations.run(call, key, operation, work)

    async def _run_messages(
        self,
        call: Call,
        key: KeyName,
        operation: Operation,
        items: Sequence[Message],
        make: Callable[[Message], Act],
    ) -> Results[Made]:
        work = [
            Item(_made(make(item)), version=item.version, allow_compromised=item.allow_compromised)
            for item in items
        ]
        return await self._operations.run(call, key, operation, work)


def _then(value: T | Pending[T], make: Callable[[T], R]) -> R | Pending[R]:
    """What is made of a value, or will be once a device has given it."""
    return value.then(make) if isinstance(value, Pending) else make(value)


def _made(act: Act) -> Callable[[KeyUse], _Made]:
    def run(use: KeyUse) -> _Made:
        data = act(use)
        return Made(use.name, data) if isinstance(data, bytes) else data.then(partial(Made, use.name))

    return run


def _encrypting(item: Plain) -> Item[Made]:
    # As `_made`, without a call between: it is the path of the largest batches.
    def run(use: KeyUse) -> _Made:
        data = _cipher(use).encrypt(item.plaintext, item.aad)
        return Made(use.name, data) if isinstance(data, bytes) else data.then(partial(Made, use.name))

    return Item(run, item.aad)


def _opening(item: Sealed) -> Item[Made]:
    part = _parsed(item.ciphertext)

    def act(use: KeyUse) -> Bytes:
        if isinstance(part, KmsError):
            raise part
        return _cipher(use).decrypt(part, item.aad)

    version = 0 if isinstance(part, KmsError) else part.version
    return Item(_made(act), item.aad, version, item.allow_compromised)


def _opening_raw(item: Sealed) -> Item[Made]:
    def act(use: KeyUse) -> Bytes:
        if not item.version:
            raise InvalidField("name", "must be a version: a raw ciphertext does not say its own")
        return _raw(use).raw_decrypt(*split_raw(item.ciphertext), item.aad)

    return Item(_made(act), item.aad, item.version, item.allow_compromised)


def _public_key(use: KeyUse) -> PublicKey:
    return PublicKey(use.name, use.handle.algorithm, use.handle.public_key)


def _raw(use: KeyUse) -> AeadKey | DeviceAeadKey:
    return use.handle if isinstance(use.handle, DeviceAeadKey) else expect(use.handle, AeadKey)


def _mac(use: KeyUse) -> MacKey | DeviceMacKey:
    return use.handle if isinstance(use.handle, DeviceMacKey) else expect(use.handle, MacKey)


def _cipher(use: KeyUse) -> VersionCipher | DeviceVersionCipher:
    if use.cipher is None:
        raise WrongState(f"{use.name} does not encrypt and decrypt")
    return use.cipher


def _parsed(data: bytes) -> envelope.Ciphertext | KmsError:
    try:
        return envelope.parse(data)
    except KmsError as error:
        return error
