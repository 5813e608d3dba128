"""Named sets of address prefixes, which the policies of a tenant use in the place of prefixes.

A KMS policy uses a set as it is at each call. A secret policy is given its prefixes when it is written, for
its document says by itself who may open (docs/adr/0020-prefix-sets-in-documents.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kms.errors import InvalidField
from kms.model.names import PrefixSetName
from kms.model.policy import MAX_DESCRIPTION_BYTES
from kms.model.policy_records import PrefixSetRecord
from kms.model.predicate import check_each, check_prefix, check_text, within
from kms.services.call import Call
from kms.services.guard import Guard
from kms.services.repository import Loaded, Repository
from kms.services.tenant_resources import Actions, TenantResources, Written
from kms.storage.interface import Require

MAX_SETS = 256
MAX_PREFIXES = 256

PrefixSet = Loaded[PrefixSetRecord]


@dataclass(frozen=True, slots=True)
class PrefixSetSettings:
    """What an author writes: 1 to 256 prefixes. Raises `InvalidField`, `LimitExceeded`."""

    prefixes: tuple[str, ...]
    description: str = ""

    def __post_init__(self) -> None:
        if not self.prefixes:
            raise InvalidField("prefixes", "must be a list of at least one prefix")
        check_each("prefixes", self.prefixes, MAX_PREFIXES, check_prefix)
        with within("description"):
            check_text(self.description, MAX_DESCRIPTION_BYTES)


class PrefixSets(TenantResources[PrefixSetRecord]):
    """A change counts from the next call on, where KMS policies name the set."""

    def __init__(self, guard: Guard, repository: Repository) -> None:
        actions = Actions.of("PrefixSet", "PrefixSets", "prefixSets")
        super().__init__(guard, repository, PrefixSetRecord, actions, MAX_SETS)

    async def create(
        self, call: Call, name: PrefixSetName, settings: PrefixSetSettings, request_id: str
    ) -> PrefixSet:
        """Raises `AlreadyExists`, `WrongState`."""

        def make() -> Written[PrefixSetRecord]:
            record = PrefixSetRecord(
                description=settings.description,
                prefixes=settings.prefixes,
                create_time=call.time,
                update_time=call.time,
                request_id=request_id,
            )
            return record, []

        return await self._create(call, name, request_id, make)

    async def update(
        self,
        call: Call,
        name: PrefixSetName,
        change: Callable[[PrefixSetSettings], PrefixSetSettings],
        etag: str,
    ) -> PrefixSet:
        """Raises `NotFound`, `EtagMismatch`, `InvalidField`, `LimitExceeded`."""

        def changed(record: PrefixSetRecord) -> Written[PrefixSetRecord]:
            settings = change(PrefixSetSettings(record.prefixes, record.description))
            written = PrefixSetRecord(
                description=settings.description,
                prefixes=settings.prefixes,
                create_time=record.create_time,
                update_time=call.time,
                request_id=record.request_id,
            )
            return written, []

        return await self._update(call, name, etag, changed)

    async def delete(self, call: Call, name: PrefixSetName, etag: str) -> None:
        """A KMS policy that names it denies everything from now on. Raises `NotFound`, `EtagMismatch`."""
        await self._delete(call, name, etag)


class TenantPrefixSets:
    """The sets of a tenant by their ids, each read when it is asked for."""

    def __init__(self, repository: Repository, tenant: str) -> None:
        self._repository = repository
        self._tenant = tenant
        self._read: dict[str, PrefixSet] = {}

    def __contains__(self, name: object, /) -> bool:
        if name in self._read:
            return True
        key = str(name)
        loaded = self._repository.load(PrefixSetRecord, str(PrefixSetName(self._tenant, key)))
        if loaded is not None:
            self._read[key] = loaded
        return loaded is not None

    def __getitem__(self, name: str, /) -> Sequence[str]:
        if name not in self:
            raise KeyError(name)
        return self._read[name].record.prefixes

    @property
    def read(self) -> tuple[PrefixSet, ...]:
        """The sets that were asked for so far."""
        return tuple(self._read.values())

    def requirements(self) -> list[Require]:
        """These sets are as they were read until the unit is written."""
        return [loaded.require() for loaded in self.read]
