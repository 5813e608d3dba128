"""Keys of every family behind one table: generated, accepted from outside, loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from blindfold.secret import SecretBytes
from kms.crypto import aead, mac, rsa_keys, rsa_oaep, rsa_pss
from kms.crypto.aead import AeadKey
from kms.crypto.loaded_key import KeyMaterial, LoadedKey
from kms.crypto.mac import MacKey
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.errors import InvalidField, WrongState
from kms.model.algorithms import Algorithm, Family

__all__ = [
    "KeyHandle",
    "KeyMaterial",
    "accept_private",
    "accept_public",
    "expect",
    "generate",
    "load",
    "load_public",
]

KeyHandle: TypeAlias = AeadKey | OaepKey | PssKey | MacKey
_Kind = TypeVar("_Kind", AeadKey, OaepKey, PssKey, MacKey)


def _generate_rsa(algorithm: Algorithm) -> KeyMaterial:
    return rsa_keys.generate(algorithm.key_bits)


def _no_public(algorithm: Algorithm, der: bytes, field: str) -> KeyHandle:
    raise InvalidField(field, f"{algorithm.name} is symmetric and has no public key")


@dataclass(frozen=True, slots=True)
class _Functions:
    generate: Callable[[Algorithm], KeyMaterial]
    accept: Callable[[Algorithm, SecretBytes, str], KeyMaterial]
    load: Callable[[Algorithm, SecretBytes], KeyHandle]
    load_public: Callable[[Algorithm, bytes, str], KeyHandle]


_FAMILIES: Mapping[Family, _Functions] = MappingProxyType(
    {
        Family.AES_GCM: _Functions(aead.generate, aead.accept, AeadKey, _no_public),
        Family.HMAC: _Functions(mac.generate, mac.accept, MacKey, _no_public),
        Family.RSA_OAEP: _Functions(
            _generate_rsa, rsa_keys.accept_private, rsa_oaep.load, rsa_oaep.load_public
        ),
        Family.RSA_PSS: _Functions(_generate_rsa, rsa_keys.accept_private, rsa_pss.load, rsa_pss.load_public),
    }
)


def generate(algorithm: Algorithm) -> KeyMaterial:
    """A fresh key. RSA takes up to some seconds and leaves the interpreter to other threads meanwhile."""
    return _FAMILIES[algorithm.family].generate(algorithm)


def accept_private(algorithm: Algorithm, material: SecretBytes, field: str = "key_material") -> KeyMaterial:
    """Check imported material in full: raw bytes, or PKCS#8 in DER for RSA, which takes up to a second.

    The result holds `material` itself, not a copy. Raises `InvalidField`.
    """
    return _FAMILIES[algorithm.family].accept(algorithm, material, field)


def accept_public(algorithm: Algorithm, der: bytes, field: str = "public_key") -> bytes:
    """Check an imported public key (SPKI in DER) and return it. Raises `InvalidField`."""
    return _FAMILIES[algorithm.family].load_public(algorithm, der, field).public_key


def load(algorithm: Algorithm, material: SecretBytes) -> KeyHandle:
    """Material that `generate` or `accept_private` gave, ready for use. Raises `StoreTampered`."""
    return _FAMILIES[algorithm.family].load(algorithm, material)


def load_public(algorithm: Algorithm, spki: bytes) -> KeyHandle:
    """A public key alone; private operations raise `PublicOnly`. Raises `InvalidField`."""
    return _FAMILIES[algorithm.family].load_public(algorithm, spki, "public_key")


def expect(handle: LoadedKey, kind: type[_Kind]) -> _Kind:
    """The handle, if it is of that kind. Raises `WrongState`: the key is for something else."""
    if not isinstance(handle, kind):
        raise WrongState(f"a key of {handle.algorithm.name} does not do this")
    return handle
