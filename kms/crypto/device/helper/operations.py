"""Requests turned into calls of the module. One table of operations, one of algorithms' mechanisms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import pkcs11
from pkcs11 import MGF, Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.rsa import decode_rsa_private_key

from kms.crypto.device.helper.token import STALE, Refused, Token
from kms.crypto.device.messages import Answer, Item, Operation, Request, Status
from kms.model.algorithms import ALGORITHMS, Algorithm, Family
from kms.model.device_handle import ID_SIZE

T = TypeVar("T")

TAG_BITS = 128
_HASHES: Mapping[str, tuple[Mechanism, MGF]] = MappingProxyType(
    {
        "sha256": (Mechanism.SHA256, MGF.SHA256),
        "sha384": (Mechanism.SHA384, MGF.SHA384),
        "sha512": (Mechanism.SHA512, MGF.SHA512),
    }
)
_DIGEST_SIZE = {"sha256": 32, "sha384": 48, "sha512": 64}
_SECRET: dict[Attribute, Any] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}
_LACKING = (
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.ArgumentsBad,
    pkcs11.FunctionNotSupported,
    pkcs11.KeySizeRange,
    pkcs11.KeyTypeInconsistent,
    pkcs11.AttributeTypeInvalid,
    pkcs11.AttributeValueInvalid,
    pkcs11.TemplateInconsistent,
)
_GONE = (
    pkcs11.DeviceError,
    pkcs11.DeviceRemoved,
    pkcs11.SessionClosed,
    pkcs11.SessionHandleInvalid,
    pkcs11.TokenNotPresent,
    pkcs11.TokenNotRecognised,
    pkcs11.UserNotLoggedIn,
)


@dataclass(frozen=True, slots=True)
class _Family:
    """How keys of a family are made: the class that holds the secret, and what it may be used for."""

    key_type: KeyType
    kind: ObjectClass
    capabilities: MechanismFlag


_FAMILIES: Mapping[Family, _Family] = MappingProxyType(
    {
        Family.AES_GCM: _Family(
            KeyType.AES, ObjectClass.SECRET_KEY, MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
        ),
        Family.HMAC: _Family(
            KeyType.GENERIC_SECRET, ObjectClass.SECRET_KEY, MechanismFlag.SIGN | MechanismFlag.VERIFY
        ),
        Family.RSA_PSS: _Family(
            KeyType.RSA, ObjectClass.PRIVATE_KEY, MechanismFlag.SIGN | MechanismFlag.VERIFY
        ),
        Family.RSA_OAEP: _Family(
            KeyType.RSA, ObjectClass.PRIVATE_KEY, MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
        ),
    }
)


def answer(token: Token, request: Request) -> list[Answer]:
    """An answer for each item, or one that is not DONE for all of them."""

    def undo() -> None:
        if request.operation is Operation.GENERATE:
            _destroy(token, request)

    try:
        return _twice(token, lambda: _HANDLERS[request.operation](token, request), undo)
    except pkcs11.PKCS11Error as error:
        refused = _refused(token, error, invalid=False)
    except Refused as error:
        refused = error
    return [Answer(refused.status, refused.text.encode())]


def _twice(token: Token, act: Callable[[], T], undo: Callable[[], None]) -> T:
    """Once more with a new session, where the token was away for a moment, or the session's view of it old.

    Objects that other sessions destroyed, and those of a token that was away, are looked up again. Raises
    `Refused` if the token is gone, and what `act` raises.
    """
    try:
        return act()
    except pkcs11.PKCS11Error as error:
        if not isinstance(error, STALE) and token.is_there():
            raise
    token.look_anew()
    undo()
    return act()


def _generate(token: Token, request: Request) -> list[Answer]:
    algorithm = ALGORITHMS[request.algorithm]
    family = _FAMILIES[algorithm.family]
    named: dict[str, Any] = {"id": request.key, "label": request.items[0].data.decode(), "store": True}
    key: pkcs11.Object
    if algorithm.is_asymmetric:
        # The public half is the server's to keep: here it ends with the call.
        public, private = token.session.generate_keypair(
            KeyType.RSA,
            algorithm.key_bits,
            capabilities=family.capabilities,
            public_template={Attribute.TOKEN: False},
            private_template=_SECRET,
            **named,
        )
        numbers = [public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]]
        public.destroy()
        key = private
    else:
        key = token.session.generate_key(
            family.key_type,
            algorithm.key_bits,
            capabilities=family.capabilities,
            template=_SECRET,
            **named,
        )
        numbers = [b""]
    _check_kept(key)
    return [Answer(Status.DONE, number) for number in numbers]


def _check_kept(key: pkcs11.Object) -> None:
    """Refuse a key that the token would give out, whatever it was told."""
    if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
        key.destroy()
        raise Refused(Status.LACKING, "the token makes keys that can leave it")


def _lend(token: Token, request: Request) -> list[Answer]:
    algorithm, data = ALGORITHMS[request.algorithm], request.items[0].data
    family = _FAMILIES[algorithm.family]
    attributes: dict[Attribute, Any]
    if algorithm.is_asymmetric:
        attributes = decode_rsa_private_key(data, family.capabilities)
    else:
        attributes = {
            Attribute.CLASS: family.kind,
            Attribute.KEY_TYPE: family.key_type,
            Attribute.VALUE: data,
            Attribute.ENCRYPT: MechanismFlag.ENCRYPT in family.capabilities,
            Attribute.DECRYPT: MechanismFlag.DECRYPT in family.capabilities,
            Attribute.SIGN: MechanismFlag.SIGN in family.capabilities,
            Attribute.VERIFY: MechanismFlag.VERIFY in family.capabilities,
        }
    token.session.create_object(attributes | _SECRET | {Attribute.ID: request.key, Attribute.TOKEN: False})
    return [Answer(Status.DONE, b"")]


def _destroy(token: Token, request: Request) -> list[Answer]:
    for key in token.find({Attribute.ID: request.key}):
        key.destroy()
    token.forget(request.key)
    return [Answer(Status.DONE, b"")]


def _find(token: Token, request: Request) -> list[Answer]:
    label = request.items[0].data.decode()
    token.look_anew()
    wanted = {Attribute.LABEL: label} if label else {}
    ids = [key[Attribute.ID] for key in token.find(wanted)]
    return [Answer(Status.DONE, b"".join(key_id for key_id in ids if len(key_id) == ID_SIZE))]


def _seal(key: Any, algorithm: Algorithm, item: Item) -> bytes:
    parameters = GCMParams(item.nonce, item.aad, TAG_BITS)
    return bytes(key.encrypt(item.data, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))


def _unseal(key: Any, algorithm: Algorithm, item: Item) -> bytes:
    parameters = GCMParams(item.nonce, item.aad, TAG_BITS)
    return bytes(key.decrypt(item.data, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))


def _sign(key: Any, algorithm: Algorithm, item: Item) -> bytes:
    parameters = (*_HASHES[algorithm.hash_name], _DIGEST_SIZE[algorithm.hash_name])
    return bytes(key.sign(item.data, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters))


def _decrypt(key: Any, algorithm: Algorithm, item: Item) -> bytes:
    parameters = (*_HASHES[algorithm.hash_name], item.aad or None)
    return bytes(key.decrypt(item.data, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=parameters))


def _mac(key: Any, algorithm: Algorithm, item: Item) -> bytes:
    return bytes(key.sign(item.data, mechanism=Mechanism.SHA256_HMAC))


_Act = Callable[[Any, Algorithm, Item], bytes]


def _each(act: _Act, *, opens: bool = False) -> "_Handler":
    """A handler that does this with each item. `opens`: what fails may be the item's fault."""

    def handle(token: Token, request: Request) -> list[Answer]:
        algorithm = ALGORITHMS[request.algorithm]
        kind = _FAMILIES[algorithm.family].kind
        return [_attempt(token, request.key, kind, algorithm, item, act, opens) for item in request.items]

    return handle


