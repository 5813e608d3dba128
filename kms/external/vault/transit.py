"""Keys of a vault's transit engine, and what they encrypted (docs/external.md, "Moving from transit")."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from blindfold.secret import SecretBytes
from kms.crypto import key_files
from kms.errors import InvalidField
from kms.external.errors import NotMovable, Unreadable
from kms.external.vault.api import decoded
from kms.external.vault.source import VaultSource
from kms.model.algorithms import Purpose

MAX_TEXT = 128 << 10

_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransitCiphertext:
    """What transit encrypted: with AES, nonce (12 bytes) || ciphertext || tag (16); with RSA, OAEP's."""

    version: int
    data: bytes

    @property
    def text(self) -> str:
        """As the vault wrote it."""
        return f"vault:v{self.version}:{base64.b64encode(self.data).decode('ascii')}"

    @classmethod
    def parse(cls, text: str) -> "TransitCiphertext":
        """Of `vault:v3:...`, in standard base64. Raises `InvalidField`."""
        found = _CIPHERTEXT.fullmatch(text) if len(text) <= MAX_TEXT else None
        try:
            data = base64.b64decode(found[2], validate=True) if found is not None else b""
        except binascii.Error:
            data = b""
        made = cls(int(found[1]), data) if found is not None else None
        if made is None or made.text != text:
            raise InvalidField("ciphertext", "must be vault:v, a version, a colon and standard base64")
        return made


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type of transit keys is here, for one purpose, and which export has its private keys."""

    algorithm: str
    export: str


KINDS: Mapping[tuple[str, Purpose], Kind] = MappingProxyType(
    {
        ("aes256-gcm96", Purpose.RAW_ENCRYPT_DECRYPT): Kind("AES_256_GCM", "encryption-key"),
        ("aes128-gcm96", Purpose.RAW_ENCRYPT_DECRYPT): Kind("AES_128_GCM", "encryption-key"),
        ("hmac", Purpose.MAC): Kind("HMAC_SHA256", "hmac-key"),
    }
    | {
        (f"rsa-{bits}", purpose): Kind(f"RSA_{padding}_{bits}_SHA256", export)
        for bits in (2048, 3072, 4096)
        for purpose, padding, export in (
            (Purpose.ASYMMETRIC_DECRYPT, "OAEP", "encryption-key"),
            (Purpose.ASYMMETRIC_SIGN, "PSS", "signing-key"),
        )
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class TransitKey:
    """All versions of a key, from 1 on, as an import takes them."""

    algorithm: str
    versions: tuple[SecretBytes, ...] = field(repr=False)


async def export(source: VaultSource, path: str, purpose: Purpose) -> TransitKey:
    """The key at a path such as `transit/orders`. Raises `NotMovable`, `ExternalFailed`, `InvalidField`."""
    mount, name = source.transit_key(path)
    about, _ = await source.with_token(lambda api: api.transit_key(mount, name))
    kind = _kind(about, purpose)
    exported, _ = await source.with_token(lambda api: api.export(mount, name, kind.export))
    versions = exported.get("keys")
    if not isinstance(versions, dict) or not all(str(number).isdecimal() for number in versions):
        raise Unreadable("the answer has no versions of the key")
    numbers = sorted(map(int, versions))
    if numbers != list(range(1, len(numbers) + 1)):
        raise NotMovable(
            f"the vault gives versions {numbers[0]} to {numbers[-1]} of the key, and here they begin at 1; "
            "lower min_decryption_version, if the ones before were not trimmed"
        )
    return TransitKey(kind.algorithm, tuple(_material(versions[str(number)]) for number in numbers))


def _kind(about: Mapping[str, Any], purpose: Purpose) -> Kind:
    kind = KINDS.get((str(about.get("type")), purpose))
    if kind is None:
        raise NotMovable(f"a key of this type is not for {purpose.value} here")
    if about.get("derived") is True:
        raise NotMovable("the key is derived: each context has a key of its own, which no export gives")
    if about.get("exportable") is not True:
        raise NotMovable("the key is not exportable; its config can say so, once and for all")
    return kind


def _material(text: object) -> SecretBytes:
    """Base64 of bytes, or an RSA key in PEM, which becomes PKCS #8 in DER."""
    if isinstance(text, str) and text.startswith("-----BEGIN"):
        return key_files.private_key(SecretBytes(text.encode()), "the exported key")
    return SecretBytes(decoded(text))
