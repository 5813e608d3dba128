"""A root of trust protects the root key, 32 random bytes, and gives it back when it has its material.

What a provider needs to do so (a file, a passphrase, shares, a token's PIN) it is built with; a server whose
provider cannot be built yet is locked. What it must remember is in the `RootKeyRecord`, which the store
keeps. Changing the provider writes another record for the same root key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, Self

import rfc8785

from blindfold._encoding import b64url, unb64url
from blindfold.errors import Corrupt
from blindfold.secret import SecretBytes
from kms.errors import ConfigError, Kind, KmsError, StoreTampered
from kms.model.chain import STORE_ID_SIZE, Malformed, parse_object

_SCHEMA = "kms/v1 root key"
_FIELDS = {"schema", "store_id", "provider", "parameters", "check", "wrapped"}


class WrongRootMaterial(KmsError):
    """The passphrase, file or shares are well-formed but not those that protect this store."""

    kind = Kind.INVALID
    reason = "WRONG_ROOT_MATERIAL"
    hint = "Give the material this store was made with, or that it was last moved to."


@dataclass(frozen=True, slots=True)
class RootKeyRecord:
    """What the store remembers of its root of trust; nothing in it is secret.

    `check` tells wrong material from a damaged record; `wrapped` is the protected root key, in a form of
    the provider's own.
    """

    store_id: bytes
    provider: str
    wrapped: bytes
    check: bytes = b""
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        fields: dict[str, Any] = {
            "schema": _SCHEMA,
            "store_id": self.store_id.hex(),
            "provider": self.provider,
            "parameters": dict(self.parameters),
            "check": b64url(self.check),
            "wrapped": b64url(self.wrapped),
        }
        return rfc8785.dumps(fields)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """The inverse of `to_bytes`. Raises `StoreTampered` for anything it would not have written."""
        try:
            record = cls._parse(body)
        except (Malformed, Corrupt, ValueError, TypeError, AttributeError):
            record = None
        if record is None:
            raise StoreTampered("the record of the root key is damaged")
        return record

    @classmethod
    def _parse(cls, body: bytes) -> Self | None:
        fields = parse_object(body)
        if set(fields) != _FIELDS or fields["schema"] != _SCHEMA:
            return None
        texts = [fields["provider"], *fields["parameters"].values()]
        record = cls(
            bytes.fromhex(fields["store_id"]),
            fields["provider"],
            unb64url(fields["wrapped"]),
            unb64url(fields["check"]),
            MappingProxyType(fields["parameters"]),
        )
        sound = len(record.store_id) == STORE_ID_SIZE and all(isinstance(text, str) for text in texts)
        return record if sound and record.to_bytes() == body else None


class RootOfTrust(Protocol):
    """A provider with its material. `warning` is "" or what the operator should read at every start."""

    @property
    def provider(self) -> str: ...

    @property
    def warning(self) -> str: ...

    def protect(self, root_key: SecretBytes, store_id: bytes) -> RootKeyRecord:
        """A record that `unlock` turns back into the root key, and no other provider or material does."""
        ...

    def unlock(self, record: RootKeyRecord) -> SecretBytes:
        """The root key.

        Raises `WrongRootMaterial`; `ConfigError` if the record is another provider's or the provider
        cannot work; `StoreTampered` if the record was changed.
        """
        ...


def check_provider(record: RootKeyRecord, provider: str) -> None:
    """Raise `ConfigError` unless the record is the provider's."""
    if record.provider != provider:
        raise ConfigError(
            f"the store's root of trust is {record.provider!r}, the configured one {provider!r}"
        )
