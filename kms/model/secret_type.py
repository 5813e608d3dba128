"""Secrets as configuration names them: sealed, in a vault, or in clear (docs/external-secrets.md).

A value says where a secret is and never prints it. Whoever needs it resolves it
(`kms.external`, `wingman`); the KMS keeps these values and resolves none.
"""

from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from blindfold.envelope import MAGIC, MAX_NAME
from blindfold.errors import BlindfoldError
from blindfold.forms import LOCATION_PREFIX, MAX_TEXT, from_location, to_location
from blindfold.secret import SecretBytes
from kms.errors import InvalidField, LimitExceeded
from kms.model.endpoint_url import check_path
from kms.model.json_form import INTEGER, Form, Variant, member_of, object_of, string, variant_of
from kms.model.names import SecretManagementAccessName
from kms.model.predicate import check_text, within

MAX_CLEAR_BYTES = 64 << 10
MAX_KEY_BYTES = 256
MAX_CIPHERTEXT = 1 << 20
MAX_VERSION = 2**31 - 1


class SecretEncoding(Enum):
    """How a vault holds the bytes of a secret: as UTF-8 text, or as standard base64 of them."""

    TEXT = "TEXT"
    BASE64 = "BASE64"


@dataclass(frozen=True, slots=True)
class BlindfoldSecret:
    """A sealed secret: `location` is `string:///` and the standard base64 of a sealed file.

    `expect_name` is the name that must be inside it, "" for any. What the file's header says is for whoever
    opens it. Raises `InvalidField`, `LimitExceeded`.
    """

    location: str
    expect_name: str = ""

    def __post_init__(self) -> None:
        if len(self.location) > MAX_TEXT:
            raise LimitExceeded("location", f"at most {MAX_TEXT} characters are allowed")
        if not _bytes_at(self.location).startswith(MAGIC):
            raise InvalidField("location", "is not of a sealed file; make one with blindfold seal --location")
        with within("expect_name"):
            check_text(self.expect_name, MAX_NAME)

    @property
    def sealed(self) -> bytes:
        """The sealed file in its binary form."""
        return _bytes_at(self.location)


@dataclass(frozen=True, slots=True)
class VaultSecret:
    """A secret that a vault has, and the access that reaches the vault.

    `path` begins with one of the access's mounts, and has the form that people know, without `v1/`, `data/`
    or `creds/`; without mounts (plain REST) it follows the endpoint. `key` names one member of what is
    there, "" all of it. `version` is for the second version of the key-value engine, 0 for the newest.
    `ciphertext` is for transit mounts: what is to be decrypted, `vault:v1:...`. Raises `InvalidField`,
    `LimitExceeded`.
    """

    access: SecretManagementAccessName
    path: str
    key: str = ""
    version: int = 0
    encoding: SecretEncoding = SecretEncoding.TEXT
    ciphertext: str = ""

    def __post_init__(self) -> None:
        check_path(self.path, "path")
        with within("key"):
            check_text(self.key, MAX_KEY_BYTES)
            if not self.key.isprintable():
                raise InvalidField("", "has characters that do not print")
        if not 0 <= self.version <= MAX_VERSION:
            raise InvalidField("version", f"must be a number from 1 to {MAX_VERSION}, or 0 for the newest")
        with within("ciphertext"):
            check_text(self.ciphertext, MAX_CIPHERTEXT)


@dataclass(frozen=True, slots=True, eq=False)
class ClearSecret:
    """A secret that is there for everybody to read who reads the configuration: 1 byte to 64 KiB.

    Refused wherever a flag does not allow it. Raises `InvalidField`, `LimitExceeded`.
    """

    secret: SecretBytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.secret) <= MAX_CLEAR_BYTES:
            raise LimitExceeded("location", f"has 1 to {MAX_CLEAR_BYTES} bytes")

    @classmethod
    def at(cls, location: str) -> "ClearSecret":
        """Of `string:///` and the standard base64 of the secret. Raises `InvalidField`, `LimitExceeded`."""
        return cls(SecretBytes(_bytes_at(location)))


SecretType: TypeAlias = BlindfoldSecret | VaultSecret | ClearSecret


def _bytes_at(location: str) -> bytes:
    try:
        return from_location(location)
    except BlindfoldError:
        pass
    raise InvalidField("location", f"must be {LOCATION_PREFIX} and standard base64")


def _decode_name(value: object) -> SecretManagementAccessName:
    return SecretManagementAccessName.parse(_TEXT.decode(value), "")


def _decode_expected(value: object) -> str:
    """No text is no demand; whoever gives one by mistake is told."""
    if not (text := _TEXT.decode(value)):
        raise InvalidField("", "is empty; leave it out for any name")
    return str(text)


def _encode_clear(secret: ClearSecret) -> object:
    """The one place where a clear secret is printed, for the store and for who wrote it."""
    return {"location": to_location(secret.secret.reveal())}


_TEXT = string()
_NAME = Form(_decode_name, str, {"type": "string"})
_EXPECTED = Form(_decode_expected, str, {"type": "string", "minLength": 1})
_CLEAR = object_of(ClearSecret.at, {"location": _TEXT}, ("location",))

SECRET_TYPE = variant_of(
    MappingProxyType(
        {
            "blindfold": Variant(
                BlindfoldSecret,
                object_of(BlindfoldSecret, {"location": _TEXT, "expect_name": _EXPECTED}, ("location",)),
            ),
            "vault": Variant(
                VaultSecret,
                object_of(
                    VaultSecret,
                    {
                        "access": _NAME,
                        "path": _TEXT,
                        "key": _TEXT,
                        "version": INTEGER,
                        "encoding": member_of(SecretEncoding),
                        "ciphertext": _TEXT,
                    },
                    ("access", "path"),
                ),
            ),
            "clear": Variant(ClearSecret, Form(_CLEAR.decode, _encode_clear, _CLEAR.schema)),
        }
    )
)


def parse_secret(value: object) -> SecretType:
    """Read the JSON object of a secret; `secret_to_json` is the inverse.

    Raises `InvalidField` and `LimitExceeded`, whose texts never have the secret.
    """
    secret: SecretType = SECRET_TYPE.decode(value)
    return secret


def secret_to_json(secret: SecretType) -> object:
    """The JSON object, with `type` first. That of a clear secret holds it."""
    return SECRET_TYPE.encode(secret)
