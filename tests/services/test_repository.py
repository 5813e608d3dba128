"""The repository: what was read and verified is served again until its row is written."""

import sqlite3
from pathlib import Path

import pytest
from services.conftest import ACME, ADMIN, PROD, Kms

from kms.errors import StoreTampered
from kms.model.records import NamespaceRecord
from kms.services.repository import Loaded, Repository

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
