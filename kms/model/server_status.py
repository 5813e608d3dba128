"""How a server is, for its operators."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Grade(Enum):
    """What a root of trust is good for."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """`last_event` is the sequence number of the last audit event; times are UTC."""

    kind: str
    schema_version: int
    last_event: int
    checkpoint_time: datetime | None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """`version` as in `kms --version`; `root_of_trust` the provider's kind;
    `root_key_rotating` while two root keys are in use."""

    version: str
    start_time: datetime
    ready: bool
    locked: bool
    root_of_trust: str
    grade: Grade
    store: StoreStatus
    tenant_count: int
    root_key_rotating: bool = False
