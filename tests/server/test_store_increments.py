"""Backups that follow each other hold what was written since, and are restored one behind the other."""

import io
import sqlite3
from datetime import datetime, timedelta

import pytest
from server.backup_harness import PLAINTEXT, use
from server.kms_harness import ACME, PROD, configuration_in, running_kms, serving
from server.store_backup_harness import another_machine, header_of, restore_in, take_store

from blindfold.secret import SecretBytes
from kms.client.backups import backup_store
from kms.client.errors import CallInvalid, CallWrongState
from kms.crypto.root_of_trust.passphrase import Passphrase
from kms.errors import BackupInvalid
from kms.main.restoring import restore_store
from kms.main.root_material import Material
from kms.model.audit_event import AuditEvent
from kms.model.backup_header import StoreBackupHeader
from kms.model.records import RetentionRecord
from kms.services.repository import create


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    with running_kms(tmp_path_factory.mktemp("first")) as started:
        yield started


class Week:
    """A full backup and two that follow, and what was made before each."""

    def __init__(self, kms, path):
        kms.allow_keys()
        self.earlier = take_store(kms, path / "earlier")
        self.keys = [kms.make_key("one")]
        kms.add_limiter("gone", number=7)
        kms.add_limiter("again", number=7)
        self.encrypted = [use(kms, "Encrypt", name=self.keys[0], plaintext=PLAINTEXT)]
        self.files = [take_store(kms, path / "full")]
        self.keys.append(kms.make_key("two"))
        self.encrypted.append(use(kms, "Encrypt", name=self.keys[1], plaintext=PLAINTEXT))
        kms.remove_limits()
        kms.add_limiter("again", number=8)
        kms.as_("admin").call("IdentityService", "RevokeIdentity", revoked(kms, "batch"))
        self.files.append(take_store(kms, path / "second", since=self.files[-1]))
        self.keys.append(kms.make_key("three"))
        self.files.append(take_store(kms, path / "third", since=self.files[-1]))

    def times(self):
        return [datetime.fromisoformat(header(file).time) for file in self.files]


def revoked(kms, who):
    kms.as_(who)
    return {"name": f"{PROD}/identities/{who}"}


def header(file):
    return StoreBackupHeader.read(io.BytesIO(file.read_bytes()))


@pytest.fixture(scope="module")
def week(kms, tmp_path_factory):
    return Week(kms, tmp_path_factory.mktemp("week"))


@pytest.fixture
def place(kms, week, tmp_path):
    return another_machine(kms, tmp_path / "second")


def limiters(kms):
    listed = kms.as_("admin").call("RateLimitService", "ListRateLimiters", {"parent": ACME})
    return {item["name"].rpartition("/")[2]: item["number"] for item in listed.get("rate_limiters", [])}


def key_ids(kms):
    listed = kms.as_("key-admin").call("KeyService", "ListKeys", {"parent": PROD})
    return [item["name"].rpartition("/")[2] for item in listed["keys"]]


def test_each_has_what_was_written_since_and_names_the_one_before(week):
    first, second, third = map(header, week.files)
    assert (first.follows, second.follows, third.follows) == (b"", first.digest(), second.digest())
    assert first.sequence < second.sequence < third.sequence
    assert third.rows < second.rows < first.rows
    assert week.files[2].stat().st_size * 3 < week.files[0].stat().st_size


def test_all_of_them_make_the_store_as_it_was_at_the_last(week, place):
    restored = restore_in(place, *week.files)
    assert (restored.backups, restored.header) == (3, header(week.files[2]))
    with serving(place) as second:
        assert sorted(key_ids(second)) == ["one", "three", "two"]
        assert limiters(second) == {"again": 8}
        for made in week.encrypted:
            name = made["name"].rpartition("/versions/")[0]
            assert use(second, "Decrypt", name=name, ciphertext=made["ciphertext"])["plaintext"] == PLAINTEXT


