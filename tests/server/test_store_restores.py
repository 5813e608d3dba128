"""A whole KMS from its backup, on another machine: all is there as it was, and nothing is used twice."""

import hashlib
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from server.backup_harness import PLAINTEXT, Made, put_back, take, use
from server.kms_harness import PROD, configuration_in, running_kms, serving
from server.store_backup_harness import NOBODY, another_machine, header_of, restore_in, take_store

from kms.client.backups import backup_store
from kms.client.errors import CallDenied, CallFailed, CallInvalid, CallWrongState
from kms.crypto.key_hierarchy import ROOT_WRAPPED
from kms.crypto.root_of_trust.interface import WrongRootMaterial
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.errors import BackupInvalid, ConfigError, WrongState
from kms.main.restoring import restore_store
from kms.main.verifying import verify_store
from kms.model.audit_event import AuditEvent
from kms.model.backup_header import StoreBackupHeader
from kms.model.records import DueRecord, UseRecord
from kms.services.backup_kinds import KINDS, LEFT_OUT, SERVE_ONCE


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    with running_kms(tmp_path_factory.mktemp("first")) as started:
        yield started


@pytest.fixture(scope="module")
def made(kms):
    return Made(kms)


@pytest.fixture(scope="module")
def backup(kms, made, tmp_path_factory):
    invitation = {"parent": PROD, "join_token": {"identity": f"{PROD}/identities/late"}}
    kms.as_("admin").call("IdentityService", "CreateJoinToken", invitation)
    kms.as_("key-admin").call("ImportService", "CreateImportKey", {"parent": PROD})
    return take_store(kms, tmp_path_factory.mktemp("backups") / "full")


@pytest.fixture
def place(kms, backup, tmp_path):
    return another_machine(kms, tmp_path / "second")


def stored(kms):
    kinds = (*KINDS, *LEFT_OUT)
    return {
        (row.kind, row.name): row.body for kind in kinds for row in kms.vault.store.scan(kind, limit=10_000)
    }


def test_all_that_was_made_works_for_those_who_were_there(kms, made, backup, place):
    restored = restore_in(place, backup)
    assert (restored.tenants, restored.backups) == (2, 1)
    with serving(place) as second:
        assert second.vault.store.store_id == kms.vault.store.store_id
        made.check(second)
        with pytest.raises(CallFailed):
            second.as_("batch").call("KeyService", "GetKey", {"name": made.keys["enc"]})


def test_rows_are_those_of_the_moment_but_for_what_serves_once(kms, made, backup, place):
    before = stored(kms)
    restore_in(place, backup)
    with serving(place) as second:
        after = stored(second)
    assert {kind for kind, _ in before} > SERVE_ONCE
    # A rotation moves when the next one is due.
    moved = {*SERVE_ONCE, DueRecord.KIND}
    assert {place for place in before if place[0] not in moved} <= after.keys()
    assert not [place for place in after if place[0] in SERVE_ONCE]
    kept = {place for place in before if place[0] in ROOT_WRAPPED or place[0] == "denyLists"}
    assert {place: before[place] for place in kept} == {place: after[place] for place in kept}


def test_kinds_of_the_payload_are_no_kinds_of_rows():
    assert not {*KINDS, *LEFT_OUT} & {"deletion", "auditCheckpoint", "auditEvent", "storeDigest"}


def test_audit_chain_goes_on_with_the_restore(kms, made, backup, place):
    restore_in(place, backup)
    header = StoreBackupHeader.read(io.BytesIO(backup.read_bytes()))
    with serving(place) as second:
        events = second.events()
        before = kms.vault.store.events(header.sequence - 1, 1)[0]
        assert second.vault.store.events(header.sequence - 1, 1)[0] == before
        assert events[header.sequence - 1]["event_id"] == kms.events()[header.sequence - 1]["event_id"]
        told = events[header.sequence]
    assert (told["action"], told["caller"]) == ("Kms.RestoreStore", "")
    assert told["details"]["header"] == header.digest().hex()
    taken = next(event for event in kms.events() if event["action"] == "BackupStore")
    assert taken["details"]["header"] == header.digest().hex()
    assert taken["details"]["sha256"] == hashlib.sha256(backup.read_bytes()).hexdigest()


def test_every_nonce_counts_as_drawn_and_keys_are_rotated(kms, made, backup, place):
    assert restore_in(place, backup).rotated == 2
    with serving(place) as second:
        name = made.keys["enc"]
        listed = second.as_("key-admin").call("KeyService", "ListKeyVersions", {"parent": name})
        budgets = [version["nonce_budget"] for version in listed["key_versions"]]
        spent = [int(budget.get("invocations", 0)) for budget in budgets]
        assert spent == [1 << 32, 1 << 32, 0]
        made_anew = use(second, "Encrypt", name=name, plaintext=PLAINTEXT)
        assert made_anew["name"] == f"{name}/versions/3"
        uses = [
            body for (kind, row), body in stored(second).items() if kind == "keyUses" and "blindfold" in row
        ]
        assert uses
        assert all(UseRecord.from_bytes(body).reserved >= 1 << 31 for body in uses)


