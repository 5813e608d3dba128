"""What a log may show of a message.

Generated messages print all their fields, `debug_redact` or not: never log one, log its view.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

HIDDEN = "<hidden>"


def log_view(message: Message) -> dict[str, object]:
    """The fields that are set, in plain types: bytes as their number, `debug_redact` fields as `HIDDEN`."""
    return {field.name: _field_view(field, value) for field, value in message.ListFields()}


def _field_view(field: FieldDescriptor, value: Any) -> object:
    if field.GetOptions().debug_redact:
        return HIDDEN
    if isinstance(value, Mapping) and field.message_type is not None:
        value_field = field.message_type.fields_by_name["value"]
        return {key: _value_view(value_field, value[key]) for key in value}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Message)):
        return [_value_view(field, item) for item in value]
    return _value_view(field, value)


def _value_view(field: FieldDescriptor, value: Any) -> object:
    if isinstance(value, Message):
        return log_view(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value
