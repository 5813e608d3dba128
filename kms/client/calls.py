"""Calls before they are made: bytes to send, and how to read the answer. No I/O.

A field `{field}_crc32c` is the CRC32C of `{field}` (protos/kms/v1/crypto.proto). A request brings all it can,
and the answer must have all it can.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar, get_args

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from blindfold.secret import SecretBytes
from kms.client import operations
from kms.client.errors import CallDamaged, CallFailed, from_status
from kms.client.operations import Request
from kms.crypto.checksum import checksum
from kms.errors import InvalidField
from protos.kms.v1 import crypto_service_pb2

R = TypeVar("R")

_METHODS = crypto_service_pb2.DESCRIPTOR.services_by_name["CryptoService"].methods_by_name
MAX_ITEMS = 1000
MAX_REQUEST = 4 * 2**20
VERSIONS = "/versions/"
_CRC32C = "_crc32c"
# Names of ours that the messages spell out.
_SPELT = {
    "aad": "additional_authenticated_data",
    "destination_aad": "destination_additional_authenticated_data",
}


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A call that can be made several times with the same bytes.

    `read` raises `CallDamaged`. `repeatable` says whether it may be made again when it is not known to have
    been done.
    """

    method: MethodDescriptor
    raw: bytes
    read: Callable[[Any], R]
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """How a kind of request becomes a message, and a message an answer; alone, and in a batch."""

    method: MethodDescriptor
    batch: MethodDescriptor
    message: type[Any]
    sent: Sequence[tuple[str, str]]
    sent_checksums: Sequence[str]
    answer: Callable[..., Any]
    answered: Sequence[tuple[str, Callable[[Any], Any]]]
    answered_checksums: Sequence[str]

    @classmethod
    def of(cls, kind: type[Request[Any]]) -> Self:
        """By its name. The answer of `class Encrypt(Request[Encrypted])` is Encrypted."""
        method = _METHODS[kind.__name__]
        [answer] = get_args(kind.__orig_bases__[0])  # type: ignore[attr-defined]
        answered = method.output_type.fields_by_name
        return cls(
            method,
            _METHODS[f"Batch{kind.__name__}"],
            GetMessageClass(method.input_type),
            tuple((name, _SPELT.get(name, name)) for name in _names(kind)),
            _with_checksums(method.input_type),
            answer,
            tuple((name, _reader(answered[name])) for name in _names(answer)),
            _with_checksums(method.output_type),
        )


def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def _reader(field: FieldDescriptor) -> Callable[[Any], Any]:
    """An enum's value is read as its name, without what its type's values all begin with."""
    if field.GetOptions().debug_redact:
        return SecretBytes
    if field.enum_type is None:
        return lambda value: value
    values = field.enum_type.values_by_number
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    return lambda value: values[value].name.removeprefix(prefix)


def _with_checksums(message: Descriptor) -> Sequence[str]:
    names = message.fields_by_name
    return tuple(name for name in names if name + _CRC32C in names)


OPERATIONS: Mapping[type[Request[Any]], Operation] = MappingProxyType(
    {
        kind: Operation.of(kind)
        for kind in (getattr(operations, name) for name in _METHODS if f"Batch{name}" in _METHODS)
    }
)


def of_one(name: str, request: Request[R], *, checksums: bool = True) -> Call[R]:
    """`name` is of a key, of a version where the operation takes one, or of a namespace."""
    operation = OPERATIONS[type(request)]
    raw = to_message(request, name, checksums=checksums).SerializeToString()

    def read(answer: Any) -> R:
        made: R = _read(operation, answer, checksums=checksums)
        return made

    return Call(operation.method, raw, read, repeatable=True)


def of_many(
    name: str, requests: Sequence[Request[R]], *, checksums: bool = True
) -> Call[list[R | CallFailed]]:
    """One call for requests of one kind. Raises `InvalidField` if they are none, or do not go together."""
    key, item_name = split_name(name)
    kinds, destinations = {type(item) for item in requests}, {destination_of(item) for item in requests}
    if len(kinds) != 1:
        raise InvalidField("requests", "must be one or more, all of one kind")
    if len(destinations) != 1:
        raise InvalidField("destination", "must be the same for all requests of a batch")
    [kind], [destination] = kinds, destinations
    items = [to_item(item, item_name, checksums=checksums) for item in requests]
    return of_items(kind, key, destination, items, checksums=checksums)


def of_items(
    kind: type[Request[R]], key: str, destination: str, items: Sequence[Message], *, checksums: bool = True
) -> Call[list[R | CallFailed]]:
    """`of_many` for what `to_item` made."""
    operation = OPERATIONS[kind]
    batch: Any = GetMessageClass(operation.batch.input_type)(name=key, requests=items)
    if destination:
        batch.destination = destination

    def read(answer: Any) -> list[R | CallFailed]:
        if len(answer.results) != len(items):
            raise CallFailed(f"the KMS gave {len(answer.results)} answers to {len(items)} requests")
        return [_read_result(operation, result, checksums=checksums) for result in answer.results]

    return Call(operation.batch, batch.SerializeToString(), read, repeatable=True)


def split_name(name: str) -> tuple[str, str]:
    """What names a batch, and what names each of its items: "" where it is not a version."""
    key, separator, _ = name.partition(VERSIONS)
    return key, name if separator else ""


def destination_of(request: Request[Any]) -> str:
    """A batch has one for all its items."""
    return getattr(request, "destination", "")


def to_item(request: Request[Any], name: str, *, checksums: bool = True) -> Message:
    """The message of a request in a batch."""
    message: Any = to_message(request, name, checksums=checksums)
    if destination_of(request):
        message.ClearField("destination")
    return message  # type: ignore[no-any-return]


def to_message(request: Request[Any], name: str, *, checksums: bool = True) -> Message:
    operation = OPERATIONS[type(request)]
    given = {theirs: _reveal(getattr(request, ours)) for ours, theirs in operation.sent}
    for field in operation.sent_checksums if checksums else ():
        if given[field] is not None:
            given[field + _CRC32C] = checksum(given[field])
    message: Message = operation.message(name=name, **given)
    return message


def _reveal(value: Any) -> Any:
    return value.reveal() if isinstance(value, SecretBytes) else value


def _read_result(operation: Operation, result: Any, *, checksums: bool) -> Any:
    """An answer, or why there is none.

    Raises `CallDamaged`: what was damaged in one item on the way has to be sent again with all.
    """
    if not result.HasField("error"):
        return _read(operation, result.response, checksums=checksums)
    failure = from_status(result.error)
    if isinstance(failure, CallDamaged):
        raise failure
    return failure


def _read(operation: Operation, answer: Any, *, checksums: bool) -> Any:
    for field in operation.answered_checksums if checksums else ():
        if not answer.HasField(field + _CRC32C):
            raise CallDamaged(f"{field}: the KMS gave no CRC32C with it")
        if checksum(getattr(answer, field)) != getattr(answer, field + _CRC32C):
            raise CallDamaged(f"{field}: the answer does not have the CRC32C given with it")
    return operation.answer(**{name: read(getattr(answer, name)) for name, read in operation.answered})
