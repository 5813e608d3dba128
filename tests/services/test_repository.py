"""The repository: what was read and verified is served again until its row is written."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from services.conftest import ACME, ADMIN, KEY, KEY_ADMIN, PROD, WEB_TLS, Kms

from kms.errors import StoreTampered
from kms.model.lifecycle import Verb
from kms.model.policy_records import RevisionRecord
from kms.model.records import BlindfoldKeyRecord, NamespaceRecord
from kms.services.blindfold_keys import key_row
from kms.services.repository import Loaded, Repository
from kms.storage.interface import MISSING, Put

NAME = str(PROD)


def loaded(kms: Kms) -> Loaded[NamespaceRecord]:
    found = kms.parts.repository.load(NamespaceRecord, NAME)
    assert found is not None
    return found


def write(kms: Kms, description: str) -> None:
    current = loaded(kms)
    record = NamespaceRecord(description, {}, current.record.create_time, "")
    event = kms.call(ADMIN).event("Kms.Test", NAME, "ALLOW")
    kms.vault.store.commit([current.put(record)], [event]).result()


def change_on_disk(kms: Kms, tmp_path: Path) -> None:
    """What a thief with the disk, but not the root of trust, can write."""
    with sqlite3.connect(tmp_path / "kms" / "store.sqlite") as connection:
        connection.execute("UPDATE rows SET body = x'7b7d' WHERE kind = 'namespaces' AND name = ?", (NAME,))
    connection.close()


def test_a_write_is_seen_by_the_next_load(kms: Kms) -> None:
    assert loaded(kms) is loaded(kms)
    write(kms, "new")
    assert (loaded(kms).record.description, loaded(kms).counter) == ("new", 2)


def test_a_deleted_record_is_gone(kms: Kms) -> None:
    loaded(kms)
    kms.run(kms.parts.namespaces.delete(kms.call(ADMIN), PROD, ""))
    assert kms.parts.repository.load(NamespaceRecord, NAME) is None


def test_what_was_destroyed_is_not_kept_in_memory(kms: Kms) -> None:
    """Before anybody asks for the row again, and though a load is in flight."""
    repository = kms.parts.repository
    kms.add_key()
    kms.add_key("full-2")
    keys = kms.parts.blindfold_keys
    kms.run(keys.change(kms.call(KEY_ADMIN), KEY, Verb.SCHEDULE_DESTROY, "", timedelta(hours=24)))
    kms.pass_time(timedelta(hours=25))
    old = repository.require(BlindfoldKeyRecord, key_row(KEY))
    stamp = kms.vault.store.stamp(BlindfoldKeyRecord.KIND, key_row(KEY))
    assert old.record.wrapped_key
    assert stamp is not None
    [(_, put)] = keys.due(kms.now)
    kms.run(
        kms.parts.guard.commit([put], [kms.call(ADMIN).event("Kms.DestroyBlindfoldKey", str(KEY), "ALLOW")])
    )
    repository._keep((BlindfoldKeyRecord.KIND, key_row(KEY)), stamp, old, 100)
    assert repository._kept.get((BlindfoldKeyRecord.KIND, key_row(KEY))) is None


def test_the_disk_cannot_change_what_was_read_before(kms: Kms, tmp_path: Path) -> None:
    before = loaded(kms).record
    change_on_disk(kms, tmp_path)
    assert loaded(kms).record == before


def test_a_changed_row_that_has_to_be_read_is_refused(kms: Kms, tmp_path: Path) -> None:
    change_on_disk(kms, tmp_path)
    with pytest.raises(StoreTampered):
        Repository(kms.vault.store).load(NamespaceRecord, NAME)
    with pytest.raises(StoreTampered):
        list(kms.parts.repository.all(NamespaceRecord, f"{ACME}/"))


def write_unreadable(kms: Kms, *names: str) -> None:
    """Genuine rows of a form that this version cannot read."""
    event = kms.call(ADMIN).event("Kms.Test", NAME, "ALLOW")
    rows = [Put(NamespaceRecord.KIND, name, b"{}", MISSING) for name in names]
    kms.vault.store.commit(rows, [event]).result()


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_a_row_that_cannot_be_read_is_logged_and_hides_no_other(
    kms: Kms, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    write_unreadable(kms, *(f"{ACME}/namespaces/{name}" for name in ("a", "b", "q", "t", "z")))
    names: list[str] = []
    after = ""
    while page := kms.parts.repository.scan(NamespaceRecord, f"{ACME}/", after, limit):
        names += [row.name for row in page]
        after = page[-1].name
    assert names == [f"{ACME}/namespaces/prod", f"{ACME}/namespaces/system"]
    assert [row.name for row in kms.parts.repository.all(NamespaceRecord, f"{ACME}/")] == names
    assert f"{ACME}/namespaces/q" in caplog.text
    with pytest.raises(StoreTampered, match="cannot be read"):
        kms.parts.repository.load(NamespaceRecord, f"{ACME}/namespaces/q")
    assert not kms.parts.repository.is_empty(NamespaceRecord, f"{ACME}/namespaces/q")


def test_a_policy_that_cannot_be_read_is_left_out_of_the_list(kms: Kms) -> None:
    kms.add_policy()
    kms.add_policy(name=replace(WEB_TLS, policy="broken"))
    row = f"{PROD}/secretPolicies/broken/revisions/0000000001"
    event = kms.call(ADMIN).event("Kms.Test", NAME, "ALLOW")
    kms.vault.store.commit([Put(RevisionRecord.KIND, row, b"{}", 1)], [event]).result()
    policies = kms.parts.secret_policies
    listed = kms.run(policies.list(kms.call(ADMIN), PROD, "", 10, show_deleted=False))
    assert [item.head.name for item in listed.items] == [str(WEB_TLS)]
    with pytest.raises(StoreTampered):
        kms.run(policies.get(kms.call(ADMIN), replace(WEB_TLS, policy="broken")))
