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
from kms.model.names import KeyName
from kms.services.call import Call
from kms.services.key_handles import KeyUse
from kms.services.operations import Act, Item, Operation, Operations

T = TypeVar("T")
R = TypeVar("R")
W = TypeVar("W", bound=Item)
# What a key gives at once, or a device later.
Bytes: TypeAlias = bytes | Pending[bytes]

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


def _unshown(kind: type[T]) -> type[T]:
    """For what holds secrets: printed, it is its type alone."""
    kind.__repr__ = lambda self: f"<{kind.__name__}>"  # type: ignore[method-assign]
    return kind


@_unshown
class Made(NamedTuple):
    """What an operation made, and the name of the key version that made it."""

    name: str
    data: bytes


@_unshown
class DataKey(NamedTuple):
    """A fresh key, encrypted; in clear too if it was asked for."""

    name: str
    ciphertext: bytes
    plaintext: bytes


class Raw(NamedTuple):
    """A raw ciphertext and the name of the key version that made it."""

    name: str
    value: RawCiphertext


class PublicKey(NamedTuple):
    """The public half of a key version, an SPKI in DER."""

    name: str
    algorithm: Algorithm
    spki: bytes


@_unshown
class Plain(NamedTuple):
    """To encrypt: with AES, `aad` is bound to it; with OAEP it is the label, and `version` may be named.

    A version that is compromised makes nothing, whatever is allowed.
    """

    plaintext: bytes
    aad: bytes = b""
    version: int = 0
    allow_compromised: bool = False


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


@_unshown
class Message(NamedTuple):
    """To sign, or to make or verify a code or signature of; `is_digest`: `data` is the digest already.

    `proof` is the signature or code to verify, empty where one is to be made.
    """

    data: bytes
    is_digest: bool = False
    proof: bytes = b""
    version: int = 0
    allow_compromised: bool = False

    @property
    def aad(self) -> bytes:
        return b""


class _Parsed(NamedTuple):
    """To decrypt: the parts of a self-describing ciphertext, or why it has none."""

    parts: envelope.Ciphertext | KmsError
    version: int
    aad: bytes
    allow_compromised: bool


class _Fresh(NamedTuple):
    """A data key to be made."""

    size: int
    aad: bytes
    version: int = 0
    allow_compromised: bool = False


class _Shown(NamedTuple):
    """A public key to be shown."""

    version: int
    aad: bytes = b""
    allow_compromised: bool = True


Results = list[T | KmsError]
_Made: TypeAlias = Made | Pending[Made]


