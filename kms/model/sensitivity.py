"""Sensitivity levels: where a key's bytes are, and whether they may leave. An order, lowest first."""

from enum import IntEnum


class Sensitivity(IntEnum):
    """LOW may be exported, wrapped; MEDIUM stays in the KMS; HIGH stays in a device.

    A key may only be wrapped by, copied to, or backed up under something of at least its own level.
    """

    LOW = 1
    MEDIUM = 2
    HIGH = 3
