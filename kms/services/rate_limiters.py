"""A tenant's own limits as resources: rate limiters, and the user identifications that they name."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kms.errors import InvalidField, LimitExceeded, WrongState
from kms.model.names import RateLimiterName, TenantName, UserIdentificationName
from kms.model.rate_limit import IdentifierKind, Limit, OperationClass, Period, Rate, UserIdentifier
from kms.model.records import RateLimiterRecord, UserIdentificationRecord
from kms.services.call import Call
from kms.services.guard import Guard
from kms.services.repository import Loaded, Repository, found
from kms.services.tenant_resources import Actions, TenantResources, Written
from kms.services.tenants import MAX_DESCRIPTION
from kms.storage.interface import Change

MAX_LIMITERS = 32
MAX_IDENTIFICATIONS = 32

Limiter = Loaded[RateLimiterRecord]
Identification = Loaded[UserIdentificationRecord]


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """What a tenant decides of a limiter; fields as in `RateLimiterRecord`.

    Raises `InvalidField`, `LimitExceeded`.
    """

    operation_classes: frozenset[OperationClass]
    number: int
    period: Period
    burst: int = 0
    user_identification: UserIdentificationName | None = None
    value_number: int = 0
    value_burst: int = 0
    description: str = ""

    def __post_init__(self) -> None:
        _check_description(self.description)
        if not self.operation_classes:
            raise InvalidField("operation_classes", "names none")
        if OperationClass.ENROL in self.operation_classes:
            raise InvalidField(
                "operation_classes", "enrolments are of no tenant yet; the platform limits them"
            )
        _ = self.rate, self.value_rate

    @property
    def rate(self) -> Rate:
        return Rate(self.number, self.period, self.burst or self.number)

    @property
    def value_rate(self) -> Rate | None:
        if not self.value_number and not self.value_burst:
            return None
        try:
            return Rate(self.value_number, self.period, self.value_burst or self.value_number)
        except InvalidField as error:
            raise type(error)(f"value_{error.field}", error.description) from None

    def check_identification(self, kind: IdentifierKind) -> None:
        """Raises `InvalidField` unless values of a header have a rate, and only they."""
        if (kind is IdentifierKind.HEADER) != (self.value_rate is not None):
            raise InvalidField("value_number", "is for user identifications by a header, which need one")


@dataclass(frozen=True, slots=True)
class IdentificationSettings:
    """What a tenant decides of a user identification. Raises `InvalidField`, `LimitExceeded`."""

    identifier: UserIdentifier
    description: str = ""

    def __post_init__(self) -> None:
        _check_description(self.description)


class RateLimiters(TenantResources[RateLimiterRecord]):
    """Changes count from the next call on: the guard tells `RateLimits` of each."""

    def __init__(self, guard: Guard, repository: Repository) -> None:
        actions = Actions.of("RateLimiter", "RateLimiters", "rateLimiters")
        super().__init__(guard, repository, RateLimiterRecord, actions, MAX_LIMITERS)

    async def create(
        self, call: Call, name: RateLimiterName, settings: LimiterSettings, request_id: str
    ) -> Limiter:
        """Raises `AlreadyExists`, `InvalidField`, `NotFound` for the user identification, `WrongState`."""

        def make() -> Written[RateLimiterRecord]:
            changes = self._check_named(name, settings, None)
            return _limiter_record(settings, call.time, request_id), changes

        return await self._create(call, name, request_id, make)

    async def update(
        self,
        call: Call,
        name: RateLimiterName,
        change: Callable[[LimiterSettings], LimiterSettings],
        etag: str,
    ) -> Limiter:
        """Raises `NotFound`, also for the user identification, `EtagMismatch`, `InvalidField`."""

        def changed(record: RateLimiterRecord) -> Written[RateLimiterRecord]:
            before = limiter_settings(record)
            settings = change(before)
            changes = self._check_named(name, settings, before.user_identification)
            return _limiter_record(settings, record.create_time, record.request_id), changes

        return await self._update(call, name, etag, changed)

    async def delete(self, call: Call, name: RateLimiterName, etag: str) -> None:
        """Raises `NotFound`, `EtagMismatch`."""
        await self._delete(call, name, etag)

    def _check_named(
        self, name: RateLimiterName, settings: LimiterSettings, before: UserIdentificationName | None
    ) -> list[Change]:
        """What is written when a limiter comes to name a user identification.

        The identification is written as it is, so that it is not deleted at the same time.
        """
        named = settings.user_identification
        if named is None:
            settings.check_identification(IdentifierKind.IDENTITY)
            return []
        loaded = None
        if named.tenant == name.tenant:
            loaded = self._repository.load(UserIdentificationRecord, str(named))
        identification = found(loaded, str(named))
        settings.check_identification(IdentifierKind(identification.record.kind))
        return [] if named == before else [identification.put(identification.record)]


class UserIdentifications(TenantResources[UserIdentificationRecord]):
    """A change counts from the next call on. The kind of one is fixed for its life."""

    def __init__(self, guard: Guard, repository: Repository) -> None:
        actions = Actions.of("UserIdentification", "UserIdentifications", "userIdentifications")
        super().__init__(guard, repository, UserIdentificationRecord, actions, MAX_IDENTIFICATIONS)

    async def create(
        self, call: Call, name: UserIdentificationName, settings: IdentificationSettings, request_id: str
    ) -> Identification:
        """Raises `AlreadyExists`, `WrongState`."""

        def make() -> Written[UserIdentificationRecord]:
            return _identification_record(settings, call.time, request_id), []

        return await self._create(call, name, request_id, make)

    async def update(
        self,
        call: Call,
        name: UserIdentificationName,
        change: Callable[[IdentificationSettings], IdentificationSettings],
        etag: str,
    ) -> Identification:
        """Raises `NotFound`, `EtagMismatch`, `InvalidField`."""

        def changed(record: UserIdentificationRecord) -> Written[UserIdentificationRecord]:
            before = identification_settings(record)
            settings = change(before)
            if settings.identifier.kind is not before.identifier.kind:
                raise InvalidField("kind", f"is {record.kind} for its life; make another one")
            return _identification_record(settings, record.create_time, record.request_id), []

        return await self._update(call, name, etag, changed)

    async def delete(self, call: Call, name: UserIdentificationName, etag: str) -> None:
        """Raises `NotFound`, `EtagMismatch`, and `WrongState` while a limiter names it."""

        def check() -> None:
            for limiter in self._repository.all(RateLimiterRecord, f"{TenantName(name.tenant)}/"):
                if limiter.record.user_identification == str(name):
                    raise WrongState(f"{limiter.name} names {name}; change or delete it first")

        await self._delete(call, name, etag, check)


def limits_of(repository: Repository, tenant: str) -> list[Limit]:
    """A tenant's own limits, for `RateLimits`. Raises `StoreTampered`."""
    limiters = repository.all(RateLimiterRecord, f"{TenantName(tenant)}/")
    return [_limit(repository, limiter) for limiter in limiters]


