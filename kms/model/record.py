"""Records: what the store keeps of a resource, as dataclasses with a canonical byte form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Self, get_args, get_type_hints

from blindfold import _canonical
from blindfold._canonical import JsonObject
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
    tuple[str, ...]: lambda value: tuple(map(str, value)),
    Mapping[str, str]: lambda value: MappingProxyType(dict(value)),
}


def _encode(value: object) -> object:
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, bytes):
        return b64url(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, tuple):
        return list(map(_encode, value))
    return dict(value) if isinstance(value, Mapping) else value


def _decoder(hint: Any) -> Callable[[Any], Any]:
    """For a field of that type. A tuple of parts is a list of their objects."""
    if hint in _DECODERS:
        return _DECODERS[hint]
    [kind, _] = get_args(hint)
    return lambda value: tuple(map(kind.from_json, value))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {item.name: hints[item.name] for item in fields(cls)}


@dataclass(frozen=True, slots=True)
class Part:
    """Base of what a record has several of, in a field of the type `tuple[SomePart, ...]`.

    A subclass has fields of the types that `_DECODERS` lists.
    """

    def to_json(self) -> JsonObject:
        """All fields."""
        return {item.name: _encode(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        """The inverse. Raises `DocumentInvalid`, and what the fields' decoders raise."""
        hints: dict[str, Any] = _hints(cls)  # type: ignore[arg-type]
        _canonical.expect_fields(obj, frozenset(hints), cls.__name__)
        return cls(**{name: _decoder(hint)(obj[name]) for name, hint in hints.items()})


@dataclass(frozen=True, slots=True)
class Record(Part):
    """Base. A subclass names its `KIND` in the store."""

    KIND: ClassVar[str] = ""

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785) of all fields. Raises `LimitExceeded` above 8 MiB."""
        return dump_row(self.to_json(), self.KIND)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `StoreTampered` for anything `to_bytes` would not have written."""
        try:
            record = cls.from_json(load_row(data, cls.KIND))
        except (BlindfoldError, ValueError, TypeError, AttributeError):
            record = None
        if record is None or record.to_bytes() != data:
            raise StoreTampered(f"a stored row of kind {cls.KIND} cannot be read")
        return record
