"""The device of the configuration: there while something uses it."""

from collections.abc import Iterator
from contextlib import contextmanager

from kms.crypto.device.device import Device
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
