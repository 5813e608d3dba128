"""Old audit events are dropped, checkpoints stay, and what is left is still verified from end to end."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from main.spoiled_store import NOTHING, Place
from rotating import rotate
from services.conftest import ADMIN, AUDITOR, Kms, make_kms

from kms.audit.export import export
from kms.audit.verify import verify
from kms.errors import InvalidField, StoreTampered
from kms.main.configuration import Configuration
from kms.main.root_material import open_vault
from kms.main.verifying import verify_store
from kms.model.audit_event import AuditEvent
from kms.model.chain import SignedCheckpoint
from kms.model.records import RetentionRecord
from kms.services.audit_retention import AuditRetention
from kms.services.recorded_requests import recorded
from kms.services.repository import create

DAY = timedelta(days=1)
KEEP = 90 * DAY


def retention(kms: Kms) -> AuditRetention:
    return AuditRetention(kms.parts.guard, kms.parts.repository, kms.vault.store, KEEP)


def live(kms: Kms, count: int) -> SignedCheckpoint:
    """Some events, and a checkpoint behind them."""
    for _ in range(count):
        kms.run(kms.parts.audit_log.checkpoint(kms.call(AUDITOR)))
    return kms.vault.store.checkpoint().result(20)


def drop(kms: Kms, after: timedelta = KEEP + DAY) -> int:
    """As if so much time had passed. Checkpoints have the time of the machine's clock."""
    newest = kms.vault.store.newest_checkpoint()
    assert newest is not None
    return kms.run(retention(kms).drop_due(datetime.fromisoformat(newest.checkpoint.time) + after))


def first(kms: Kms) -> int:
    return int(kms.events()[0]["sequence"])


def test_events_go_up_to_the_last_checkpoint_but_one_and_the_rest_verifies(kms: Kms) -> None:
    outside = live(kms, 3)
    kept = live(kms, 2)
    before = kms.vault.store.last_event()
    dropped = drop(kms)
    checkpoints = [signed.checkpoint.sequence for signed in kms.vault.store.checkpoints(0, 1000)]
    assert kms.vault.store.dropped_through() == dropped == checkpoints[-3]
    assert first(kms) == dropped + 1
    assert {outside.checkpoint.sequence, kept.checkpoint.sequence} < set(checkpoints)
    said = kms.events()[-1]
    assert (said["action"], said["sequence"]) == ("Kms.DropAuditEvents", before + 1)
    assert said["details"]["through"] == str(dropped)
    kms.vault.store.checkpoint().result(20)
    lines = list(export(kms.vault.store))
    report = verify(lines, kms.vault.audit_public_key, [kept])
    assert (report.first, report.signed_through) == (dropped + 1, before + 1)


def test_nothing_is_dropped_before_its_time_or_without_a_limit(kms: Kms) -> None:
    live(kms, 3)
    assert drop(kms, KEEP - DAY) == 0
    forever = AuditRetention(kms.parts.guard, kms.parts.repository, kms.vault.store, None)
    assert kms.run(forever.drop_due(kms.now + 10_000 * DAY)) == 0
    assert first(kms) == 1


def test_readers_begin_where_the_chain_does(kms: Kms) -> None:
    live(kms, 30)
    live(kms, 2)
    dropped = drop(kms)
    assert dropped > 30
    store = kms.vault.store
    assert store.events(0, 1)[0].sequence == store.events(dropped - 5, 1)[0].sequence == dropped + 1
    assert recorded(store, "acme", store.last_event(), 1000).events < 10
    with pytest.raises(InvalidField, match="were dropped"):
        list(export(store, store.checkpoints(0, 1)[0].checkpoint.sequence))


def test_store_that_was_dropped_from_starts_again_and_is_sound(tmp_path: Path) -> None:
    with make_kms(tmp_path) as kms:
        live(kms, 3)
        live(kms, 2)
        drop(kms)
        rotate(kms.vault, told)
        live(kms, 3)
        live(kms, 2)
        assert drop(kms) > 0
        begin = first(kms)
    configuration = Configuration.load(tmp_path / "kms")
    assert verify_store(configuration, NOTHING, lambda total: lambda count: None).findings == ()
    with open_vault(configuration, NOTHING) as vault:
        assert vault.store.events(0, 1)[0].sequence == begin


@pytest.fixture
def dropped_from(tmp_path: Path) -> Place:
    with make_kms(tmp_path) as kms:
        live(kms, 3)
        live(kms, 2)
        drop(kms)
    return Place(Configuration.load(tmp_path / "kms"))


def test_missing_event_is_not_taken_for_a_dropped_one(dropped_from: Place) -> None:
    with dropped_from.opened() as vault:
        begin = vault.store.dropped_through() + 1
    dropped_from.edit("DELETE FROM events WHERE sequence = ?", begin)
    assert dropped_from.verify().findings[0].problem == f"event {begin} is missing"
    with dropped_from.opened() as vault, pytest.raises(StoreTampered, match=f"event {begin} is missing"):
        vault.store.events()


def test_row_that_says_what_was_dropped_is_authentic(dropped_from: Place) -> None:
    dropped_from.edit("UPDATE rows SET mac = zeroblob(32) WHERE kind = 'auditRetention'")
    findings = {finding.subject for finding in dropped_from.verify().findings}
    assert "auditRetention events" in findings
    with pytest.raises(StoreTampered), dropped_from.opened():
        pass


def test_what_a_crash_left_of_dropped_events_goes_at_the_next_look(kms: Kms) -> None:
    live(kms, 3)
    live(kms, 2)
    newest = kms.vault.store.checkpoints(0, 1000)[-2].checkpoint
    record = RetentionRecord(newest.sequence, newest.chain_hash)
    event = kms.call(ADMIN).event("Test.Crash", "", "ALLOW")
    kms.vault.store.commit([create(RetentionRecord.NAME, record)], [event]).result(20)
    assert first(kms) == newest.sequence + 1
    assert kms.run(retention(kms).drop_due(kms.now - 400 * DAY)) == newest.sequence
    assert kms.run(retention(kms).drop_due(kms.now - 400 * DAY)) == 0


def test_bytes_of_dropped_events_are_gone_from_the_files(tmp_path: Path) -> None:
    with make_kms(tmp_path) as kms:
        event = kms.call(ADMIN).event("Test.Mark", "a-resource-to-be-forgotten", "ALLOW")
        kms.vault.store.commit([], [event]).result(20)
        live(kms, 2)
        live(kms, 2)
        files = list((tmp_path / "kms").glob("store.sqlite*"))
        assert any(b"a-resource-to-be-forgotten" in file.read_bytes() for file in files)
        drop(kms)
        assert not any(b"a-resource-to-be-forgotten" in file.read_bytes() for file in files if file.exists())


def told(details: Mapping[str, str]) -> AuditEvent:
    return AuditEvent(
        "2026-01-02T03:04:05.000000Z", "Kms.RotateRootKey", "", "", "", "ALLOW", details=details
    )
