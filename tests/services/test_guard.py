"""The guard: no event, no answer; every outcome leaves one event."""

import asyncio
import threading
from concurrent.futures import Future
from ipaddress import ip_address
from typing import Any

import pytest
from services.conftest import ACME, ADMIN, AUDITOR, WEB, Kms

from kms.errors import Denied, Unavailable, WrongState
from kms.services.audit_log import ExportedEvent, Filter
from kms.services.call import Outcome
from kms.services.guard import ATTEMPTS, Action, Guard
from kms.services.refusals import MAX_CALLERS, OTHERS, Refusals
from kms.storage.interface import WriteConflict

READ = Action("GetTenant", "tenants.get")


class FailingStore:
    """Commits nothing, for the reason given."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.commits = 0

    def commit(self, changes: Any, events: Any) -> "Future[Any]":
        self.commits += 1
        future: Future[Any] = Future()
        future.set_exception(self.error)
        return future


def test_answer_waits_for_the_event(kms: Kms) -> None:
    before = len(kms.events())
    assert kms.run(kms.parts.guard.perform(kms.call(ADMIN), READ, ACME, lambda: Outcome(7))) == 7
    [event] = kms.events()[before:]
    assert (event["action"], event["decision"], event["resource"]) == ("GetTenant", "ALLOW", "tenants/acme")


def test_no_event_no_answer(kms: Kms) -> None:
    guard = Guard(FailingStore(Unavailable("the disk is full")))  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        kms.run(guard.perform(kms.call(ADMIN), READ, ACME, lambda: Outcome(7)))
    with pytest.raises(Unavailable):
        kms.run(guard.perform(kms.call(WEB), READ, ACME, lambda: Outcome(7)))


def test_lost_race_is_run_again_a_few_times(kms: Kms) -> None:
    store = FailingStore(WriteConflict("somebody was faster"))
    ran = []

    def act() -> Outcome[int]:
        ran.append(1)
        return Outcome(7)

    with pytest.raises(WriteConflict):
        kms.run(Guard(store).perform(kms.call(ADMIN), READ, ACME, act))  # type: ignore[arg-type]
    assert len(ran) == ATTEMPTS
    # The last commit is of the refusal's event.
    assert store.commits == ATTEMPTS + 1


@pytest.mark.parametrize(
    ("error", "decision", "reason"),
    [
        (Denied(), "DENY", "DENIED"),
        (Denied("SOMETHING_INSIDE"), "DENY", "SOMETHING_INSIDE"),
        (WrongState("it is closed"), "FAIL", "WRONG_STATE"),
        (ZeroDivisionError("a secret"), "FAIL", "INTERNAL"),
    ],
)
def test_every_refusal_is_recorded_without_its_text(
    kms: Kms, error: Exception, decision: str, reason: str
) -> None:
    def act() -> Outcome[int]:
        raise error

    with pytest.raises(type(error)):
        kms.run(kms.parts.guard.perform(kms.call(ADMIN), READ, ACME, act))
    event = kms.last_event()
    assert (event["decision"], event["reason"]) == (decision, reason)
    assert "a secret" not in str(event)


def test_act_does_not_run_for_who_may_not(kms: Kms) -> None:
    def act() -> Outcome[int]:
        raise AssertionError("ran")

    with pytest.raises(Denied):
        kms.run(kms.parts.guard.perform(kms.call(WEB), READ, ACME, act))


def test_long_work_leaves_the_event_loop_to_others(kms: Kms) -> None:
    seen: list[threading.Thread] = []

    def act() -> Outcome[int]:
        seen.append(threading.current_thread())
        return Outcome(7)

    for in_thread in (True, False):
        perform = kms.parts.guard.perform(kms.call(ADMIN), READ, ACME, act, in_thread=in_thread)
        assert kms.run(perform) == 7
    assert (seen[0] is threading.main_thread(), seen[1] is threading.main_thread()) == (False, True)


def test_refused_calls_are_summed_up_by_caller_address_and_reason(kms: Kms) -> None:
    refusals = Refusals(kms.vault.store)
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        refusals.count("", address, "UNAUTHENTICATED")
    before = len(kms.events())
    kms.run(refusals.flush("2026-03-01T12:00:00.000000Z"))
    kms.run(refusals.flush("2026-03-01T12:01:00.000000Z"))
    counts = {event["details"]["address"]: event["details"]["count"] for event in kms.events()[before:]}
    assert counts == {"192.0.2.1": "2", "192.0.2.2": "1"}


def test_flood_of_addresses_fills_one_line(kms: Kms) -> None:
    refusals = Refusals(kms.vault.store)
    for number in range(MAX_CALLERS + 5):
        refusals.count("", str(ip_address(number)), "UNAUTHENTICATED")
    before = len(kms.events())
    kms.run(refusals.flush("2026-03-01T12:00:00.000000Z"))
    events = kms.events_after(before)
    assert len(events) == MAX_CALLERS + 1
    assert [e["details"]["count"] for e in events if e["details"]["address"] == OTHERS] == ["5"]


def test_tenant_reads_its_own_events_only(kms: Kms) -> None:
    page = kms.run(kms.parts.audit_log.list(kms.call(AUDITOR), ACME, Filter(), 0, 1000))
    assert page.events
    assert page.next_after == 0
    assert {event["tenant"] for event in page.events} == {"acme"}
    assert len(page.events) < len(kms.events())


def test_events_are_filtered_and_paged(kms: Kms) -> None:
    for _ in range(5):
        with pytest.raises(Denied):
            kms.run(kms.parts.guard.perform(kms.call(WEB), READ, ACME, lambda: Outcome(7)))
    wanted = Filter(caller=WEB.spiffe_id, decision="DENY", action="GetTenant", resource="tenants/acme")
    sequences, after = [], 0
    while True:
        page = kms.run(kms.parts.audit_log.list(kms.call(AUDITOR), ACME, wanted, after, 2))
        sequences += [event["sequence"] for event in page.events]
        after = page.next_after
        if not after:
            break
    assert len(sequences) == 5
    assert sequences == sorted(sequences)
    nothing = Filter(start=kms.now, end=kms.now)
    assert not kms.run(kms.parts.audit_log.list(kms.call(AUDITOR), ACME, nothing, 0, 10)).events


def test_stranger_with_many_addresses_of_one_network_is_one(kms: Kms) -> None:
    refusals = Refusals(kms.vault.store)
    for number in range(50):
        refusals.count("", f"2001:db8::{number:x}", "UNAUTHENTICATED")
    before = len(kms.events())
    kms.run(refusals.flush("2026-03-01T12:00:00.000000Z"))
    [event] = kms.events()[before:]
    assert (event["details"]["address"], event["details"]["count"]) == ("2001:db8::/64", "50")


def test_export_shows_own_bodies_and_ends_with_a_checkpoint(kms: Kms) -> None:
    links = list(kms.run(kms.parts.audit_log.export(kms.call(AUDITOR), ACME, 0)))
    events = [link for link in links if isinstance(link, ExportedEvent)]
    assert [link.event.sequence for link in events] == list(range(1, len(events) + 1))
    assert {link.visible for link in events} == {True, False}
    last = links[-1]
    assert not isinstance(last, ExportedEvent)
    assert last.checkpoint.sequence == events[-1].event.sequence


def test_export_holds_nothing_that_came_after_it_was_asked_for(kms: Kms) -> None:
    """Or who reads slowly would go on reading after his access has ended."""
    links = kms.run(kms.parts.audit_log.export(kms.call(AUDITOR), ACME, 0))
    asked_at = kms.last_event()["sequence"]
    next(links)
    kms.run(kms.parts.guard.perform(kms.call(ADMIN), READ, ACME, lambda: Outcome(7)))
    kms.vault.store.checkpoint().result()
    rest = [link.event.sequence for link in links if isinstance(link, ExportedEvent)]
    assert rest[-1] == asked_at < kms.last_event()["sequence"]


def test_calls_at_once_all_leave_their_events(kms: Kms) -> None:
    before = len(kms.events())

    async def many() -> list[int]:
        calls = [
            kms.parts.guard.perform(kms.call(ADMIN), READ, ACME, lambda number=number: Outcome(number))
            for number in range(50)
        ]
        return await asyncio.gather(*calls)

    assert kms.run(many()) == list(range(50))
    assert len(kms.events()) == before + 50