class Cryptography:
    """Calls with 1 to 1,000 items. An item's failure is its result; the call's own is raised."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def encrypt(self, call: Call, key: KeyName, items: Sequence[Plain]) -> Results[Made]:
        """Self-describing ciphertexts under the primary version."""
        return await self._operations.run(call, key, ENCRYPT, items, _encrypting)

    async def decrypt(self, call: Call, key: KeyName, items: Sequence[Sealed]) -> Results[Made]:
        """Each by the version its ciphertext names."""
        parsed = [_parsed(item) for item in items]
        return await self._operations.run(call, key, DECRYPT, parsed, _each(_open))

    async def re_encrypt(
        self,
        call: Call,
        source: KeyName,
        destination: KeyName,
        items: Sequence[tuple[Sealed, bytes]],
    ) -> Results[tuple[str, Made]]:
        """From one key, version and AAD to another; the plaintext stays here. Each pair ends in the new AAD.

        Raw ciphertexts are moved too. Both keys' policies are asked, the source's first. Each result has the
        name of the version that it comes from.
        """
        opened = await self._opened(call, source, [item for item, _ in items])
        good = {number: made for number, made in enumerate(opened) if isinstance(made, Made)}
        results: Results[tuple[str, Made]] = [
            made if isinstance(made, KmsError) else WrongState("was not reached") for made in opened
        ]
        if good:
            again = [Plain(made.data, items[number][1]) for number, made in good.items()]
            moved = await self._operations.run(call, destination, REENCRYPT_TO, again, _encrypting)
            for (number, made), result in zip(good.items(), moved, strict=True):
                results[number] = result if isinstance(result, KmsError) else (made.name, result)
        return results

    async def _opened(self, call: Call, key: KeyName, items: Sequence[Sealed]) -> Results[Made]:
        if any(item.version for item in items):
            return await self._operations.run(call, key, REENCRYPT_RAW_FROM, items, _each(_open_raw))
        parsed = [_parsed(item) for item in items]
        return await self._operations.run(call, key, REENCRYPT_FROM, parsed, _each(_open))

    async def generate_data_key(
        self, call: Call, key: KeyName, sizes: Sequence[tuple[int, bytes]], *, with_plaintext: bool
    ) -> Results[DataKey]:
        """Fresh keys of 16, 32 or 64 bytes, each with its AAD."""

        def make(use: KeyUse, item: _Fresh) -> DataKey | Pending[DataKey]:
            if item.size not in DATA_KEY_SIZES:
                raise InvalidField("byte_count", "must be 16, 32 or 64")
            fresh = secrets.token_bytes(item.size)
            shown = fresh if with_plaintext else b""
            return _then(_cipher(use).encrypt(fresh, item.aad), lambda made: DataKey(use.text, made, shown))

        items = [_Fresh(size, aad) for size, aad in sizes]
        return await self._operations.run(call, key, DATA_KEY, items, _every(make))

    async def raw_encrypt(self, call: Call, key: KeyName, items: Sequence[Plain]) -> Results[Raw]:
        """Plain AES-GCM with a nonce drawn here, for who must interoperate."""
        return await self._operations.run(call, key, RAW_ENCRYPT, items, _every(_encrypt_raw))

    async def raw_decrypt(self, call: Call, key: KeyName, items: Sequence[RawSealed]) -> Results[Made]:
        """The inverse."""
        return await self._operations.run(call, key, RAW_DECRYPT, items, _each(_decrypt_raw))

    async def asymmetric_encrypt(self, call: Call, key: KeyName, items: Sequence[Plain]) -> Results[Made]:
        """RSA-OAEP; whoever has the public key can do it alone."""
        return await self._operations.run(call, key, ASYMMETRIC_ENCRYPT, items, _each(_encrypt_oaep))

    async def asymmetric_decrypt(self, call: Call, key: KeyName, items: Sequence[Sealed]) -> Results[Made]:
        """RSA-OAEP, by the named version or the primary."""
        return await self._operations.run(call, key, ASYMMETRIC_DECRYPT, items, _each(_decrypt_oaep))

    async def sign(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """RSA-PSS, salt as long as the hash."""
        return await self._operations.run(call, key, SIGN, items, _each(_sign))

    async def verify(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """The message back, if the signature holds; else `SignatureInvalid` is its result."""
        return await self._operations.run(call, key, VERIFY, items, _each(_verify))

    async def mac(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """HMAC-SHA256."""
        return await self._operations.run(
            call, key, MAC, items, _each(lambda use, item: _mac(use).mac(item.data))
        )

    async def mac_verify(self, call: Call, key: KeyName, items: Sequence[Message]) -> Results[Made]:
        """The message back, if the code holds; else `MacInvalid` is its result."""
        return await self._operations.run(
            call, key, MAC_VERIFY, items, _each(lambda use, item: _mac(use).verify(item.data, item.proof))
        )

    async def public_key(self, call: Call, key: KeyName, versions: Sequence[int]) -> Results[PublicKey]:
        """The public keys; 0 is the primary version."""
        items = [_Shown(number) for number in versions]
        return await self._operations.run(call, key, GET_PUBLIC_KEY, items, _every(_public_key))


def _every(act: Callable[[KeyUse, W], T | Pending[T]]) -> Act[W, T]:
    """What a key version does with an item, as it does it with many."""
    return lambda use, _: partial(act, use)


def _each(act: Callable[[KeyUse, W], Bytes]) -> Act[W, Made]:
    """As `_every`, of what gives bytes."""

    def begin(use: KeyUse, count: int) -> Callable[[W], _Made]:
        return lambda item: _made(use, act(use, item))

    return begin


def _then(value: T | Pending[T], make: Callable[[T], R]) -> R | Pending[R]:
    """What is made of a value, or will be once a device has given it."""
    return value.then(make) if isinstance(value, Pending) else make(value)


def _made(use: KeyUse, data: Bytes) -> _Made:
    return Made(use.text, data) if isinstance(data, bytes) else data.then(partial(Made, use.text))


def _encrypting(use: KeyUse, count: int) -> Callable[[Plain], _Made]:
    encrypt, name = _cipher(use).encrypting(count), use.text

    # As `_made`, without a call between: it is the path of the largest batches.
    def act(item: Plain) -> _Made:
        data = encrypt(item.plaintext, item.aad)
        return Made(name, data) if isinstance(data, bytes) else data.then(partial(Made, name))

    return act


def _parsed(item: Sealed) -> _Parsed:
    try:
        parts = envelope.parse(item.ciphertext)
    except KmsError as error:
        return _Parsed(error, 0, item.aad, item.allow_compromised)
    return _Parsed(parts, parts.version, item.aad, item.allow_compromised)


def _open(use: KeyUse, item: _Parsed) -> Bytes:
    if isinstance(item.parts, KmsError):
        raise item.parts
    return _cipher(use).decrypt(item.parts, item.aad)


def _open_raw(use: KeyUse, item: Sealed) -> Bytes:
    if not item.version:
        raise InvalidField("name", "must be a version: a raw ciphertext does not say its own")
    return _raw(use).raw_decrypt(*split_raw(item.ciphertext), item.aad)


def _encrypt_raw(use: KeyUse, item: Plain) -> Raw | Pending[Raw]:
    return _then(_raw(use).raw_encrypt(item.plaintext, item.aad), lambda made: Raw(use.text, made))


def _decrypt_raw(use: KeyUse, item: RawSealed) -> Bytes:
    return _raw(use).raw_decrypt(*item.value, item.aad)


def _encrypt_oaep(use: KeyUse, item: Plain) -> bytes:
    return expect(use.handle, OaepKey).encrypt(item.plaintext, item.aad)


def _decrypt_oaep(use: KeyUse, item: Sealed) -> Bytes:
    handle = expect(use.handle, OaepKey)
    if isinstance(handle, DeviceOaepKey):
        return handle.begin_decrypt(item.ciphertext, item.aad)
    return handle.decrypt(item.ciphertext, item.aad)


def _sign(use: KeyUse, item: Message) -> Bytes:
    handle = expect(use.handle, PssKey)
    if isinstance(handle, DevicePssKey):
        begin = handle.begin_sign_digest if item.is_digest else handle.begin_sign
        return begin(item.data)
    return handle.sign_digest(item.data) if item.is_digest else handle.sign(item.data)


def _verify(use: KeyUse, item: Message) -> bytes:
    handle = expect(use.handle, PssKey)
    check = handle.verify_digest if item.is_digest else handle.verify
    return check(item.data, item.proof)


def _public_key(use: KeyUse, item: _Shown) -> PublicKey:
    return PublicKey(use.text, use.handle.algorithm, use.handle.public_key)


def _raw(use: KeyUse) -> AeadKey | DeviceAeadKey:
    return use.handle if isinstance(use.handle, DeviceAeadKey) else expect(use.handle, AeadKey)


def _mac(use: KeyUse) -> MacKey | DeviceMacKey:
    return use.handle if isinstance(use.handle, DeviceMacKey) else expect(use.handle, MacKey)


def _cipher(use: KeyUse) -> VersionCipher | DeviceVersionCipher:
    if use.cipher is None:
        raise WrongState(f"{use.name} does not encrypt and decrypt")
    return use.cipher
