"""Keys of a vault's transit engine on their way here (docs/external.md, "Moving from transit")."""

import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from blindfold.secret import SecretBytes
from kms.crypto import key_files
from kms.crypto.key_wrapping import Recipient
from kms.crypto.public_keys import to_pem
from kms.external.errors import ExternalFailed, NotMovable, NotThere, Refused, Unreadable
from kms.external.vault.api import decoded
from kms.external.vault.source import VaultSource
from kms.model.algorithms import Purpose

MAX_VERSIONS = 1000

_NUMBER = re.compile("[1-9][0-9]{0,8}", re.ASCII)


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


@dataclass(frozen=True, slots=True)
class TransitKey:
    """A key that can be brought here, with versions from 1 to `versions`."""

    mount: str
    name: str
    kind: Kind
    versions: int


async def look_up(source: VaultSource, path: str, purpose: Purpose) -> TransitKey:
    """The key at a path such as `transit/orders`. Raises `NotMovable`, `ExternalFailed`, `InvalidField`."""
    mount, name = source.transit_key(path)
    about, _ = await source.with_token(lambda api: api.transit_key(mount, name))
    kind = KINDS.get((str(about.get("type")), purpose))
    if kind is None:
        raise NotMovable(f"a key of this type is not for {purpose.value} here")
    if about.get("derived") is True:
        raise NotMovable("the key is derived: each context has a key of its own, which no export gives")
    if about.get("exportable") is not True:
        raise NotMovable("the key is not exportable; its config can say so, once and for all")
    first = max(_number(about, "min_available_version"), _number(about, "min_decryption_version"), 1)
    return TransitKey(
        mount, name, kind, len(_from_one([*range(first, _number(about, "latest_version") + 1)]))
    )


async def export(source: VaultSource, key: TransitKey, towards: bytes) -> tuple[bytes, ...]:
    """All versions as the vault wraps them to an RSA key, as `kms.crypto.key_wrapping` does.

    `towards` is its public half, an SPKI in DER, which the vault keeps as a key of its own meanwhile. Raises
    `NotMovable` where the vault cannot, and `ExternalFailed`.
    """
    mount, pem = key.mount, to_pem(towards).decode("ascii")
    guest = f"blindfold-import-{secrets.token_hex(8)}"
    try:
        await source.with_token(lambda api: api.take_public_key(mount, guest, pem), is_change=True)
        try:
            found, _ = await source.with_token(lambda api: api.export_wrapped(mount, guest, key.name))
        finally:
            with suppress(ExternalFailed):
                await source.with_token(lambda api: api.drop_key(mount, guest), is_change=True)
    except (NotThere, Refused):
        pass
    else:
        return tuple(map(decoded, _numbered(found)))
    raise NotMovable("the vault does not wrap keys to others; it may be too old, and give them in clear only")


async def export_in_clear(source: VaultSource, key: TransitKey, towards: bytes) -> tuple[bytes, ...]:
    """As `export`, by material that the vault gives in clear and that is wrapped here."""
    found, _ = await source.with_token(lambda api: api.export(key.mount, key.name, key.kind.export))
    recipient = Recipient(towards)
    return tuple(recipient.wrap(_material(text)) for text in _numbered(found))


def _numbered(answer: Mapping[str, Any]) -> list[object]:
    """What there is for each version, in their order."""
    versions = answer.get("keys")
    if not isinstance(versions, dict) or not versions or not all(map(_NUMBER.fullmatch, versions)):
        raise Unreadable("the answer has no versions of the key")
    return [versions[str(number)] for number in _from_one(sorted(map(int, versions)))]


def _from_one(numbers: list[int]) -> list[int]:
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise NotMovable(
            "the vault does not give all versions of the key, and here they begin at 1; lower "
            "min_decryption_version, if those before it were not trimmed"
        )
    return numbers


def _number(about: Mapping[str, Any], name: str) -> int:
    """Raises `Unreadable` for more versions than an import key serves for."""
    value = about.get(name)
    if type(value) is not int or not 0 <= value <= MAX_VERSIONS:
        raise Unreadable(f"the answer has no {name}, or one above {MAX_VERSIONS}")
    return value


def _material(text: object) -> SecretBytes:
    """Base64 of bytes, or an RSA key in PEM, which becomes PKCS #8 in DER."""
    if isinstance(text, str) and text.startswith("-----BEGIN"):
        return key_files.private_key(SecretBytes(text.encode()), "the exported key")
    return SecretBytes(decoded(text))
