"""Whether a server is locked, and how its unlocking goes."""

from dataclasses import dataclass
from datetime import datetime

# What the certificate of a locked server is for, and no other certificate (docs/spec/identity.md).
UNLOCK_NAME = "unlock.kms.invalid"


@dataclass(frozen=True, slots=True)
class LockStatus:
    """`given` of `threshold` shares are there, until `expire_time` if no more come."""

    locked: bool
    root_of_trust: str
    threshold: int = 0
    given: int = 0
    expire_time: datetime | None = None