def test_restored_store_is_sound(kms, backup, place):
    restore_in(place, backup)
    found = verify_store(configuration_in(place), NOBODY, lambda total: lambda count: None)
    assert (found.findings, found.live) == ((), False)
    assert not (place / "kms" / "restoring").exists()


def test_verifying_alone_leaves_nothing(kms, backup, place):
    before = sorted(path.name for path in (place / "kms").iterdir())
    assert restore_in(place, backup, verify_only=True).tenants == 2
    assert sorted(path.name for path in (place / "kms").iterdir()) == before
    assert not any((place / "outside").iterdir())


def test_nothing_is_restored_over_a_store(kms, backup, place):
    restore_in(place, backup)
    before = (place / "kms" / "store.sqlite").read_bytes()
    with pytest.raises(ConfigError, match="over another"):
        restore_in(place, backup)
    assert restore_in(place, backup, verify_only=True).backups == 1
    assert (place / "kms" / "store.sqlite").read_bytes() == before


def test_wrong_root_material_opens_nothing(kms, backup, place):
    (place / "kms" / "root.key").unlink()
    Keyfile.create(place / "kms" / "root.key")
    with pytest.raises(WrongRootMaterial):
        restore_in(place, backup)
    assert not (place / "kms" / "store.sqlite").exists()


def test_backup_of_another_trust_domain_is_refused(kms, backup, place):
    elsewhere = replace(configuration_in(place), trust_domain="kms.example")
    with pytest.raises(WrongState, match="trust domain"):
        restore_store(elsewhere, [backup], NOBODY, lambda count: None)


def test_a_bit_that_flips_anywhere_is_noticed(kms, backup, place):
    data = backup.read_bytes()
    head = len(header_of(backup))
    places = [*range(0, head, 97), head, head + 70_000, len(data) - 1]
    for at in places:
        changed = place / "changed"
        changed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((BackupInvalid, WrongRootMaterial)):
            restore_in(place, changed)
        assert not (place / "kms" / "store.sqlite").exists()
    for cut in (head, head + 65_536 + 16, len(data) - 1):
        changed.write_bytes(data[:cut])
        with pytest.raises(BackupInvalid):
            restore_in(place, changed)


def test_backup_of_a_tenant_is_none_of_a_store(kms, made, place):
    path = place / "tenant"
    path.write_bytes(take(kms))
    with pytest.raises(BackupInvalid, match="kms/v1 backup"):
        restore_in(place, path)


def test_backup_of_a_store_is_none_of_a_tenant(kms, backup):
    with pytest.raises(CallInvalid) as caught:
        put_back(kms, backup.read_bytes())
    assert caught.value.reason == "BACKUP_INVALID"


def test_others_are_served_and_write_while_a_backup_is_taken(kms, made, tmp_path):
    """What they write is in the backup wholly or not at all."""
    ended = threading.Event()
    written = []

    def write():
        while not ended.is_set():
            written.append(kms.make_key(f"k{len(written)}"))

    with ThreadPoolExecutor(1) as workers:
        writing = workers.submit(write)
        while len(written) < 3:
            time.sleep(0.01)
        files = [take_store(kms, tmp_path / f"b{number}") for number in range(3)]
        ended.set()
        writing.result()
    for number, file in enumerate(files):
        directory = another_machine(kms, tmp_path / f"m{number}")
        assert 3 + 6 <= restore_in(directory, file).keys <= len(written) + 6


@pytest.mark.parametrize("who", ["admin", "key-admin", "auditor"])
def test_nobody_but_an_operator_takes_one(kms, who):
    with pytest.raises(CallDenied):
        list(backup_store(kms.as_(who)))


def test_none_is_taken_while_the_root_key_is_rotated(tmp_path):
    with running_kms(tmp_path) as kms:
        kms.vault.begin_rotation(kms.vault.root_of_trust, told)
        with pytest.raises(CallWrongState) as caught:
            list(backup_store(kms.as_("operator")))
        assert caught.value.reason == "ROTATION_UNDER_WAY"
        while kms.vault.rotation() is not None:
            kms.vault.step_rotation()
        path = take_store(kms, tmp_path / "full")
        assert restore_in(another_machine(kms, tmp_path / "second"), path).tenants == 2


def told(details):
    return AuditEvent("2026-01-02T03:04:05.000000Z", "Test.Change", "", "", "", "ALLOW", details=details)
