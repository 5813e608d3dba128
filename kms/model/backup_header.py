"""The public beginning of a backup (docs/spec/backup.md, "Header"). Nothing in it is secret."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Self

import rfc8785

from blindfold._encoding import lp
from blindfold.envelope import Source, read_exactly
from kms.errors import BackupInvalid
from kms.model.chain import HASH_SIZE, STORE_ID_SIZE, Malformed, parse_object

MAGIC = b"kms backup v1\n"
ROOT_KEY_ID_SIZE = 16

_LENGTH_SIZE = 2
_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "store_id": STORE_ID_SIZE,
        "chain_hash": HASH_SIZE,
        "root_key_id": ROOT_KEY_ID_SIZE,
    }
)


@dataclass(frozen=True, slots=True)
class BackupHeader:
    """Whose rows a backup holds, of when, and what opens it.

    `scope` is the resource name of which all rows are; `sequence` and `chain_hash` say where the audit chain
    of the store `store_id` stood; `time` is in the form of `kms.model.chain.timestamp`; `root_key_id` tells
    root keys apart. `root_record` is the canonical JSON of the record that the root of trust gives the root
    key back from, or "". `wrapped_key` is the backup key.
    """

    SCHEMA: ClassVar[str] = "kms/v1 backup"
    scope: str
    trust_domain: str
    store_id: bytes
    time: str
    sequence: int
    chain_hash: bytes
    rows: int
    root_key_id: bytes
    root_record: str
    wrapped_key: bytes

    def to_bytes(self) -> bytes:
        """magic || lp(canonical JSON). Raises `ValueError` above 65,535 bytes."""
        return MAGIC + lp(rfc8785.dumps({"schema": self.SCHEMA} | self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """The fields, bytes in lower-case hex."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}

    def digest(self) -> bytes:
        """SHA-256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).digest()

    @classmethod
    def read(cls, source: Source) -> Self:
        """Take the header off the front of a backup. Raises `BackupInvalid` for what no `to_bytes` gave."""
        header = read_header(source)
        if type(header) is not cls:
            raise BackupInvalid(f"it is a {header.SCHEMA}, not a {cls.SCHEMA}")
        return header

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Of the fields as JSON has them. Raises `ValueError`, `TypeError`."""
        if set(values) != {item.name for item in fields(cls)}:
            raise ValueError
        header = cls(**{item.name: _DECODERS[item.type](values[item.name]) for item in fields(cls)})
        if not header._is_possible():
            raise ValueError
        return header

    def _is_possible(self) -> bool:
        sizes = all(len(getattr(self, name)) == size for name, size in _SIZES.items())
        return sizes and 1 <= self.sequence < 2**53 and 0 <= self.rows < 2**53


@dataclass(frozen=True, slots=True)
class StoreBackupHeader(BackupHeader):
    """Of a whole store. `scope` is `stores/{id in hex}`.

    `follows` is the `digest` of the header of the backup that this one goes on from, and
    `wrapped_previous_key` that one's backup key; both are empty in a full backup.
    """

    SCHEMA: ClassVar[str] = "kms/v1 store backup"
    follows: bytes
    wrapped_previous_key: bytes

    def _is_possible(self) -> bool:
        whole = not self.follows and not self.wrapped_previous_key
        follows = len(self.follows) == HASH_SIZE and bool(self.wrapped_previous_key)
        right = self.scope == store_scope(self.store_id) and bool(self.root_record)
        return right and (whole or follows) and BackupHeader._is_possible(self)


_KINDS: Mapping[str, type[BackupHeader]] = MappingProxyType(
    {kind.SCHEMA: kind for kind in (BackupHeader, StoreBackupHeader)}
)


def store_scope(store_id: bytes) -> str:
    """What a backup of that store is of."""
    return f"stores/{store_id.hex()}"


def read_header(source: Source) -> BackupHeader:
    """As `BackupHeader.read`, of whichever kind it is."""
    start = read_exactly(source, len(MAGIC))
    if start != MAGIC:
        raise BackupInvalid("it does not begin as a backup of this version does")
    length = read_exactly(source, _LENGTH_SIZE)
    body = read_exactly(source, int.from_bytes(length, "big"))
    try:
        values = parse_object(body)
        header = _KINDS[values.pop("schema")].parse(values)
        same = header.to_bytes() == start + length + body
    except (Malformed, ValueError, TypeError, KeyError):
        same = False
    if not same:
        raise BackupInvalid("its header cannot be read")
    return header


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


_DECODERS: Mapping[Any, Callable[[Any], Any]] = MappingProxyType(
    {str: _text, int: _number, bytes: bytes.fromhex}
)
