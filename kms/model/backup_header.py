"""The public beginning of a backup (docs/spec/backup.md, "Header"). Nothing in it is secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Self

import rfc8785

from blindfold._encoding import lp
from blindfold.envelope import Source, read_exactly
from kms.errors import BackupInvalid
from kms.model.chain import HASH_SIZE, STORE_ID_SIZE, Malformed, parse_object

MAGIC = b"kms backup v1\n"
ROOT_KEY_ID_SIZE = 16

_SCHEMA = "kms/v1 backup"
_LENGTH_SIZE = 2
_SIZES: Mapping[str, int] = MappingProxyType(
    {"store_id": STORE_ID_SIZE, "chain_hash": HASH_SIZE, "root_key_id": ROOT_KEY_ID_SIZE}
)


@dataclass(frozen=True, slots=True)
class BackupHeader:
    """Whose rows a backup holds, of when, and what opens it.

    `scope` is the resource name of which all rows are; `sequence` and `chain_hash` say where the audit chain
    of the store `store_id` stood; `time` is in the form of `kms.model.chain.timestamp`; `root_key_id` tells
    root keys apart. `root_record` is the canonical JSON of the record that the root of trust gives the root
    key back from, or "". `wrapped_key` is the backup key.
    """

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
        return MAGIC + lp(rfc8785.dumps({"schema": _SCHEMA} | self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """The fields, bytes in lower-case hex."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}

    @classmethod
    def read(cls, source: Source) -> Self:
        """Take the header off the front of a backup. Raises `BackupInvalid` for what no `to_bytes` gave."""
        start = read_exactly(source, len(MAGIC))
        if start != MAGIC:
            raise BackupInvalid("it does not begin as a backup of this version does")
        length = read_exactly(source, _LENGTH_SIZE)
        body = read_exactly(source, int.from_bytes(length, "big"))
        try:
            header = cls._parse(body)
        except (Malformed, ValueError, TypeError):
            header = None
        if header is None or header.to_bytes() != start + length + body:
            raise BackupInvalid("its header cannot be read")
        return header

    @classmethod
    def _parse(cls, body: bytes) -> Self | None:
        values = parse_object(body)
        if values.pop("schema", None) != _SCHEMA or set(values) != {item.name for item in fields(cls)}:
            return None
        header = cls(**{item.name: _DECODERS[item.type](values[item.name]) for item in fields(cls)})
        sizes = all(len(getattr(header, name)) == size for name, size in _SIZES.items())
        numbers = 1 <= header.sequence < 2**53 and 0 <= header.rows < 2**53
        return header if sizes and numbers else None


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
