"""The way of one operation of `kms.v1.CryptoService`, alone or in a batch: convert, run, convert."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from kms.errors import InvalidField, KmsError, LimitExceeded
from kms.model.names import KeyName, NamespaceName
from kms.server.checksums import Checksums
from kms.server.status import to_status
from kms.services.call import Call
from kms.services.operations import MAX_ITEMS

# Generated messages: the stubs of each tell the fields.
Q = TypeVar("Q", bound=Any)
A = TypeVar("A", bound=Any)
B = TypeVar("B", bound=Any)

# What an operation is on: a key, or for GenerateRandom a namespace.
Target = KeyName | NamespaceName


@dataclass(frozen=True, slots=True)
class Operation(Generic[Q, A]):
    """How requests become work, and results answers.

    `to_target` reads a name and a version, 0 for none; `to_item` makes of a request and a version what `run`
    takes, besides the call, the target, and the request or batch itself; `fill` writes a result into an
    answer. `of_batch` are fields that a batch has for all its requests.
    """

    request: type[Q]
    answer: type[A]
    run: Callable[[Call, Any, Sequence[Any], Any], Awaitable[Sequence[Any]]]
    to_target: Callable[[str], tuple[Target, int]]
    to_item: Callable[[Q, int], object]
    fill: Callable[[A, Any, Q], None]
    of_batch: tuple[str, ...] = ()
    checksums: Checksums = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "checksums", Checksums(self.request, self.answer))

    async def one(self, call: Call, request: Q) -> A:
        """The answer to a request. Raises `KmsError`."""
        target, version = self.to_target(request.name)
        wanted = self.checksums.verify(request)
        [result] = await self.run(call, target, [self.to_item(request, version)], request)
        if isinstance(result, KmsError):
            raise result
        answer: A = self.answer()
        self.fill(answer, result, request)
        if wanted:
            self.checksums.add(answer)
        return answer

    async def many(self, call: Call, batch: Any, answer: B) -> B:
        """The answer to a batch: a result for each request. Raises `KmsError` for the batch as a whole."""
        if not 1 <= len(batch.requests) <= MAX_ITEMS:
            raise LimitExceeded("requests", f"1 to {MAX_ITEMS} of them in a batch")
        target, version = self.to_target(batch.name)
        if version:
            raise InvalidField("name", "is a key version; a batch is of a key")
        requests = list(batch.requests)
        items: list[object] = []
        # Of each request whether it wants checksums, or what is wrong with it.
        begun: list[bool | KmsError] = []
        for request in requests:
            try:
                item = self._item(target, request)
                begun.append(self.checksums.verify(request))
                items.append(item)
            except KmsError as error:
                begun.append(error)
        done = iter(await self.run(call, target, items, batch) if items else ())
        add, fill = answer.results.add, self.fill
        for request, wanted in zip(requests, begun, strict=True):
            result = wanted if isinstance(wanted, KmsError) else next(done)
            entry = add()
            if isinstance(result, KmsError):
                entry.error.CopyFrom(to_status(result, call.request_id))
                continue
            fill(entry.response, result, request)
            if wanted:
                self.checksums.add(entry.response)
        return answer

    def _item(self, target: Target, request: Q) -> object:
        """The item of a request in a batch. Raises `KmsError`."""
        version = self._version(target, request.name) if request.name else 0
        for name in self.of_batch:
            if getattr(request, name):
                raise InvalidField(name, "is a field of the batch")
        return self.to_item(request, version)

    def _version(self, target: Target, name: str) -> int:
        named, version = self.to_target(name)
        if named != target:
            raise InvalidField("name", "is not that of the batch, nor of a version of its key")
        return version
