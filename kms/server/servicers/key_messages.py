"""Keys and their versions: between messages and what the services take and give."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from kms.errors import InvalidField
from kms.model.algorithms import Purpose
from kms.model.names import KmsPolicyName
from kms.model.records import KeyRecord
from kms.model.sensitivity import Sensitivity
from kms.server.convert import duration, enum_number, enum_text, masked, timestamp, to_enum, to_span, to_time
from kms.services.key_material import Origin
from kms.services.key_versions import VersionView
from kms.services.keys import KeyQuery, KeySettings
from kms.services.repository import Loaded
from protos.kms.v1 import key_service_pb2 as pb
from protos.kms.v1.key_pb2 import Key, KeyAlgorithm, KeyOrigin, KeyPurpose, KeyVersion, NonceBudget
from protos.kms.v1.key_pb2 import Sensitivity as SensitivityValue
from protos.kms.v1.key_version_state_pb2 import KeyVersionState


def key_message(key: Loaded[KeyRecord]) -> Key:
    record = key.record
    return Key(
        name=key.name,
        purpose=KeyPurpose.ValueType(enum_number(KeyPurpose.DESCRIPTOR, record.purpose)),
        algorithm=_algorithm(record.algorithm),
        sensitivity=_sensitivity(record.sensitivity),
        labels=record.labels,
        description=record.description,
        kms_policy=record.policy,
        primary_version=f"{key.name}/versions/{record.primary}" if record.primary else "",
        rotation_period=duration(timedelta(seconds=record.rotation_period))
        if record.rotation_period
        else None,
        next_rotation_time=timestamp(record.next_rotation_time),
        minimum_encrypt_version=record.minimum_encrypt_version,
        minimum_decrypt_version=record.minimum_decrypt_version,
        create_time=timestamp(record.create_time),
        etag=key.etag,
    )


def version_message(view: VersionView) -> KeyVersion:
    record = view.row.record
    return KeyVersion(
        name=str(view.name),
        state=KeyVersionState.ValueType(enum_number(KeyVersionState.DESCRIPTOR, record.state)),
        primary=view.primary,
        algorithm=_algorithm(record.algorithm),
        sensitivity=_sensitivity(record.sensitivity),
        origin=KeyOrigin.ValueType(enum_number(KeyOrigin.DESCRIPTOR, record.origin)),
        public_only=record.origin == Origin.IMPORTED_PUBLIC,
        create_time=timestamp(record.create_time),
        generate_time=timestamp(record.generate_time),
        destroy_time=timestamp(record.destroy_time),
        destroy_event_time=timestamp(record.destroy_event_time),
        last_used_time=timestamp(view.last_used),
        nonce_budget=NonceBudget(invocations=view.invocations, limit=view.limit) if view.limit else None,
        etag=view.row.etag,
    )


def _algorithm(name: str) -> KeyAlgorithm.ValueType:
    return KeyAlgorithm.ValueType(enum_number(KeyAlgorithm.DESCRIPTOR, name))


def _sensitivity(name: str) -> SensitivityValue.ValueType:
    return SensitivityValue.ValueType(enum_number(SensitivityValue.DESCRIPTOR, name))


def to_purpose(number: int) -> Purpose:
    """Raises `InvalidField`."""
    return to_enum(Purpose, KeyPurpose.DESCRIPTOR, number, "purpose")


def to_algorithm(number: int) -> str:
    """The algorithm's name, "" for the purpose's default. What is none is left for the service to refuse."""
    return enum_text(KeyAlgorithm.DESCRIPTOR, number) if number else ""


def to_settings(key: Key) -> KeySettings:
    """Raises `InvalidField`, `LimitExceeded`."""
    settings: dict[str, Any] = {name: read(key) for name, read in _SETTINGS.values()}
    return KeySettings(**settings)


def to_change(key: Key, mask: FieldMask) -> Callable[[KeySettings], KeySettings]:
    """What an update does: it replaces what the mask names.

    A new rotation period begins now, unless the mask names the time of the next rotation too. Raises
    `InvalidField`.
    """
    read = masked(key, mask, {path: reader for path, (_, reader) in _SETTINGS.items()})
    new = {_SETTINGS[path][0]: value for path, value in read.items()}
    if "rotation_period" in new:
        new.setdefault("next_rotation_time", None)
    return lambda settings: replace(settings, **new)


def to_query(request: pb.ListKeysRequest) -> KeyQuery:
    """A state that the API does not have is left for the service to refuse."""
    number = request.primary_state
    state = enum_text(KeyVersionState.DESCRIPTOR, number) if number else ""
    return KeyQuery(request.label_selector, state)


def _to_sensitivity(key: Key) -> Sensitivity:
    if key.sensitivity == SensitivityValue.SENSITIVITY_UNSPECIFIED:
        return Sensitivity.MEDIUM
    return to_enum(Sensitivity, SensitivityValue.DESCRIPTOR, key.sensitivity, "sensitivity")


def _to_policy(key: Key) -> KmsPolicyName | None:
    return KmsPolicyName.parse(key.kms_policy, "kms_policy") if key.kms_policy else None


def _to_period(key: Key) -> timedelta | None:
    if not key.HasField("rotation_period"):
        return None
    period = to_span(key.rotation_period, "rotation_period")
    if period.microseconds:
        raise InvalidField("rotation_period", "must be whole seconds")
    return period


def _to_next(key: Key) -> datetime | None:
    if not key.HasField("next_rotation_time"):
        return None
    return to_time(key.next_rotation_time, "next_rotation_time")


# Which field of a key is which setting, and how it is read.
_SETTINGS: Mapping[str, tuple[str, Callable[[Key], object]]] = MappingProxyType(
    {
        "labels": ("labels", lambda key: dict(key.labels)),
        "description": ("description", lambda key: key.description),
        "kms_policy": ("policy", _to_policy),
        "rotation_period": ("rotation_period", _to_period),
        "next_rotation_time": ("next_rotation_time", _to_next),
        "minimum_encrypt_version": ("minimum_encrypt_version", lambda key: key.minimum_encrypt_version),
        "minimum_decrypt_version": ("minimum_decrypt_version", lambda key: key.minimum_decrypt_version),
        "sensitivity": ("sensitivity", _to_sensitivity),
    }
)