def limiter_settings(record: RateLimiterRecord) -> LimiterSettings:
    named = record.user_identification
    return LimiterSettings(
        operation_classes=frozenset(map(OperationClass, record.operation_classes)),
        number=record.number,
        period=Period(record.period),
        burst=record.burst,
        user_identification=UserIdentificationName.parse(named) if named else None,
        value_number=record.value_number,
        value_burst=record.value_burst,
        description=record.description,
    )


def identification_settings(record: UserIdentificationRecord) -> IdentificationSettings:
    return IdentificationSettings(
        UserIdentifier(IdentifierKind(record.kind), record.header), record.description
    )


def _limit(repository: Repository, limiter: Limiter) -> Limit:
    settings = limiter_settings(limiter.record)
    identifier = UserIdentifier()
    if settings.user_identification is not None:
        named = repository.require(UserIdentificationRecord, str(settings.user_identification))
        identifier = identification_settings(named.record).identifier
    return Limit(limiter.name, settings.operation_classes, settings.rate, identifier, settings.value_rate)


def _limiter_record(settings: LimiterSettings, create_time: datetime, request_id: str) -> RateLimiterRecord:
    return RateLimiterRecord(
        description=settings.description,
        operation_classes=tuple(sorted(settings.operation_classes)),
        number=settings.number,
        period=settings.period.value,
        burst=settings.burst,
        user_identification=str(settings.user_identification or ""),
        value_number=settings.value_number,
        value_burst=settings.value_burst,
        create_time=create_time,
        request_id=request_id,
    )


def _identification_record(
    settings: IdentificationSettings, create_time: datetime, request_id: str
) -> UserIdentificationRecord:
    return UserIdentificationRecord(
        description=settings.description,
        kind=settings.identifier.kind.value,
        header=settings.identifier.header,
        create_time=create_time,
        request_id=request_id,
    )


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        raise LimitExceeded("description", f"at most {MAX_DESCRIPTION} characters are allowed")
