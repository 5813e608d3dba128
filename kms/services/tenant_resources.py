"""Resources of a tenant, or of a namespace, that are made, read, listed, changed and deleted in one way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from kms.errors import WrongState
from kms.model.names import NamespaceName, ResourceName, TenantName
from kms.services.call import Call, Outcome, Page
from kms.services.guard import Action, Guard
from kms.services.repository import Loaded, Repository, Stored, create, found, page, same_request
from kms.storage.interface import Change


class Made(Stored, Protocol):
    """What can be kept, and was made by a request."""

    @property
    def request_id(self) -> str: ...


M = TypeVar("M", bound=Made)
T = TypeVar("T")

# A record, and what else is written with it.
Written = tuple[M, Sequence[Change]]


@dataclass(frozen=True, slots=True)
class Actions:
    create: Action
    get: Action
    list: Action
    update: Action
    delete: Action

    @classmethod
    def of(cls, noun: str, plural: str, permission: str) -> "Actions":
        """For `CreateNoun`, `ListPlural` and so on, with permissions such as `nouns.create`."""
        return cls(
            *(
                Action(f"{verb.capitalize()}{plural if verb == 'list' else noun}", f"{permission}.{verb}")
                for verb in ("create", "get", "list", "update", "delete")
            )
        )


class TenantResources(Generic[M]):
    """Base: those of one kind of record, at most `most` in a parent. Subclasses say what they are made of.

    `in_thread` is for kinds of which reading all may take more than a few milliseconds.
    """

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        kind: type[M],
        actions: Actions,
        most: int,
        *,
        in_thread: bool = False,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._kind = kind
        self._actions = actions
        self._most = most
        self._in_thread = in_thread

    async def get(self, call: Call, name: ResourceName) -> Loaded[M]:
        """Raises `NotFound`."""
        return await self._perform(call, self._actions.get, name, lambda: Outcome(self._found(name)))

    async def list(
        self, call: Call, parent: TenantName | NamespaceName, after: str, limit: int
    ) -> Page[Loaded[M]]:
        def act() -> Outcome[Page[Loaded[M]]]:
            return Outcome(self._page(f"{parent}/{self._kind.KIND}/", after, limit))

        return await self._perform(call, self._actions.list, parent, act)

    def _page(self, folder: str, after: str, limit: int) -> Page[Loaded[M]]:
        return page(self._repository.scan(self._kind, folder, after, limit + 1), limit)

    async def _perform(
        self, call: Call, action: Action, resource: ResourceName, act: Callable[[], Outcome[T]]
    ) -> T:
        return await self._guard.perform(call, action, resource, act, in_thread=self._in_thread)

    async def _create(
        self, call: Call, name: ResourceName, request_id: str, make: Callable[[], Written[M]]
    ) -> Loaded[M]:
        """What make makes. A repeat with the same request id returns what the first call made.

        Raises `AlreadyExists`, `WrongState` where there are as many as there may be, and what make raises.
        """

        def act() -> Outcome[Loaded[M]]:
            existing = self._repository.load(self._kind, str(name))
            if existing is not None:
                return Outcome(same_request(existing, request_id, existing.record.request_id))
            self._check_number(_folder(name))
            record, changes = make()
            return Outcome(Loaded(str(name), record, 1), [create(str(name), record), *changes])

        return await self._perform(call, self._actions.create, name, act)

    async def _update(
        self, call: Call, name: ResourceName, etag: str, change: Callable[[M], Written[M]]
    ) -> Loaded[M]:
        """What change makes of the record. Raises `NotFound`, `EtagMismatch`, and what change raises."""

        def act() -> Outcome[Loaded[M]]:
            loaded = self._found(name)
            loaded.check_etag(etag)
            record, changes = change(loaded.record)
            return Outcome(Loaded(loaded.name, record, loaded.counter + 1), [loaded.put(record), *changes])

        return await self._perform(call, self._actions.update, name, act)

    async def _delete(
        self, call: Call, name: ResourceName, etag: str, check: Callable[[], None] = lambda: None
    ) -> None:
        """Raises `NotFound`, `EtagMismatch`, and what check raises."""

        def act() -> Outcome[None]:
            loaded = self._found(name)
            loaded.check_etag(etag)
            check()
            return Outcome(None, [loaded.delete()])

        await self._perform(call, self._actions.delete, name, act)

    def _found(self, name: ResourceName) -> Loaded[M]:
        return found(self._repository.load(self._kind, str(name)), str(name))

    def _check_number(self, folder: str) -> None:
        if len(self._repository.scan(self._kind, folder, limit=self._most)) >= self._most:
            raise WrongState(f"there are {self._most} {self._kind.KIND} already; delete one first")


def _folder(name: ResourceName) -> str:
    """`tenants/acme/rateLimiters/` of the name of one of them."""
    text = str(name)
    return text[: text.rindex("/") + 1]
