"""The operations of `kms.v1.CryptoService`: what each makes of its requests, and of its results."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from kms.crypto.aead import RawCiphertext
from kms.crypto.public_keys import to_jwk, to_pem
from kms.errors import InvalidField
from kms.model.names import KeyName, KeyVersionName, NamespaceName
from kms.server.convert import enum_number
from kms.server.servicers.crypto_operation import Operation, Target
from kms.services.call import Call
from kms.services.cryptography import (
    Cryptography,
    DataKey,
    Made,
    Message,
    Plain,
    PublicKey,
    Raw,
    RawSealed,
    Sealed,
)
from kms.services.randomness import Randomness
from protos.kms.v1 import crypto_pb2 as pb
from protos.kms.v1.key_pb2 import KeyAlgorithm

NAMES = 8192
DEFAULT_DATA_KEY = 32

Run = Callable[[Call, Any, Sequence[Any], Any], Awaitable[Sequence[Any]]]

_FORMATS: Mapping[int, Callable[[PublicKey], bytes]] = MappingProxyType(
    {
        pb.PUBLIC_KEY_FORMAT_UNSPECIFIED: lambda key: to_pem(key.spki),
        pb.PUBLIC_KEY_FORMAT_PEM: lambda key: to_pem(key.spki),
        pb.PUBLIC_KEY_FORMAT_DER: lambda key: key.spki,
        pb.PUBLIC_KEY_FORMAT_JWK: lambda key: to_jwk(key.spki, key.algorithm, key.name),
    }
)


class CryptoOperations:
    """One `Operation` for each method. Names that come again are read once."""

    def __init__(self, use: Cryptography, randomness: Randomness) -> None:
        self._with_aes(use)
        self._with_rsa(use)
        self._with_hmac(use)
        self.generate_random = Operation(
            pb.GenerateRandomRequest,
            pb.GenerateRandomResponse,
            _run(randomness.generate),
            _to_namespace,
            lambda request, _: request.byte_count,
            _random,
        )

    def _with_aes(self, use: Cryptography) -> None:
        self.encrypt = Operation(
            pb.EncryptRequest, pb.EncryptResponse, _run(use.encrypt), _to_key, _plain, _made_ciphertext
        )
        self.decrypt = Operation(
            pb.DecryptRequest, pb.DecryptResponse, _run(use.decrypt), _to_key, _sealed, _made_plaintext
        )
        self.re_encrypt = Operation(
            pb.ReEncryptRequest,
            pb.ReEncryptResponse,
            lambda call, source, items, asked: use.re_encrypt(
                call, source, _destination(asked.destination) or source, items
            ),
            _to_version,
            _resealed,
            _moved,
            of_batch=("destination",),
        )
        self.generate_data_key = Operation(
            pb.GenerateDataKeyRequest,
            pb.GenerateDataKeyResponse,
            lambda call, key, items, _: use.generate_data_key(call, key, items, with_plaintext=True),
            _to_key,
            _data_key_size,
            _data_key,
        )
        self.raw_encrypt = Operation(
            pb.RawEncryptRequest,
            pb.RawEncryptResponse,
            _run(use.raw_encrypt),
            _to_version,
            _plain,
            _raw_ciphertext,
        )
        self.raw_decrypt = Operation(
            pb.RawDecryptRequest,
            pb.RawDecryptResponse,
            _run(use.raw_decrypt),
            _to_version,
            _raw_sealed,
            _made_plaintext,
        )

    def _with_rsa(self, use: Cryptography) -> None:
        self.asymmetric_encrypt = Operation(
            pb.AsymmetricEncryptRequest,
            pb.AsymmetricEncryptResponse,
            _run(use.asymmetric_encrypt),
            _to_version,
            lambda request, version: Plain(request.plaintext, request.label, version),
            _made_ciphertext,
        )
        self.asymmetric_decrypt = Operation(
            pb.AsymmetricDecryptRequest,
            pb.AsymmetricDecryptResponse,
            _run(use.asymmetric_decrypt),
            _to_version,
            lambda request, version: Sealed(
                request.ciphertext, request.label, version, request.allow_compromised
            ),
            _made_plaintext,
        )
        self.sign = Operation(
            pb.SignRequest, pb.SignResponse, _run(use.sign), _to_version, _to_sign, _signature
        )
        self.verify = Operation(
            pb.VerifyRequest, pb.VerifyResponse, _run(use.verify), _to_version, _to_verify, _verified
        )
        self.get_public_key = Operation(
            pb.GetPublicKeyRequest,
            pb.GetPublicKeyResponse,
            _run(use.public_key),
            _to_version,
            _public_version,
            _public_key,
        )

    def _with_hmac(self, use: Cryptography) -> None:
        self.mac = Operation(
            pb.MacRequest,
            pb.MacResponse,
            _run(use.mac),
            _to_version,
            lambda request, version: Message(request.message, version=version),
            _code,
        )
        self.mac_verify = Operation(
            pb.MacVerifyRequest,
            pb.MacVerifyResponse,
            _run(use.mac_verify),
            _to_version,
            _to_mac_verify,
            _verified,
        )


def _run(act: Callable[[Call, Any, Sequence[Any]], Awaitable[Sequence[Any]]]) -> Run:
    """For a function that needs nothing of the request but the items."""
    return lambda call, target, items, _: act(call, target, items)


@lru_cache(NAMES)
def _to_key(text: str) -> tuple[Target, int]:
    return KeyName.parse(text), 0


@lru_cache(NAMES)
def _to_version(text: str) -> tuple[Target, int]:
    if "/versions/" not in text:
        return KeyName.parse(text), 0
    name = KeyVersionName.parse(text)
    return name.key_name, name.version


def _to_namespace(text: str) -> tuple[Target, int]:
    return NamespaceName.parse(text), 0


def _destination(text: str) -> KeyName | None:
    return KeyName.parse(text, "destination") if text else None


def _plain(request: pb.EncryptRequest | pb.RawEncryptRequest, version: int) -> Plain:
    return Plain(request.plaintext, request.additional_authenticated_data, version)


def _sealed(request: pb.DecryptRequest | pb.ReEncryptRequest, version: int) -> Sealed:
    aad, known = request.additional_authenticated_data, request.allow_compromised
    return Sealed(request.ciphertext, aad, version, known)


def _resealed(request: pb.ReEncryptRequest, version: int) -> tuple[Sealed, bytes]:
    return _sealed(request, version), request.destination_additional_authenticated_data


def _data_key_size(request: pb.GenerateDataKeyRequest, version: int) -> tuple[int, bytes]:
    return request.byte_count or DEFAULT_DATA_KEY, request.additional_authenticated_data


def _raw_sealed(request: pb.RawDecryptRequest, version: int) -> RawSealed:
    value = RawCiphertext(request.nonce, request.ciphertext, request.tag)
    return RawSealed(value, request.additional_authenticated_data, version, request.allow_compromised)


def _to_sign(request: pb.SignRequest, version: int) -> Message:
    return Message(*_signed_data(request), version=version)


def _to_verify(request: pb.VerifyRequest, version: int) -> Message:
    data, is_digest = _signed_data(request)
    return Message(data, is_digest, request.signature, version, request.allow_compromised)


def _signed_data(request: pb.SignRequest | pb.VerifyRequest) -> tuple[bytes, bool]:
    """A message or a digest, and whether it is a digest."""
    given = request.WhichOneof("data")
    if given is None:
        raise InvalidField("data", "set message or digest")
    return (request.digest, True) if given == "digest" else (request.message, False)


def _to_mac_verify(request: pb.MacVerifyRequest, version: int) -> Message:
    return Message(request.message, False, request.mac, version, request.allow_compromised)


def _public_version(request: pb.GetPublicKeyRequest, version: int) -> int:
    if request.format not in _FORMATS:
        raise InvalidField("format", "must be PEM, DER or JWK")
    return version


def _made_ciphertext(
    answer: pb.EncryptResponse | pb.AsymmetricEncryptResponse, made: Made, request: object
) -> None:
    answer.name, answer.ciphertext = made.name, made.data


def _made_plaintext(
    answer: pb.DecryptResponse | pb.RawDecryptResponse | pb.AsymmetricDecryptResponse,
    made: Made,
    request: object,
) -> None:
    answer.name, answer.plaintext = made.name, made.data


def _moved(answer: pb.ReEncryptResponse, moved: tuple[str, Made], request: object) -> None:
    source, made = moved
    answer.name, answer.source_name, answer.ciphertext = made.name, source, made.data


def _data_key(answer: pb.GenerateDataKeyResponse, made: DataKey, request: pb.GenerateDataKeyRequest) -> None:
    answer.name, answer.ciphertext = made.name, made.ciphertext
    if request.with_plaintext:
        answer.plaintext = made.plaintext


def _random(answer: pb.GenerateRandomResponse, data: bytes, request: object) -> None:
    answer.data = data


def _raw_ciphertext(answer: pb.RawEncryptResponse, made: Raw, request: object) -> None:
    answer.name = made.name
    answer.nonce, answer.ciphertext, answer.tag = made.value


def _signature(answer: pb.SignResponse, made: Made, request: object) -> None:
    answer.name, answer.signature = made.name, made.data


def _code(answer: pb.MacResponse, made: Made, request: object) -> None:
    answer.name, answer.mac = made.name, made.data


def _verified(answer: pb.VerifyResponse | pb.MacVerifyResponse, made: Made, request: object) -> None:
    answer.name = made.name


def _public_key(answer: pb.GetPublicKeyResponse, key: PublicKey, request: pb.GetPublicKeyRequest) -> None:
    answer.name = key.name
    answer.algorithm = KeyAlgorithm.ValueType(enum_number(KeyAlgorithm.DESCRIPTOR, key.algorithm.name))
    answer.public_key = _FORMATS[request.format](key)
