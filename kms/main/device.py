"""The device of the configuration: there while something uses it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from kms.crypto.device.device import Device
from kms.errors import DeviceUnavailable, KmsError
from kms.main.configuration import Configuration
from kms.main.parts import Parts
from kms.model.device_handle import DeviceHandle
from kms.model.records import KeyVersionRecord

_log = logging.getLogger(__name__)


@contextmanager
def device_of(configuration: Configuration) -> Iterator[Device | None]:
    """None where none is configured. Nothing is connected before it is needed; all helpers end with this.

    A `DeviceUnavailable` that leaves this context is the operator's, and says why.
    """
    if configuration.device is None:
        yield None
        return
    device = Device(configuration.device)
    try:
        yield device
    except DeviceUnavailable as error:
        raise DeviceUnavailable(f"{error.message}: {device.trouble}") from None
    finally:
        device.close()


def device_warning(device: Device | None) -> str:
    """What the operator should know of a device that does not answer at the start; "" if all is well."""
    if device is None:
        return ""
    try:
        device.connect()
    except DeviceUnavailable as error:
        return f"{error.message}: {device.trouble}. HIGH keys do not work until it can; all others do."
    return ""


async def tell_strays(parts: Parts, device: Device | None) -> None:
    """Log how many keys in the device are this store's by their label, and unknown to it."""
    if device is None:
        return
    try:
        strays = await parts.fresh.strays(await asyncio.to_thread(_handles, parts))
    except KmsError:
        # What is wrong with the device is logged where it is found.
        return
    if strays:
        _log.warning(
            "%d keys in the device %s are labelled as this store's, and unknown to it: they may be of a "
            "newer state of it. Nothing destroys them",
            len(strays),
            device,
        )


def _handles(parts: Parts) -> frozenset[DeviceHandle]:
    rows = parts.repository.all(KeyVersionRecord)
    return frozenset(DeviceHandle.parse(loaded.record.handle) for loaded in rows if loaded.record.handle)
