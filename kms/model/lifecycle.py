"""The life of a key version: one table of transitions; what is not in it is refused."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from kms.errors import WrongState

S = TypeVar("S", bound=StrEnum)
V = TypeVar("V", bound=StrEnum)


class VersionState(StrEnum):
    """docs/glossary.md says what each means."""

    PENDING_GENERATION = "PENDING_GENERATION"
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    DESTROY_SCHEDULED = "DESTROY_SCHEDULED"
    DESTROYED = "DESTROYED"
    PENDING_IMPORT = "PENDING_IMPORT"
    IMPORT_FAILED = "IMPORT_FAILED"
    COMPROMISED = "COMPROMISED"


WITHOUT_MATERIAL = frozenset(
    {
        VersionState.PENDING_GENERATION,
        VersionState.PENDING_IMPORT,
        VersionState.IMPORT_FAILED,
        VersionState.DESTROYED,
    }
)
WAITING_FOR_IMPORT = frozenset({VersionState.PENDING_IMPORT, VersionState.IMPORT_FAILED})


class Verb(StrEnum):
    """What may happen to a version. `EXPIRE` is the end of a scheduled destruction's delay."""

    GENERATED = "generated"
    IMPORTED = "import into"
    REJECTED = "reject the import into"
    MARK_COMPROMISED = "mark as compromised"
    ENABLE = "enable"
    DISABLE = "disable"
    SCHEDULE_DESTROY = "schedule destruction of"
    CANCEL_DESTROY = "cancel the destruction of"
    CANCEL_COMPROMISED = "cancel the destruction of the compromised"
    EXPIRE = "destroy"


_S, _V = VersionState, Verb

TRANSITIONS: dict[tuple[VersionState, Verb], VersionState] = {
    (_S.PENDING_GENERATION, _V.GENERATED): _S.ENABLED,
    (_S.PENDING_IMPORT, _V.IMPORTED): _S.ENABLED,
    (_S.PENDING_IMPORT, _V.REJECTED): _S.IMPORT_FAILED,
    (_S.IMPORT_FAILED, _V.REJECTED): _S.IMPORT_FAILED,
    (_S.IMPORT_FAILED, _V.IMPORTED): _S.ENABLED,
    (_S.DISABLED, _V.ENABLE): _S.ENABLED,
    (_S.ENABLED, _V.DISABLE): _S.DISABLED,
    (_S.ENABLED, _V.SCHEDULE_DESTROY): _S.DESTROY_SCHEDULED,
    (_S.DISABLED, _V.SCHEDULE_DESTROY): _S.DESTROY_SCHEDULED,
    (_S.ENABLED, _V.MARK_COMPROMISED): _S.COMPROMISED,
    (_S.DISABLED, _V.MARK_COMPROMISED): _S.COMPROMISED,
    (_S.COMPROMISED, _V.SCHEDULE_DESTROY): _S.DESTROY_SCHEDULED,
    (_S.DESTROY_SCHEDULED, _V.CANCEL_DESTROY): _S.DISABLED,
    (_S.DESTROY_SCHEDULED, _V.CANCEL_COMPROMISED): _S.COMPROMISED,
    (_S.DESTROY_SCHEDULED, _V.EXPIRE): _S.DESTROYED,
}


def next_state(state: VersionState, verb: Verb) -> VersionState:
    """The state after verb. Raises `WrongState`, which names the states in which the verb is possible."""
    return follow(TRANSITIONS, state, verb, "version")


def follow(transitions: Mapping[tuple[S, V], S], state: S, verb: V, what: str) -> S:
    """As `next_state`, by any table; `what` it is that has the state."""
    following = transitions.get((state, verb))
    if following is None:
        possible = ", ".join(sorted(before for before, other in transitions if other is verb))
        raise WrongState(f"cannot {verb} a {what} that is {state}; possible in {possible}", state=state)
    return following
