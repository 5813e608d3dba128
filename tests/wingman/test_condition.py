"""The states and the rules they follow from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kms.client.errors import CallDenied, CallFailed, CallTimedOut, CallUnauthenticated, CallUnavailable
from kms.model.validity import Validity
from wingman.condition import RULES, Condition, Facts, State

NOW = datetime(2030, 1, 1, tzinfo=UTC)
VALID = Validity(NOW - timedelta(hours=1), NOW + timedelta(hours=1))
WELL = Facts(has_identity=True, kms_has_answered=True, kms_answers=True)


def state_of(facts: Facts) -> State:
    return next(rule.state for rule in RULES if rule.holds(facts))


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, "READY"),
        ({"kms_answers": False}, "DEGRADED"),
        ({"kms_answers": False, "kms_has_answered": False}, "INITIALIZING"),
        ({"has_identity": False}, "INITIALIZING"),
        ({"has_ended": True}, "HALTED"),
        ({"is_refused": True}, "HALTED"),
        ({"is_refused": True, "has_identity": False}, "HALTED"),
        ({"is_stopping": True}, "HALTED"),
        ({"has_ended": True, "kms_answers": False}, "HALTED"),
    ],
    ids=str,
)
def test_facts_make_a_state(changed: dict[str, bool], state: str) -> None:
    assert state_of(replace(WELL, **changed)) == state


class Told(Condition):
    def __init__(self, now: list[datetime]) -> None:
        super().__init__(lambda: now[0])
        self.refused = 0
        self.on_lost = self._count

    def _count(self) -> None:
        self.refused += 1


def ready(now: list[datetime] | None = None) -> Told:
    condition = Told(now or [NOW])
    condition.has_identity(VALID)
    condition.heard(None)
    assert condition.state == State.READY
    return condition


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (None, "READY"),
        (CallDenied("no", reason="DENIED"), "READY"),
        (CallUnavailable("gone"), "DEGRADED"),
        (CallTimedOut("gone"), "DEGRADED"),
        (CallUnauthenticated("no", reason="UNAUTHENTICATED"), "HALTED"),
        (CallFailed("a proxy said 404"), "READY"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_calls_are_heard(failure: CallFailed | None, state: str) -> None:
    condition = ready()
    condition.heard(failure)
    assert condition.state == state


def test_each_state_that_begins_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wingman.condition")
    condition = ready()
    for failure in (
        CallUnavailable("gone"),
        CallUnavailable("gone"),
        None,
        None,
        CallUnauthenticated("revoked"),
    ):
        condition.heard(failure)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "READY: it has an identity, and the KMS answers"),
        ("WARNING", "DEGRADED: the KMS does not answer: gone"),
        ("INFO", "READY: it has an identity, and the KMS answers"),
        ("ERROR", "HALTED: the KMS refuses its identity, or its token to enrol with: revoked"),
    ]


def test_each_refusal_is_told_and_another_identity_makes_it_good() -> None:
    condition = ready()
    for _ in range(2):
        condition.heard(CallUnauthenticated("no"))
    assert (condition.state, condition.refused) == (State.HALTED, 2)
    condition.has_identity(VALID)
    assert condition.state == State.READY


def test_clock_that_jumps_ends_a_certificate_and_jumps_back() -> None:
    now = [NOW]
    condition = ready(now)
    for hours, state in ((2, State.HALTED), (0, State.READY), (-48, State.READY)):
        now[0] = NOW + timedelta(hours=hours)
        assert condition.state == state


def test_end_is_the_last_state() -> None:
    condition = ready()
    condition.stops()
    condition.heard(None)
    assert condition.state == State.HALTED