def _attempt(
    token: Token, key_id: bytes, kind: ObjectClass, algorithm: Algorithm, item: Item, act: _Act, opens: bool
) -> Answer:
    try:
        made = _twice(token, lambda: act(token.key(kind, key_id), algorithm, item), lambda: None)
        return Answer(Status.DONE, made)
    except pkcs11.PKCS11Error as error:
        refused = _refused(token, error, invalid=opens)
    except Refused as error:
        refused = error
    return Answer(refused.status, refused.text.encode())


def _refused(token: Token, error: pkcs11.PKCS11Error, *, invalid: bool) -> Refused:
    """What an error of the module means. Many say CKR_GENERAL_ERROR for a tag that does not fit."""
    name = type(error).__name__
    if isinstance(error, _GONE) or not token.is_there():
        return Refused(Status.GONE, f"the token was lost ({name})")
    if isinstance(error, _LACKING):
        return Refused(Status.LACKING, name)
    return Refused(Status.INVALID if invalid else Status.FAILED, name)


_Handler = Callable[[Token, Request], list[Answer]]
_HANDLERS: Mapping[Operation, _Handler] = MappingProxyType(
    {
        Operation.GENERATE: _generate,
        Operation.LEND: _lend,
        Operation.SEAL: _each(_seal),
        Operation.UNSEAL: _each(_unseal, opens=True),
        Operation.SIGN: _each(_sign),
        Operation.DECRYPT: _each(_decrypt, opens=True),
        Operation.MAC: _each(_mac),
        Operation.DESTROY: _destroy,
        Operation.FIND: _find,
    }
)
