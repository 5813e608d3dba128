"""Messages, and the JSON objects that they stand for.

What is unset is left out, enumerations are names without their prefix, durations are seconds in a member
with the suffix `_seconds`, and of a message that is a choice (a oneof `type`) the object has the name of
the one chosen as its `type`, beside what that one has.
"""

import base64
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from kms.errors import InvalidField
from kms.server.convert import enum_number, enum_text

_CONTENT = "content"
_CHOICE = "type"
_SECONDS = "_seconds"


def to_object(message: Message) -> dict[str, object]:
    """Raises `InvalidField` for a duration with parts of a second."""
    chosen = message.WhichOneof(_CHOICE) if _is_choice(message.DESCRIPTOR) else None
    if chosen is not None:
        return {_CHOICE: chosen, **to_object(getattr(message, chosen))}
    return {_member(field): _to_json(field, value) for field, value in message.ListFields()}


def fill(message: Message, values: Mapping[str, Any]) -> None:
    """Set in the message what a valid object has."""
    if _is_choice(message.DESCRIPTOR):
        chosen = getattr(message, values[_CHOICE])
        chosen.SetInParent()
        fill(chosen, {name: value for name, value in values.items() if name != _CHOICE})
        return
    fields = {_member(field): field for field in message.DESCRIPTOR.fields}
    for name, value in values.items():
        field: Any = fields[name]
        inner = getattr(message, field.name)
        if _is_map(field):
            inner.update(value)
        elif _is_duration(field):
            inner.seconds = value
        elif field.message_type is None:
            _set(message, field, value)
        elif field.is_repeated:
            for item in value:
                fill(inner.add(), item)
        else:
            inner.SetInParent()
            fill(inner, value)


def to_fields(mask: FieldMask, content: type[Message]) -> frozenset[str] | None:
    """The members of a content's object that an update replaces; None for all of them (AIP-134).

    The mask names `content`, fields below it, or `*`. Raises `InvalidField` for another path.
    """
    known = {f"{_CONTENT}.{field.name}": _member(field) for field in content.DESCRIPTOR.fields}
    for path in mask.paths:
        if path not in known and path not in (_CONTENT, "*"):
            raise InvalidField("update_mask", f"{path[:64]!r} is not content, a field of it, or *")
    if not mask.paths or not known.keys() >= set(mask.paths):
        return None
    return frozenset(known[path] for path in mask.paths)


def _to_json(field: FieldDescriptor, value: Any) -> object:
    if _is_map(field):
        return dict(value)
    if field.is_repeated:
        return [_item_to_json(field, item) for item in value]
    return _item_to_json(field, value)


def _item_to_json(field: FieldDescriptor, item: Any) -> object:
    if isinstance(item, Duration):
        if item.nanos:
            raise InvalidField(field.name, "must be whole seconds")
        return item.seconds
    if field.enum_type is not None:
        return enum_text(field.enum_type, item)
    if isinstance(item, bytes):
        return base64.b64encode(item).decode("ascii")
    return to_object(item) if isinstance(item, Message) else item


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend(_scalar(field, item) for item in value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return enum_number(field.enum_type, value)
    return base64.b64decode(value) if field.type == FieldDescriptor.TYPE_BYTES else value


def _member(field: Any) -> str:
    return str(field.name) + _SECONDS * _is_duration(field)


def _is_duration(field: Any) -> bool:
    kind = field.message_type
    return kind is not None and kind.full_name == Duration.DESCRIPTOR.full_name


def _is_choice(descriptor: Any) -> bool:
    return _CHOICE in descriptor.oneofs_by_name


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)
