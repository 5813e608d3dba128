"""Between messages and plain values: times, enumerations, pages. Nothing here knows a resource."""

import base64
import binascii
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from kms.errors import InvalidField, LimitExceeded

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_PAGE_TOKEN = 1024
MAX_COMMENT = 256

E = TypeVar("E", bound=Enum)
M = TypeVar("M", bound=Message)


def timestamp(time: datetime | None) -> Timestamp | None:
    """A message field for a time with a zone; None leaves the field unset."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time.astimezone(UTC))
    return message


def timestamp_of_text(text: str) -> Timestamp:
    """A message field for a time that is kept as RFC 3339. Raises `ValueError`."""
    message = Timestamp()
    message.FromJsonString(text)
    return message


def to_time(message: Timestamp, field: str) -> datetime:
    """The time in UTC, to the microsecond. Raises `InvalidField`."""
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidField(field, "must be a time from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z")


def duration(span: timedelta) -> Duration:
    """A message field for a span of time."""
    message = Duration()
    message.FromTimedelta(span)
    return message


def to_span(message: Duration, field: str) -> timedelta:
    """The span, to the microsecond. Raises `InvalidField`."""
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError):
        pass
    raise InvalidField(field, "must be a duration of at most 315,576,000,000 seconds")


def enum_number(descriptor: EnumDescriptor, name: str) -> int:
    """The number of `{PREFIX}_{name}`, where the prefix is the enumeration's own. Raises `KeyError`."""
    return descriptor.values_by_name[_prefix(descriptor) + name].number


def enum_text(descriptor: EnumDescriptor, number: int) -> str:
    """The value's name without the prefix; the number itself, in digits, where the API has no such value."""
    value = descriptor.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix(_prefix(descriptor))


def to_enum(kind: type[E], descriptor: EnumDescriptor, number: int, field: str) -> E:
    """The member of `kind` named as the value, less its prefix.

    Raises `InvalidField` for a number that has none, such as that of UNSPECIFIED.
    """
    value = descriptor.values_by_number.get(number)
    name = value.name.removeprefix(_prefix(descriptor)) if value is not None else ""
    if name in kind.__members__:
        return kind[name]
    raise InvalidField(field, f"must be one of {', '.join(kind.__members__)}")


def masked(message: M, mask: FieldMask, readers: Mapping[str, Callable[[M], Any]]) -> dict[str, Any]:
    """What an update changes: for each path of the mask, what its reader makes of the message.

    Raises `InvalidField`, also for a mask that names nothing, or what may not be changed.
    """
    paths = sorted(set(mask.paths))
    if unknown := [path for path in paths if path not in readers]:
        raise InvalidField("update_mask", f"{unknown[0][:64]!r} is none of {', '.join(readers)}")
    if not paths:
        raise InvalidField("update_mask", f"names nothing; it may name {', '.join(readers)}")
    return {path: readers[path](message) for path in paths}


def _prefix(descriptor: EnumDescriptor) -> str:
    return descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")


def to_request_id(text: str) -> str:
    """A UUID in lower case, or "" for none (AIP-155). Raises `InvalidField`."""
    try:
        canonical = str(uuid.UUID(text)) if text else ""
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise InvalidField("request_id", "must be a UUID such as 2f1c6a0e-7f4e-4c39-9d5e-0a6f6f0c9b11")
    return canonical


def to_comment(text: str) -> str:
    """Why something is done, for the audit. Raises `LimitExceeded` above 256 bytes."""
    if len(text.encode()) > MAX_COMMENT:
        raise LimitExceeded("comment", f"at most {MAX_COMMENT} bytes are allowed")
    return text


def to_page_size(size: int) -> int:
    """How many items to list (AIP-158): 0 stands for 100, more is cut to 1,000. Raises `InvalidField`."""
    if size < 0:
        raise InvalidField("page_size", "must not be negative")
    return min(size or DEFAULT_PAGE, MAX_PAGE)


def page_token(last_name: str) -> str:
    """The token that continues a list after the item of that name; "" for "" ends it."""
    return base64.urlsafe_b64encode(last_name.encode()).rstrip(b"=").decode("ascii")


def to_last_name(token: str, prefix: str) -> str:
    """The name after which to continue; "" for the first page.

    A token is no permission: it only says where in a list that the caller may read to go on. One that does
    not lie under `prefix`, the list's own, or that `page_token` would not have written, is `InvalidField`.
    """
    if not token:
        return ""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        name = base64.urlsafe_b64decode(padded[: MAX_PAGE_TOKEN + 4]).decode()
    except (binascii.Error, UnicodeError):
        name = ""
    if not name.startswith(prefix) or page_token(name) != token:
        raise InvalidField("page_token", "is not a token of this list; begin again without one")
    return name
