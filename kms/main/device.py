"""The device of the configuration: there while something uses it."""

from collections.abc import Iterator
from contextlib import contextmanager

from kms.crypto.device.device import Device
from kms.errors import KmsError
from kms.main.configuration import Configuration


@contextmanager
def device_of(configuration: Configuration) -> Iterator[Device | None]:
    """None where none is configured. Nothing is connected before it is needed; all helpers end with this."""
    if configuration.device is None:
        yield None
        return
    device = Device(configuration.device)
    try:
        yield device
    finally:
        device.close()


def device_warning(device: Device | None) -> str:
    """What the operator should know of a device that does not answer at the start; "" if all is well."""
    try:
        if device is not None:
            device.connect()
    except KmsError as error:
        return f"{error.message}. HIGH keys do not work until it can; all others do."
    return ""
