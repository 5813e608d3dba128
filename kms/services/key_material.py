"""Fresh key material, drawn where it does not stop the event loop."""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from blindfold.secret import SecretBytes
from kms.crypto.key_handle import generate
from kms.errors import DeviceAbsent
from kms.model.algorithms import Algorithm
from kms.model.lifecycle import VersionState
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.model.sensitivity import Sensitivity


class Origin(StrEnum):
    """Where a version's material came from."""

    GENERATED = "GENERATED"
    IMPORTED = "IMPORTED"
    IMPORTED_PUBLIC = "IMPORTED_PUBLIC"
    COPIED = "COPIED"


def check_device(sensitivity: Sensitivity) -> None:
    """Raise `DeviceAbsent` for HIGH: there is no device to make its keys in."""
    if sensitivity is Sensitivity.HIGH:
        raise DeviceAbsent("a HIGH key is made inside a device, and this root of trust has none")


def check_here(record: KeyVersionRecord) -> None:
    """Raise `DeviceAbsent` for a version whose bytes are in a device."""
    if record.handle:
        raise DeviceAbsent(f"the key version is in the device {record.handle}, which is not connected")


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Material for one version; `public_key` is an SPKI in DER, empty for symmetric keys."""

    material: SecretBytes
    public_key: bytes


def awaiting_import(key: KeyRecord, now: datetime) -> KeyVersionRecord:
    """A version without material."""
    return KeyVersionRecord(
        state=VersionState.PENDING_IMPORT.value,
        algorithm=key.algorithm,
        sensitivity=key.sensitivity,
        origin=Origin.IMPORTED.value,
        wrapped_key=b"",
        public_key=b"",
        handle="",
        create_time=now,
        generate_time=None,
        destroy_time=None,
        destroy_event_time=None,
    )


async def new_version(algorithm: Algorithm, workers: Executor) -> NewVersion:
    """Generated in a worker for RSA, which takes a second; at once for all else."""
    if algorithm.is_asymmetric:
        made = await asyncio.get_running_loop().run_in_executor(workers, generate, algorithm)
    else:
        made = generate(algorithm)
    return NewVersion(made.material, made.public_key)
