"""Requests for any method, made from its descriptor alone, with a tenant's names in every field of text."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from google.api.field_behavior_pb2 import OUTPUT_ONLY, REQUIRED, field_behavior
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kms.identity.authority import create_root
from kms.model import names
from kms.model.names import OperatorName, ResourceName

DEPTH = 3
# What a field may hold besides texts, the likeliest first.
_CANDIDATES: Mapping[int, Sequence[Any]] = {
    FieldDescriptor.TYPE_BYTES: (bytes(32), bytes(16), bytes(12), None),
    FieldDescriptor.TYPE_ENUM: (1, 2, 3, None),
    FieldDescriptor.TYPE_BOOL: (True, None),
}
_NUMBERS = (32, 1, None)
# What no name will do for: a URL, and a root certificate.
_OTHERS = (
    "https://issuer.example",
    create_root("other.example", datetime.now(UTC)).certificate_pem().decode(),
)


def resource_names(tenant: str, namespace: str, identifier: str) -> tuple[str, ...]:
    """One name of every kind that a tenant has, the longest first."""
    values = {"tenant": tenant, "namespace": namespace, "version": 1, "revision": 1}
    made = [
        str(kind(**{item.name: values.get(item.name, identifier) for item in fields(kind)}))
        for kind in vars(names).values()
        if inspect.isclass(kind)
        and issubclass(kind, ResourceName)
        and kind not in (ResourceName, OperatorName)
    ]
    return tuple(sorted(made, key=lambda name: (-name.count("/"), name)))


@dataclass
class Leaf:
    """A field, and which of its candidates is tried."""

    path: tuple[FieldDescriptor, ...]
    candidates: Sequence[Any]
    tried: int = 0

    @property
    def dotted(self) -> str:
        return ".".join(item.name for item in self.path)

    @property
    def value(self) -> Any:
        """None for a field that stays unset."""
        return self.candidates[min(self.tried, len(self.candidates) - 1)]

    @property
    def is_exhausted(self) -> bool:
        return self.tried + 1 >= len(self.candidates)


@dataclass
class Attempt:
    """A request to a method, changed field by field until nothing in it is malformed.

    `choice` is the member of the oneof that a message consists of, if it consists of one.
    """

    method: MethodDescriptor
    texts: Sequence[str]
    choice: FieldDescriptor | None = None
    leaves: list[Leaf] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leaves = list(self._leaves(self.method.input_type, ()))

    def __str__(self) -> str:
        chosen = "" if self.choice is None else f" {self.choice.name}"
        return f"/{self.method.containing_service.full_name}/{self.method.name}{chosen}"

    def message(self) -> Message:
        made: Message = GetMessageClass(self.method.input_type)()
        for leaf in self.leaves:
            if leaf.value is not None:
                _set(made, leaf)
        return made

    def advance(self, violated: str) -> bool:
        """Try the next value for the field that was found at fault. False if there is none left to try."""
        path = ".".join(part.partition("[")[0] for part in violated.split("."))
        last = path.rpartition(".")[2]
        left = [leaf for leaf in self.leaves if not leaf.is_exhausted]
        for leaf in (
            *(leaf for leaf in left if leaf.dotted == path),
            *(leaf for leaf in left if f".{leaf.dotted}".endswith(f".{last}")),
        ):
            leaf.tried += 1
            return True
        for leaf in left:
            if f".{last}." in f".{leaf.dotted}":
                leaf.tried = len(leaf.candidates) - 1
                return True
        return False

    def _leaves(self, message: Any, path: tuple[FieldDescriptor, ...]) -> Iterator[Leaf]:
        for item in message.fields:
            behaviour = item.GetOptions().Extensions[field_behavior]
            if OUTPUT_ONLY in behaviour or (not path and self.choice not in (None, item)):
                continue
            is_asked_for = REQUIRED in behaviour or item.containing_oneof is not None or item is self.choice
            yield from self._of(item, (*path, item), is_asked_for=is_asked_for)

    def _of(
        self, item: FieldDescriptor, path: tuple[FieldDescriptor, ...], *, is_asked_for: bool
    ) -> Iterator[Leaf]:
        kind = item.message_type
        if kind is None:
            if item.type == FieldDescriptor.TYPE_STRING:
                yield Leaf(path, (*self.texts, *(_OTHERS if self.texts else ()), None))
            elif is_asked_for and not (item.containing_oneof or item).name.startswith("_"):
                yield Leaf(path, _CANDIDATES.get(item.type, _NUMBERS))
        elif kind is FieldMask.DESCRIPTOR:
            yield Leaf(path, (*_masks(item), None))
        elif (
            not kind.full_name.startswith("google.")
            and not kind.GetOptions().map_entry
            and len(path) <= DEPTH
        ):
            yield from self._leaves(kind, path)


def attempts(method: MethodDescriptor, texts: Sequence[str]) -> list[Attempt]:
    """One, or one for each operation of a stream that serves several."""
    fields = method.input_type.fields
    if method.client_streaming and all(item.containing_oneof for item in fields) and len(fields) > 1:
        return [Attempt(method, texts, choice) for choice in fields]
    return [Attempt(method, texts)]


def _masks(item: FieldDescriptor) -> Iterator[FieldMask]:
    """Each field of what lies beside the mask."""
    for beside in item.containing_type.fields:
        if beside.message_type is not None and beside is not item:
            yield from (FieldMask(paths=[inner.name]) for inner in beside.message_type.fields)


def _set(message: Any, leaf: Leaf) -> None:
    for item in leaf.path[:-1]:
        inner = getattr(message, item.name)
        message = (inner[0] if len(inner) else inner.add()) if item.is_repeated else inner
    last = leaf.path[-1]
    if last.is_repeated:
        getattr(message, last.name).append(leaf.value)
    elif isinstance(leaf.value, Message):
        getattr(message, last.name).CopyFrom(leaf.value)
    else:
        setattr(message, last.name, leaf.value)
