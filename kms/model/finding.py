"""What may be wrong with a store, and with which part of it."""

from dataclasses import dataclass
from enum import StrEnum


class Invariant(StrEnum):
    """What holds of every sound store (docs/spec/store.md, "Verifying a store"). The values are in JSON."""

    FILE = "FILE"
    ROW = "ROW"
    STATE = "STATE"
    CHAIN = "CHAIN"
    CHECKPOINT = "CHECKPOINT"
    FORM = "FORM"
    WRAPPING = "WRAPPING"
    LIFE_CYCLE = "LIFE_CYCLE"
    SENSITIVITY = "SENSITIVITY"
    REFERENCE = "REFERENCE"
    TOMBSTONE = "TOMBSTONE"


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant that does not hold: of what (`keys tenants/acme/...`, `event 7`), and how."""

    invariant: Invariant
    subject: str
    problem: str

    def to_json(self) -> dict[str, str]:
        return {"invariant": self.invariant.value, "subject": self.subject, "problem": self.problem}
