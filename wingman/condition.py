"""How a Wingman is: what `GET /status` answers, and the rules it follows from."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from kms.client.errors import CallFailed, CallTimedOut, CallUnauthenticated, CallUnavailable
from kms.model.validity import Validity


class State(StrEnum):
    """What programs are told."""

    INITIALIZING = "INITIALIZING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    HALTED = "HALTED"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at one moment. `kms_answers` is None until it did or did not for the first time."""

    is_stopping: bool = False
    is_refused: bool = False
    has_identity: bool = False
    has_ended: bool = False
    kms_has_answered: bool = False
    kms_answers: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """`state` is that of a Wingman for which `holds` and no earlier rule does; `because` says why."""

    state: State
    because: str
    holds: Callable[[Facts], bool]


RULES = (
    Rule(State.HALTED, "it stops", lambda facts: facts.is_stopping),
    Rule(
        State.HALTED,
        "the KMS refuses its identity, or its token to enrol with",
        lambda facts: facts.is_refused,
    ),
    Rule(State.INITIALIZING, "it has no identity yet", lambda facts: not facts.has_identity),
    Rule(State.HALTED, "its certificate has ended", lambda facts: facts.has_ended),
    Rule(State.INITIALIZING, "it has not reached the KMS yet", lambda facts: not facts.kms_has_answered),
    Rule(State.DEGRADED, "the KMS does not answer", lambda facts: not facts.kms_answers),
    Rule(State.READY, "it has an identity, and the KMS answers", lambda facts: True),
)


_LEVELS: Mapping[State, int] = MappingProxyType(
    {
        State.INITIALIZING: logging.INFO,
        State.READY: logging.INFO,
        State.DEGRADED: logging.WARNING,
        State.HALTED: logging.ERROR,
    }
)
_log = logging.getLogger(__name__)


class Condition:
    """Hears what happens, and says what state that is. For one event loop.

    `on_lost` is called when what the identity got is to be dropped: at each refusal, for what was asked for
    before may come after, and when another identity takes its place.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._refused = False
        self._stopping = False
        self._has_answered = False
        self._answers = False
        self._validity: Validity | None = None
        self.on_lost: Callable[[], None] = lambda: None

    @property
    def facts(self) -> Facts:
        validity = self._validity
        return Facts(
            is_stopping=self._stopping,
            is_refused=self._refused,
            has_identity=validity is not None,
            has_ended=validity is not None and self._now() > validity.not_after,
            kms_has_answered=self._has_answered,
            kms_answers=self._answers,
        )

    @property
    def rule(self) -> Rule:
        facts = self.facts
        return next(rule for rule in RULES if rule.holds(facts))

    @property
    def state(self) -> State:
        return self.rule.state

    def heard(self, failure: CallFailed | None) -> None:
        """How a call ended that the identity made: None for well. A state that begins by it is logged."""
        before = self.state
        self._hear(failure)
        rule = self.rule
        if rule.state is not before:
            words = f": {failure.message}" if failure else ""
            _log.log(_LEVELS[rule.state], "%s: %s%s", rule.state, rule.because, words)

    def _hear(self, failure: CallFailed | None) -> None:
        if isinstance(failure, CallUnauthenticated):
            self._answered()
            self._refused = True
            self.on_lost()
        elif isinstance(failure, CallUnavailable | CallTimedOut):
            self._answers = False
        elif failure is None or failure.reason:
            self._answered()
            self._refused = False

    def has_identity(self, validity: Validity, *, is_another: bool = False) -> None:
        """The next certificate of the identity, or the first, or that of another one."""
        self._validity = validity
        self._refused = False
        if is_another:
            self.on_lost()

    def stops(self) -> None:
        self._stopping = True

    def _answered(self) -> None:
        self._has_answered = self._answers = True
