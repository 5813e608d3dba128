"""Whether the keys that a store says are in its device are there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kms.crypto.device.device import Device
from kms.errors import DeviceUnavailable
from kms.model.device_handle import DeviceHandle
from kms.model.finding import Finding, Invariant
from kms.model.records import KeyVersionRecord


@dataclass(frozen=True, slots=True)
class Presence:
    """So many HIGH versions were looked for in the device, and so many were not, because of `trouble`."""

    looked_for: int = 0
    not_looked_for: int = 0
    trouble: str = ""


class DevicePresence:
    """What is in the device. `look` before and after the store is read, which somebody may be serving."""

    def __init__(self, device: Device | None) -> None:
        self._device = device
        self._serial = ""
        self._there: frozenset[DeviceHandle] = frozenset()
        self._trouble = "" if device else "no device is configured"

    def look(self) -> None:
        if self._device is None:
            return
        try:
            self._serial = self._device.connect()
            self._there |= self._device.find("")
        except DeviceUnavailable as error:
            self._trouble = ": ".join(filter(None, (error.message, self._device.trouble)))

    def of(self, placed: Mapping[str, DeviceHandle]) -> Presence:
        """Of the versions of these rows."""
        here = 0 if self._trouble else sum(handle.serial == self._serial for handle in placed.values())
        elsewhere = len(placed) - here
        trouble = self._trouble or (f"the device has the serial number {self._serial}" if elsewhere else "")
        return Presence(here, elsewhere, trouble if elsewhere else "")

    def missing(self, placed: Mapping[str, DeviceHandle]) -> Iterator[Finding]:
        """The versions that are not in the device, as far as it was looked for them."""
        if self._trouble:
            return
        for row, handle in placed.items():
            if handle.serial == self._serial and handle not in self._there:
                problem = f"is a key that the device does not hold: {handle}"
                yield Finding(Invariant.REFERENCE, f"{KeyVersionRecord.KIND} {row}", problem)
