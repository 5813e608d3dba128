"""What holds of every key version whatever happened to it, and of the versions of a key together."""

from dataclasses import dataclass
from datetime import datetime

from kms.model.finding import Invariant
from kms.model.lifecycle import WITHOUT_MATERIAL, VersionState
from kms.model.records import BlindfoldKeyRecord, KeyRecord, KeyVersionRecord
from kms.model.sensitivity import Sensitivity
from kms.services.key_material import Origin

_MARKED = frozenset({VersionState.COMPROMISED, VersionState.DESTROY_SCHEDULED, VersionState.DESTROYED})


class Unsound(Exception):
    """An invariant does not hold. The text says how, of public things only."""

    def __init__(self, problem: str, invariant: Invariant = Invariant.FORM) -> None:
        super().__init__(problem)
        self.problem = problem
        self.invariant = invariant


@dataclass(slots=True)
class Versions:
    """The versions of a key that were seen, in order: how many, and the highest sensitivity."""

    count: int = 0
    level: Sensitivity = Sensitivity.LOW

    def take(self, number: int, record: KeyVersionRecord) -> None:
        """Raises `Unsound`; the version counts all the same."""
        level, last = Sensitivity[record.sensitivity], self.count
        lowered = level < self.level
        self.count, self.level = number, max(level, self.level)
        if number != last + 1:
            raise Unsound(f"follows version {last}", Invariant.REFERENCE)
        if lowered:
            raise Unsound(f"is {level.name}, below an older version", Invariant.SENSITIVITY)


def check_life(record: KeyVersionRecord) -> None:
    """Raises `Unsound`."""
    state = VersionState(record.state)
    _check_times(state, record.destroy_time, record.destroy_event_time)
    has_material = record.holds_private or record.origin == Origin.IMPORTED_PUBLIC
    if state not in WITHOUT_MATERIAL and not has_material:
        raise Unsound(f"is {state} without key material", Invariant.LIFE_CYCLE)
    if (state is VersionState.COMPROMISED, record.compromised) == (True, False):
        raise Unsound("is COMPROMISED without having been marked so", Invariant.LIFE_CYCLE)
    if record.compromised and state not in _MARKED:
        raise Unsound(f"is {state} although it was marked as compromised", Invariant.LIFE_CYCLE)


def check_blindfold_life(record: BlindfoldKeyRecord) -> None:
    """Raises `Unsound`."""
    state = VersionState(record.state)
    _check_times(state, record.destroy_time, record.destroy_event_time)
    if bool(record.wrapped_key) == (state in WITHOUT_MATERIAL):
        holds = "with" if record.wrapped_key else "without"
        raise Unsound(f"is {state} {holds} key material", Invariant.LIFE_CYCLE)


def check_key(record: KeyRecord, versions: Versions) -> None:
    """A key and its versions. Raises `Unsound`."""
    if versions.count != record.last_version:
        raise Unsound(f"has version {versions.count}, and counts {record.last_version}", Invariant.REFERENCE)
    if versions.level > Sensitivity[record.sensitivity]:
        raise Unsound(
            f"is {record.sensitivity}, below its version of {versions.level.name}", Invariant.SENSITIVITY
        )


def _check_times(state: VersionState, destroy: datetime | None, destroyed: datetime | None) -> None:
    if (destroy is not None) != (state is VersionState.DESTROY_SCHEDULED):
        raise Unsound(f"is {state} with a wrong time of destruction", Invariant.LIFE_CYCLE)
    if (destroyed is not None) != (state is VersionState.DESTROYED):
        raise Unsound(f"is {state} with a wrong time of having been destroyed", Invariant.LIFE_CYCLE)