@pytest.mark.parametrize(
    ("moment", "count"), [(timedelta(0), 2), (timedelta(microseconds=-1), 1), (timedelta(days=1), 3)]
)
def test_store_of_a_time_is_that_of_the_last_backup_not_after_it(week, place, moment, count):
    restored = restore_in(place, *week.files, at=week.times()[1] + moment)
    assert restored.backups == count
    with serving(place) as second:
        assert sorted(key_ids(second)) == sorted(["one", "two", "three"][:count])
        assert limiters(second) == ({"gone": 7, "again": 7} if count == 1 else {"again": 8})


def test_time_before_the_first_is_none(week, place):
    with pytest.raises(BackupInvalid, match="later"):
        restore_in(place, *week.files, at=week.times()[0] - timedelta(seconds=1))


ORDERS = {
    "swapped": (0, 2, 1),
    "one is missing": (0, 2),
    "the full one is missing": (1, 2),
    "one twice": (0, 1, 1),
    "the full one twice": (0, 0),
    "backwards": (2, 1, 0),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_any_other_order_is_refused(week, place, order):
    with pytest.raises(BackupInvalid):
        restore_in(place, *(week.files[number] for number in order))
    assert not (place / "kms" / "store.sqlite").exists()


def test_two_that_follow_the_same_one_are_not_mixed(kms, week, place, tmp_path):
    other = take_store(kms, tmp_path / "other", since=week.files[0])
    with pytest.raises(BackupInvalid, match="follow"):
        restore_in(place, week.files[0], other, week.files[2])
    assert restore_in(place, week.files[0], other).backups == 2


def test_payload_of_another_one_is_refused(week, place, tmp_path):
    head = len(header_of(week.files[1]))
    mixed = tmp_path / "mixed"
    mixed.write_bytes(week.files[1].read_bytes()[:head] + week.files[2].read_bytes()[head:])
    with pytest.raises(BackupInvalid):
        restore_in(place, week.files[0], mixed)


def test_row_whose_writing_was_hidden_is_missed_and_noticed(kms, week, place, tmp_path):
    """Somebody who writes the store's file makes a backup leave something out."""
    file = kms.directory / "kms" / "store.sqlite"
    kms.make_key("hidden")
    edit(file, "UPDATE rows SET written = 1 WHERE name LIKE '%/keys/hidden%'")
    spoiled = take_store(kms, tmp_path / "spoiled", since=week.files[2])
    with pytest.raises(BackupInvalid, match="not those of its moment"):
        restore_in(place, *week.files, spoiled, verify_only=True)
    full = take_store(kms, tmp_path / "full")
    assert restore_in(place, full).keys == 4


def edit(file, sql):
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        assert connection.execute(sql).rowcount
    finally:
        connection.close()


def told(details):
    return AuditEvent("2026-01-02T03:04:05.000000Z", "Test.Change", "", "", "", "ALLOW", details=details)


def rotate_root(kms, provider):
    kms.vault.begin_rotation(provider, told)
    while kms.vault.rotation() is not None:
        kms.vault.step_rotation()


def test_root_key_that_was_rotated_in_between_is_opened_by_the_last_one(tmp_path):
    """Rows that were not written since are authenticated anew; those that the root key wraps are in it."""
    with running_kms(tmp_path) as kms:
        kms.make_key("one")
        files = [take_store(kms, tmp_path / "full")]
        rotate_root(kms, kms.vault.root_of_trust)
        files.append(take_store(kms, tmp_path / "second", since=files[0]))
        assert header(files[0]).root_key_id != header(files[1]).root_key_id
        place = another_machine(kms, tmp_path / "other")
        assert restore_in(place, *files).keys == 1
        with serving(place) as second:
            assert key_ids(second) == ["one"]


def test_last_one_says_which_root_of_trust_opens_them_all(tmp_path):
    with running_kms(tmp_path) as kms:
        kms.make_key("one")
        files = [take_store(kms, tmp_path / "full")]
        phrase = b"a long enough passphrase"
        kms.vault.exchange_provider(kms.vault.root_of_trust, Passphrase(SecretBytes(phrase)), told)
        files.append(take_store(kms, tmp_path / "second", since=files[0]))
        place = another_machine(kms, tmp_path / "other")
        (place / "kms" / "root.key").unlink()
        asked = Material(lambda: SecretBytes(phrase))
        restored = restore_store(configuration_in(place), files, asked, lambda count: None)
        assert (restored.backups, restored.keys) == (2, 1)


def test_store_that_was_restored_goes_on_where_its_last_backup_ends(kms, week, place, tmp_path):
    restore_in(place, *week.files)
    with serving(place) as second:
        second.as_("key-admin").call("KeyService", "RotateKey", {"name": week.keys[2]})
        fourth = take_store(second, tmp_path / "fourth", since=week.files[2])
        again = take_store(second, tmp_path / "again", since=week.files[0])
        with pytest.raises(CallWrongState, match="deleted"):
            take_store(second, tmp_path / "none", since=week.earlier)
        third = another_machine(second, tmp_path / "third")
    assert restore_in(third, week.files[0], again, verify_only=True).backups == 2
    assert restore_in(third, *week.files, fourth).backups == 4
    # The first store has another future.
    with pytest.raises(CallWrongState, match="past"):
        list(backup_store(kms.as_("operator"), header_of(fourth)))


def test_backup_of_another_store_is_not_followed(week, tmp_path):
    with running_kms(tmp_path) as other, pytest.raises(CallWrongState, match="another store"):
        list(backup_store(other.as_("operator"), header_of(week.files[0])))


@pytest.mark.parametrize("since", [b"kms backup v1", b"x", b"kms backup v1\n\x00\x02{}"])
def test_what_is_no_header_is_not_followed(kms, since):
    with pytest.raises(CallInvalid):
        list(backup_store(kms.as_("operator"), since))


def test_backup_from_before_events_were_dropped_is_not_followed(tmp_path):
    with running_kms(tmp_path) as kms:
        first = take_store(kms, tmp_path / "first")
        second = take_store(kms, tmp_path / "second")
        floor = kms.vault.store.events(header(second).sequence - 1, 1)[0]
        kms.commit(
            "Test.Drop", create(RetentionRecord.NAME, RetentionRecord(floor.sequence, floor.chain_hash))
        )
        kms.vault.store.drop_events().result()
        with pytest.raises(CallWrongState, match="deleted"):
            take_store(kms, tmp_path / "third", since=first)
        files = [second, take_store(kms, tmp_path / "third", since=second)]
        assert restore_in(another_machine(kms, tmp_path / "a"), *files).backups == 2
        full = take_store(kms, tmp_path / "full")
        place = another_machine(kms, tmp_path / "b")
        assert restore_in(place, full).backups == 1
        with serving(place) as restored:
            assert restored.vault.store.dropped_through() == floor.sequence


def test_rows_from_before_it_was_noted_when_they_were_written_are_in_a_full_backup(tmp_path):
    """A store of the version before: it is brought up to date when it is opened."""
    with running_kms(tmp_path) as kms:
        kms.make_key("one")
    older = sqlite3.connect(tmp_path / "kms" / "store.sqlite", isolation_level=None)
    older.execute("ALTER TABLE rows DROP COLUMN written")
    older.execute("DROP TABLE deletions")
    older.execute("DELETE FROM _sqlite_migrations WHERE name LIKE '0002%'")
    older.close()
    with serving(tmp_path) as kms:
        files = [take_store(kms, tmp_path / "full")]
        kms.make_key("two")
        files.append(take_store(kms, tmp_path / "next", since=files[0]))
        place = another_machine(kms, tmp_path / "other")
    assert header(files[1]).rows < header(files[0]).rows
    assert restore_in(place, *files).keys == 2
