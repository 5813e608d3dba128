"""The content of policies: between messages and the JSON object of docs/policies.md.

What is unset is left out, enumerations are names, and what only the policy language can judge is passed on
as it is, so that its errors name the exact place.
"""

import base64
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from kms.errors import InvalidField, LimitExceeded
from kms.model.policy_json import MAX_POLICY_BYTES
from kms.server.convert import enum_number, enum_text
from protos.kms.v1.kms_policy_pb2 import KmsPolicyContent
from protos.kms.v1.secret_policy_pb2 import SecretPolicyContent

TIMEOUT = "decrypt_cache_timeout"
TIMEOUT_SECONDS = "decrypt_cache_timeout_seconds"
_CONTENT = "content"


def to_content(message: SecretPolicyContent | KmsPolicyContent) -> dict[str, object]:
    """The object that a message stands for. Raises `InvalidField` for a timeout with parts of a second.

    Raises `LimitExceeded` for a message of which the JSON, which is larger, would have too many bytes.
    """
    if message.ByteSize() > MAX_POLICY_BYTES:
        raise LimitExceeded(
            "rules", f"the policy has more than the {MAX_POLICY_BYTES} bytes that are allowed"
        )
    content = _to_object(message)
    if isinstance(message, SecretPolicyContent) and content.pop(TIMEOUT, None) is not None:
        timeout = message.decrypt_cache_timeout
        if timeout.nanos:
            raise InvalidField(TIMEOUT, "must be whole seconds")
        content[TIMEOUT_SECONDS] = timeout.seconds
    return content


def content_message(content: Mapping[str, object]) -> SecretPolicyContent:
    """The message of a secret policy's valid object."""
    fields: dict[str, Any] = dict(content)
    seconds = fields.pop(TIMEOUT_SECONDS, 0)
    message = SecretPolicyContent()
    _fill(message, fields)
    if seconds:
        message.decrypt_cache_timeout.seconds = seconds
    return message


def kms_content_message(content: Mapping[str, object]) -> KmsPolicyContent:
    """The message of a KMS policy's valid object."""
    message = KmsPolicyContent()
    _fill(message, content)
    return message


def to_fields(
    mask: FieldMask, content: type[SecretPolicyContent] | type[KmsPolicyContent]
) -> frozenset[str] | None:
    """The content's fields that an update replaces; None for all of them (AIP-134).

    The mask names `content`, fields below it, or `*`. Raises `InvalidField` for another path.
    """
    known = {f"{_CONTENT}.{name}" for name in content.DESCRIPTOR.fields_by_name}
    for path in mask.paths:
        if path not in known | {_CONTENT, "*"}:
            raise InvalidField("update_mask", f"{path[:64]!r} is not content, a field of it, or *")
    if not mask.paths or not known.issuperset(mask.paths):
        return None
    names = {path.removeprefix(f"{_CONTENT}.") for path in mask.paths}
    return frozenset(TIMEOUT_SECONDS if name == TIMEOUT else name for name in names)


def _to_object(message: Message) -> dict[str, object]:
    return {field.name: _to_json(field, value) for field, value in message.ListFields()}


def _to_json(field: FieldDescriptor, value: Any) -> object:
    if _is_map(field):
        return dict(value)
    if field.is_repeated:
        return [_item_to_json(field, item) for item in value]
    return _item_to_json(field, value)


def _item_to_json(field: FieldDescriptor, item: Any) -> object:
    if field.enum_type is not None:
        return enum_text(field.enum_type, item)
    if isinstance(item, bytes):
        return base64.b64encode(item).decode("ascii")
    return _to_object(item) if isinstance(item, Message) else item


def _fill(message: Message, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        field: Any = message.DESCRIPTOR.fields_by_name[name]
        if _is_map(field):
            getattr(message, name).update(value)
        elif field.message_type is None:
            _set(message, field, value)
        elif field.is_repeated:
            for item in value:
                _fill(getattr(message, name).add(), item)
        else:
            _fill(getattr(message, name), value)


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend(_scalar(field, item) for item in value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return enum_number(field.enum_type, value)
    return base64.b64decode(value) if field.type == FieldDescriptor.TYPE_BYTES else value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)
