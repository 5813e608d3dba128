"""Forms: how a field is read from JSON, written to it, and described by a JSON Schema.

Errors name the exact path of the field at fault (`kms.model.predicate.within`).
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from enum import Enum
from typing import Any

from kms.errors import InvalidField
from kms.model.predicate import within

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[0-2]\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """`decode` raises `InvalidField`. The schema (2020-12) lets pass all that `decode` does, and some more:
    it knows nothing of limits in bytes, nor of what several fields must be together.
    """

    decode: Callable[[object], Any]
    encode: Callable[[Any], object]
    schema: Mapping[str, object]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidField("", "must be a string")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidField("", "must be an integer")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidField("", "must be true or false")
    return value


def _list(value: object, decode: Callable[[object], Any], at_least: int = 1) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) < at_least:
        raise InvalidField("", "must be a list" + " of at least one item" * at_least)
    items = []
    for index, item in enumerate(value):
        with within(f"[{index}]"):
            items.append(decode(item))
    return tuple(items)


def _bytes(value: object) -> bytes:
    """Standard base64 with padding (RFC 4648, section 4), in its one canonical form."""
    text = _text(value)
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = None
    if decoded is None or _base64(decoded) != text:
        raise InvalidField("", "is not base64")
    return decoded


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _timestamp(value: object) -> datetime:
    text = _text(value)
    try:
        moment = datetime.fromisoformat(text) if _TIMESTAMP.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None or moment.hour != int(text[11:13]):
        raise InvalidField("", "is not a time such as 2030-01-31T23:59:59Z")
    return moment.astimezone(UTC)


def _timestamp_text(moment: datetime) -> str:
    return moment.isoformat().removesuffix("+00:00") + "Z"


def _clock(value: object) -> time:
    text = _text(value)
    if not _CLOCK.fullmatch(text):
        raise InvalidField("", "is not a time of day such as 08:30")
    return time.fromisoformat(text)


def _string_map(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for pair in value.items() for text in pair
    ):
        raise InvalidField("", "must be an object of strings")
    return value


def string(**limits: object) -> Form:
    """A string; `limits` are of the schema."""
    return Form(_text, str, {"type": "string", **limits})


INTEGER = Form(_integer, int, {"type": "integer"})
BOOLEAN = Form(_boolean, bool, {"type": "boolean"})
BYTES = Form(_bytes, _base64, {"type": "string", "contentEncoding": "base64"})
MOMENT = Form(_timestamp, _timestamp_text, {"type": "string", "pattern": f"^{_TIMESTAMP.pattern}$"})
TIME_OF_DAY = Form(
    _clock, lambda value: value.isoformat("minutes"), {"type": "string", "pattern": f"^{_CLOCK.pattern}$"}
)
STRINGS = Form(_string_map, dict, {"type": "object", "additionalProperties": {"type": "string"}})


def member_of(names: type[Enum]) -> Form:
    """A member of an enumeration, by its name."""

    def decode(value: object) -> Any:
        if not isinstance(value, str) or value not in names.__members__:
            raise InvalidField("", "must be one of " + ", ".join(names.__members__))
        return names[value]

    return Form(decode, lambda member: member.name, {"enum": [*names.__members__]})


def list_of(form: Form, at_least: int = 1, **limits: object) -> Form:
    """A list, read as a tuple; `limits` are of the schema."""
    return Form(
        lambda value: _list(value, form.decode, at_least),
        lambda items: [form.encode(item) for item in items],
        {"type": "array", "items": form.schema, "minItems": at_least, **limits},
    )


def map_of(form: Form) -> Form:
    """An object whose members have names of the author's choice."""

    def decode(value: object) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise InvalidField("", "must be an object")
        members = {}
        for name, item in value.items():
            with within(str(name)):
                members[str(name)] = form.decode(item)
        return members

    return Form(
        decode,
        lambda members: {name: form.encode(item) for name, item in members.items()},
        {"type": "object", "additionalProperties": form.schema},
    )


def object_of(cls: Callable[..., Any], members: Mapping[str, Form], required: tuple[str, ...] = ()) -> Form:
    """An object of which each member is an argument of `cls`; no other may be there."""

    def decode(value: object) -> Any:
        fields = decode_members(value, members)
        for name in required:
            if name not in fields:
                raise InvalidField(name, "is missing")
        return cls(**fields)

    return Form(decode, lambda instance: encode_members(instance, members), object_schema(members, required))


@dataclass(frozen=True, slots=True)
class Variant:
    """One of several sorts of object: instances of `kind`, in a form made by `object_of`."""

    kind: type
    form: Form


def variant_of(variants: Mapping[str, Variant], tag: str = "type") -> Form:
    """An object of which the member `tag` says what the others are, and which has none but theirs."""

    def decode(value: object) -> Any:
        if not isinstance(value, Mapping):
            raise InvalidField("", "must be an object")
        name = value.get(tag)
        if not isinstance(name, str) or name not in variants:
            raise InvalidField(tag, "must be one of " + ", ".join(variants))
        return variants[name].form.decode({member: item for member, item in value.items() if member != tag})

    def encode(instance: Any) -> object:
        [(name, form)] = [(name, item.form) for name, item in variants.items() if item.kind is type(instance)]
        members: Any = form.encode(instance)
        return {tag: name, **members}

    return Form(decode, encode, {"oneOf": [_tagged(tag, name, item) for name, item in variants.items()]})


def _tagged(tag: str, name: str, variant: Variant) -> Mapping[str, object]:
    schema: Any = variant.form.schema
    return {
        **schema,
        "properties": {tag: {"const": name}, **schema["properties"]},
        "required": [tag, *schema["required"]],
    }


def object_schema(members: Mapping[str, Form], required: tuple[str, ...] = ()) -> Mapping[str, object]:
    return {
        "type": "object",
        "properties": {name: form.schema for name, form in members.items()},
        "required": list(required),
        "additionalProperties": False,
    }


def decode_members(value: object, members: Mapping[str, Form]) -> dict[str, Any]:
    """Raises `InvalidField` for a member that is not listed, too."""
    if not isinstance(value, Mapping):
        raise InvalidField("", "must be an object")
    fields = {}
    for name, item in value.items():
        form = members.get(name)
        if form is None:
            raise InvalidField("", f"unknown field or predicate {json.dumps(str(name)[:64])}")
        with within(name):
            fields[name] = form.decode(item)
    return fields


def encode_members(instance: object, members: Mapping[str, Form]) -> dict[str, object]:
    """The members that are set."""
    values = {name: getattr(instance, name) for name in members}
    return {
        name: members[name].encode(value)
        for name, value in values.items()
        if value not in (None, (), "", 0) and value != {}
    }
