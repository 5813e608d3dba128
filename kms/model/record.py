"""Records: what the store keeps of a resource, as dataclasses with a canonical byte form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Self, get_type_hints

from blindfold import _canonical
from blindfold._encoding import b64url, unb64url
from blindfold.errors import BlindfoldError
from kms.errors import StoreTampered
from kms.model.row import dump_row, load_row


def _time_from(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


_DECODERS: dict[Any, Callable[[Any], Any]] = {
    str: str,
    int: int,
    bool: bool,
    bytes: unb64url,
    datetime: _time_from,
    datetime | None: lambda text: None if text is None else _time_from(text),
    tuple[str, ...]: tuple,
    Mapping[str, str]: lambda value: MappingProxyType(dict(value)),
}


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return b64url(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {item.name: hints[item.name] for item in fields(cls)}


@dataclass(frozen=True, slots=True)
class Record:
    """Base. A subclass names its `KIND` in the store and has fields of the types that `_DECODERS` lists."""

    KIND: ClassVar[str] = ""

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785) of all fields. Raises `LimitExceeded` above 8 MiB."""
        return dump_row({item.name: _encode(getattr(self, item.name)) for item in fields(self)}, self.KIND)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `StoreTampered` for anything `to_bytes` would not have written."""
        hints: dict[str, Any] = _hints(cls)  # type: ignore[arg-type]
        try:
            obj = load_row(data, cls.KIND)
            _canonical.expect_fields(obj, frozenset(hints), cls.KIND)
            record = cls(**{name: _DECODERS[hint](obj[name]) for name, hint in hints.items()})
        except (BlindfoldError, ValueError, TypeError, AttributeError):
            record = None
        if record is None or record.to_bytes() != data:
            raise StoreTampered(f"a stored row of kind {cls.KIND} cannot be read")
        return record
