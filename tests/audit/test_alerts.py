"""Which events are alerts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.audit.alerts import MAX_CALLERS, AlertKind, DenialRate, Detector
from kms.model.audit_event import AuditEvent
from kms.model.chain import timestamp

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = AuditEvent(
    time=timestamp(START),
    action="Encrypt",
    caller="spiffe://kms.test/tenant/acme/ns/prod/sa/web",
    tenant="acme",
    resource="tenants/acme/namespaces/prod/keys/orders",
    decision="ALLOW",
)
RATE = DenialRate(3, timedelta(seconds=10))


def kinds(*events: AuditEvent, used: bool = True) -> list[AlertKind]:
    detector = Detector(RATE, lambda key, caller: used)
    return [alert.kind for event in events for alert in detector.look(event)]


def denials(seconds: list[float], caller: str = EVENT.caller) -> Iterator[AuditEvent]:
    for second in seconds:
        time = timestamp(START + timedelta(seconds=second))
        yield EVENT._replace(decision="DENY", time=time, caller=caller)


def test_an_ordinary_use_is_none() -> None:
    assert kinds(EVENT) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"action": "Kms.Start"}, AlertKind.UNLOCK),
        ({"action": "Kms.AcceptRollback"}, AlertKind.UNLOCK),
        ({"details": {"state": "COMPROMISED"}}, AlertKind.COMPROMISED_USE),
        ({"details": {"state": "DESTROY_SCHEDULED"}, "decision": "FAIL"}, AlertKind.DESTROY_SCHEDULED_USE),
    ],
)
def test_what_somebody_should_look_at_is_one(changes: dict[str, object], kind: AlertKind) -> None:
    assert kinds(EVENT._replace(**changes)) == [kind]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"details": {"state": "DISABLED"}},
        {"details": {"state": "COMPROMISED"}, "action": "GetKeyVersion"},
        {"decision": "DENY"},
    ],
)
def test_what_is_in_order_or_was_prevented_is_none(changes: dict[str, object]) -> None:
    assert kinds(EVENT._replace(**changes)) == []  # type: ignore[arg-type]


def test_the_first_use_of_a_key_by_a_caller_is_one_if_it_was_allowed() -> None:
    assert kinds(EVENT, used=False) == [AlertKind.FIRST_USE]
    assert kinds(EVENT._replace(decision="DENY"), used=False) == []
    assert kinds(EVENT._replace(action="GetKey"), used=False) == []


@pytest.mark.parametrize(
    ("seconds", "alerts"),
    [
        ([0, 1], 0),
        ([0, 1, 2], 1),
        ([0, 5, 10], 1),
        ([0, 5, 10.1], 0),
        ([0, 8, 12, 16], 1),
        ([0, 1, 2, 3, 4], 1),
        ([0, 1, 2, 3, 4, 5], 2),
    ],
)
def test_many_denials_in_a_short_time_are_one(seconds: list[float], alerts: int) -> None:
    assert kinds(*denials(seconds)) == [AlertKind.DENIALS] * alerts


def test_denied_items_of_a_batch_that_did_something_are_denials() -> None:
    batch = EVENT._replace(details={"items": "10", "failed": "9", "denied": "9"})
    other = EVENT._replace(details={"items": "10", "failed": "9", "denied": "0"})
    assert kinds(batch, batch, batch) == [AlertKind.DENIALS]
    assert kinds(other, other, other) == []


def test_denials_are_counted_for_each_caller() -> None:
    events = [event for caller in ("a", "b", "c") for event in denials([0], caller)]
    assert kinds(*events) == []


def test_what_is_remembered_is_bounded() -> None:
    detector = Detector(RATE, lambda key, caller: True)
    for number in range(MAX_CALLERS + 5):
        assert not list(detector.look(next(denials([0], str(number)))))
    assert len(detector._denials) == MAX_CALLERS


@given(st.lists(st.floats(0, 100), max_size=40))
def test_an_alert_needs_as_many_denials_as_the_rate_says(seconds: list[float]) -> None:
    found = kinds(*denials(sorted(seconds)))
    assert len(found) <= len(seconds) // RATE.count
