"""Rate limiters and user identifications: between messages and what the services take and give."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from kms.model.names import UserIdentificationName
from kms.model.rate_limit import IdentifierKind, OperationClass, Period, UserIdentifier
from kms.server.convert import enum_number, masked, timestamp, to_enum
from kms.services.rate_limiters import (
    Identification,
    IdentificationSettings,
    Limiter,
    LimiterSettings,
)
from protos.kms.v1.rate_limit_pb2 import OperationClass as OperationClassValue
from protos.kms.v1.rate_limit_pb2 import RateLimiter, RatePeriod, UserIdentification

_Kind = UserIdentification.Kind


def limiter_message(limiter: Limiter) -> RateLimiter:
    record, classes = limiter.record, OperationClassValue.DESCRIPTOR
    return RateLimiter(
        name=limiter.name,
        description=record.description,
        operation_classes=[
            OperationClassValue.ValueType(enum_number(classes, name)) for name in record.operation_classes
        ],
        number=record.number,
        period=RatePeriod.ValueType(enum_number(RatePeriod.DESCRIPTOR, record.period)),
        burst=record.burst,
        user_identification=record.user_identification,
        value_number=record.value_number,
        value_burst=record.value_burst,
        create_time=timestamp(record.create_time),
        etag=limiter.etag,
    )


def identification_message(identification: Identification) -> UserIdentification:
    record = identification.record
    return UserIdentification(
        name=identification.name,
        description=record.description,
        kind=_Kind.ValueType(enum_number(_Kind.DESCRIPTOR, record.kind)),
        header=record.header,
        create_time=timestamp(record.create_time),
        etag=identification.etag,
    )


def to_limiter(message: RateLimiter) -> LimiterSettings:
    """Raises `InvalidField`, `LimitExceeded`."""
    settings: dict[str, Any] = {name: read(message) for name, read in _LIMITER.items()}
    return LimiterSettings(**settings)


def to_limiter_change(message: RateLimiter, mask: FieldMask) -> Callable[[LimiterSettings], LimiterSettings]:
    """What an update does: it replaces what the mask names. Raises `InvalidField`."""
    new = masked(message, mask, _LIMITER)
    return lambda settings: replace(settings, **new)


def to_identification(message: UserIdentification) -> IdentificationSettings:
    """Raises `InvalidField`, `LimitExceeded`."""
    kind = to_enum(IdentifierKind, _Kind.DESCRIPTOR, message.kind, "kind")
    return IdentificationSettings(UserIdentifier(kind, message.header), message.description)


def to_identification_change(
    message: UserIdentification, mask: FieldMask
) -> Callable[[IdentificationSettings], IdentificationSettings]:
    """As `to_limiter_change`."""
    new = masked(message, mask, _IDENTIFICATION)

    def change(settings: IdentificationSettings) -> IdentificationSettings:
        identifier = replace(settings.identifier, header=new.get("header", settings.identifier.header))
        return IdentificationSettings(identifier, new.get("description", settings.description))

    return change


def _to_classes(message: RateLimiter) -> frozenset[OperationClass]:
    descriptor, field = OperationClassValue.DESCRIPTOR, "operation_classes"
    return frozenset(
        to_enum(OperationClass, descriptor, number, field) for number in message.operation_classes
    )


def _to_period(message: RateLimiter) -> Period:
    return to_enum(Period, RatePeriod.DESCRIPTOR, message.period, "period")


def _to_identification(message: RateLimiter) -> UserIdentificationName | None:
    named = message.user_identification
    return UserIdentificationName.parse(named, "user_identification") if named else None


_LIMITER: Mapping[str, Callable[[RateLimiter], object]] = MappingProxyType(
    {
        "description": lambda message: message.description,
        "operation_classes": _to_classes,
        "number": lambda message: message.number,
        "period": _to_period,
        "burst": lambda message: message.burst,
        "user_identification": _to_identification,
        "value_number": lambda message: message.value_number,
        "value_burst": lambda message: message.value_burst,
    }
)
_IDENTIFICATION: Mapping[str, Callable[[UserIdentification], str]] = MappingProxyType(
    {
        "description": lambda message: message.description,
        "header": lambda message: message.header,
    }
)
