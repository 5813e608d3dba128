"""Fresh key versions: drawn here, or made inside the device; none that is made there is lost or left behind.

What is made in the device cannot be in one transaction with the store. So a remnant, a row that says where
the key will be, is written before, and the unit that stores the version deletes it. Whatever then happens
between (a refusal, a crash), the row tells of a key that nobody needs, and `sweep` destroys it. A version
whose remnant was swept is not stored: its unit conflicts.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from blindfold.secret import SecretBytes
from kms.crypto.device.device import Device, MadeKey
from kms.crypto.key_handle import generate
from kms.errors import DeviceAbsent, DeviceUnavailable, KmsError, WrongState
from kms.model.algorithms import Algorithm
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp
from kms.model.device_handle import ID_SIZE, DeviceHandle
from kms.model.names import KeyName
from kms.model.records import RemnantRecord
from kms.model.sensitivity import Sensitivity
from kms.services.guard import ALLOW, Guard
from kms.services.repository import Loaded, Repository, create
from kms.storage.interface import Change, WriteConflict

# A device may still be making the key of a helper that is gone; none takes so long.
REMNANT_REST = timedelta(minutes=10)
BEGIN, SWEEP = "Kms.BeginDeviceKey", "Kms.DestroyDeviceRemnant"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """One version's key: bytes to be wrapped, or a `handle` (the text of a `DeviceHandle`) and no bytes.

    `public_key` is an SPKI in DER, empty for symmetric keys. `changes` belong into the unit that stores it.
    """

    material: SecretBytes | None
    public_key: bytes
    handle: str = ""
    changes: tuple[Change, ...] = ()
    failure: KmsError | None = None

    def check(self, sensitivity: Sensitivity) -> None:
        """Raise what kept it from being made, or `WrongState` if it is for a key of another sensitivity."""
        if self.failure is not None:
            raise self.failure
        if bool(self.handle) != (sensitivity is Sensitivity.HIGH):
            raise WrongState("the key was changed by somebody else; repeat the call")


class FreshVersions:
    """RSA keys that are drawn here take `workers`. `device` None: there is none. For one event loop."""

    def __init__(
        self, guard: Guard, repository: Repository, workers: Executor, device: Device | None, label: str
    ) -> None:
        """`label` is what the device's keys are labelled with, for people and for `strays`."""
        self._guard = guard
        self._repository = repository
        self._workers = workers
        self._device = device
        self._label = label
        self._claimed: set[str] = set()
        self._making: dict[str, Future[MadeKey]] = {}

    @asynccontextmanager
    async def drawn(
        self, name: KeyName, algorithm: Algorithm, sensitivity: Sensitivity, now: datetime
    ) -> AsyncIterator[NewVersion]:
        """A version for the key, to be stored within the context.

        Why there is none it tells itself (`NewVersion.check`): refusals are recorded where it is used.
        """
        if sensitivity is not Sensitivity.HIGH:
            yield await self._drawn_here(algorithm)
            return
        claim = ""
        try:
            handle = await self._place()
            claim = remnant_row(handle)
            self._claimed.add(claim)
            version = await self._made(name, algorithm, handle, now)
        except KmsError as error:
            version = NewVersion(None, b"", failure=error)
        except BaseException:
            self._claimed.discard(claim)
            raise
        try:
            yield version
        finally:
            self._claimed.discard(claim)

    async def destroy(self, handle: DeviceHandle) -> None:
        """End a key inside the device. Raises `DeviceAbsent`, `DeviceUnavailable`."""
        device = self._require(f"the key version is in the device {handle}, which is not connected")
        await asyncio.wrap_future(device.workers.submit(device.destroy, handle))

    async def sweep(self, now: datetime) -> int:
        """Destroy keys in the device that nothing needs; how many were. One that fails is left for later."""
        swept = 0
        for loaded in list(self._repository.all(RemnantRecord)):
            if loaded.record.create_time > now - REMNANT_REST or self._is_in_use(loaded.name):
                continue
            try:
                swept += await self._sweep(loaded, now)
            except KmsError as error:
                _log.error("a key in the device that nothing needs was not destroyed: %s", error)
        return swept

    async def strays(self, known: frozenset[DeviceHandle]) -> frozenset[DeviceHandle]:
        """Keys in the device with this store's label that are not known. Nobody destroys them by themselves.

        They may be of a newer state of the store. Raises `DeviceUnavailable`.
        """
        device = self._require("there is no device")
        found = await asyncio.wrap_future(device.workers.submit(device.find, self._label))
        remnants = {parse_remnant_row(loaded.name) for loaded in self._repository.all(RemnantRecord)}
        return found - known - remnants

    async def _drawn_here(self, algorithm: Algorithm) -> NewVersion:
        """In a worker for RSA, which takes a second; at once for all else."""
        if algorithm.is_asymmetric:
            made = await asyncio.get_running_loop().run_in_executor(self._workers, generate, algorithm)
        else:
            made = generate(algorithm)
        return NewVersion(made.material, made.public_key)

    async def _place(self) -> DeviceHandle:
        device = self._require("a HIGH key is made inside a device, and the server has none")
        serial = await asyncio.wrap_future(device.workers.submit(device.connect))
        return DeviceHandle(serial, secrets.token_bytes(ID_SIZE))

    async def _made(
        self, name: KeyName, algorithm: Algorithm, handle: DeviceHandle, now: datetime
    ) -> NewVersion:
        device = self._require("there is no device")
        await asyncio.wrap_future(device.workers.submit(device.check_algorithm, algorithm))
        row = remnant_row(handle)
        event = _event(BEGIN, name.tenant, str(name), now, handle)
        await self._guard.commit([create(row, RemnantRecord(now))], [event])
        job = device.workers.submit(device.generate, algorithm, handle.id, self._label)
        self._making = {other: made for other, made in self._making.items() if not made.done()} | {row: job}
        # A caller who hangs up does not end what the device has begun.
        made = await asyncio.shield(asyncio.wrap_future(job))
        if made.handle != handle:
            await self.destroy(made.handle)
            raise DeviceUnavailable(f"the device {device} was exchanged meanwhile")
        remnant = self._repository.require(RemnantRecord, row)
        return NewVersion(None, made.public_key, str(made.handle), (remnant.delete(),))

    def _require(self, refusal: str) -> Device:
        if self._device is None:
            raise DeviceAbsent(refusal)
        return self._device

    def _is_in_use(self, row: str) -> bool:
        """Whether the device makes the key still, or somebody is about to store it."""
        job = self._making.get(row)
        return row in self._claimed or (job is not None and not job.done())

    async def _sweep(self, remnant: Loaded[RemnantRecord], now: datetime) -> bool:
        handle = parse_remnant_row(remnant.name)
        await self.destroy(handle)
        try:
            await self._guard.commit([remnant.delete()], [_event(SWEEP, "", "", now, handle)])
        except WriteConflict:
            return False
        return True


def remnant_row(handle: DeviceHandle) -> str:
    return f"{handle.serial}/{handle.id.hex()}"


def parse_remnant_row(row: str) -> DeviceHandle:
    """The inverse. Raises `ValueError`."""
    serial, _, key_id = row.partition("/")
    return DeviceHandle(serial, bytes.fromhex(key_id))


def _event(action: str, tenant: str, resource: str, now: datetime, handle: DeviceHandle) -> AuditEvent:
    return AuditEvent(
        time=timestamp(now),
        action=action,
        caller="",
        tenant=tenant,
        resource=resource,
        decision=ALLOW,
        details={"handle": str(handle)},
    )
