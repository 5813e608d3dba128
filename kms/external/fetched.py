"""What a server had, as the secret that was asked for."""

import base64
import binascii
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from blindfold.secret import SecretBytes
from kms.external.errors import NotAsExpected, TooLarge
from kms.model.secret_type import SecretEncoding, SecretType, VaultSecret

# Opens a credential: whoever connects does, and so the KMS sees none. It is asked again at each login.
OpenSecret = Callable[[SecretType], Awaitable[SecretBytes]]


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """A secret. It may be kept for `keep_seconds`, and is better asked for again after `refresh_seconds`.

    `is_leased`: it lives no longer than its lease, which is renewed here while it can be; asking again gives
    the same secret until it cannot. `version` is 0 where there are none.
    """

    secret: SecretBytes = field(repr=False)
    keep_seconds: float
    is_leased: bool = False
    version: int = 0
    refresh_seconds: float = math.inf


def chosen(data: Mapping[str, object], wanted: VaultSecret, most: int) -> SecretBytes:
    """The member `wanted.key` of data, or all of it as JSON; in bytes, at most so many.

    A member that is no text is its JSON. Raises `NotAsExpected`, `TooLarge`.
    """
    if not wanted.key:
        return _bounded(_encoded(data), most)
    if wanted.key not in data or data[wanted.key] is None:
        raise NotAsExpected(f"what is at the path has no {wanted.key}")
    value = data[wanted.key]
    raw = _encoded(value) if not isinstance(value, str) else _text(value)
    return _bounded(_decoded(raw, wanted.encoding), most)


def chosen_of_bytes(body: bytes, wanted: VaultSecret, most: int) -> SecretBytes:
    """As `chosen`, of bytes that are a JSON object only if a member is wanted."""
    if not wanted.key:
        return _bounded(_decoded(body, wanted.encoding), most)
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise NotAsExpected("what is at the path is no JSON object, and has no members")
    return chosen(data, wanted, most)


def _decoded(raw: bytes, encoding: SecretEncoding) -> bytes:
    if encoding is SecretEncoding.TEXT:
        return raw
    try:
        return base64.b64decode(raw.strip(), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise NotAsExpected("the secret is not standard base64")


def _text(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        pass
    raise NotAsExpected("the secret is no Unicode text")


def _encoded(value: object) -> bytes:
    return _text(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def _bounded(secret: bytes, most: int) -> SecretBytes:
    if len(secret) > most:
        raise TooLarge(f"the secret has more than {most} bytes")
    return SecretBytes(secret)
