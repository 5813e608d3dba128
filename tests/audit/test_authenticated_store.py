"""A store with its root of trust: made, unlocked, moved to another provider, and given another root key."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from rotating import rotate

from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import (
    NAME,
    ROOT_KEY,
    AuthenticatedStore,
    Describe,
    create_store,
    open_store,
    read_record,
    store_keys,
    unlock_store,
)
from kms.audit.export import export
from kms.audit.verify import verify
from kms.crypto.key_hierarchy import AUDIT_KEY, TENANT_KEY, KeyHierarchy
from kms.crypto.root_of_trust.interface import RootOfTrust, WrongRootMaterial
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.crypto.root_of_trust.passphrase import Argon2Limits, Passphrase
from kms.crypto.wrapping import UnwrapFailed
from kms.errors import ConfigError, StoreTampered, Unavailable
from kms.model.audit_event import AuditEvent
from kms.model.chain import parse_object
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.interface import MISSING, Put, WriteConflict
from kms.storage.sqlite import LockedStore, Settings

ACME = "tenants/acme"
CALLER = "spiffe://kms.test/operator/olga"


def an_event() -> AuditEvent:
    return AuditEvent("2026-01-02T03:04:05.000000Z", "Test.Act", "", "", "", "ALLOW")


def told(action: str) -> Describe:
    return lambda details: an_event()._replace(action=action, caller=CALLER, details=details)


def passphrase(text: bytes) -> Passphrase:
    return Passphrase(SecretBytes(text), limits=Argon2Limits(1, 8192))


class Place:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "kms.db"
        self.settings = Settings(CheckpointFile(directory / "checkpoint"))
        self.keyfile: RootOfTrust = Keyfile.create(directory / "key")

    @contextmanager
    def opened(self, provider: RootOfTrust | None = None) -> Iterator[AuthenticatedStore]:
        store = open_store(self.path, self.settings, provider or self.keyfile)
        try:
            yield store
        finally:
            store.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store with a tenant's key, closed."""
    made = Place(tmp_path)
    new = create_store(made.path, made.settings, made.keyfile)
    body = new.root.keys.wrap(TENANT_KEY, ACME, SecretBytes(b"the tenant's key, 32 bytes long."))
    changes = [Put(TENANT_KEY, ACME, body, MISSING), Put("policy", "p", b"{}", MISSING), new.root.requirement]
    new.store.commit(changes, [an_event()]).result(timeout=20)
    new.close()
    return made


def tenant_key(opened: AuthenticatedStore) -> bytes:
    row = opened.store.get(TENANT_KEY, ACME)
    assert row is not None
    return opened.root.keys.unwrap(TENANT_KEY, ACME, row.body).reveal()


def actions(opened: AuthenticatedStore) -> list[str]:
    return [parse_object(event.body)["action"] for event in opened.store.events()]


def test_a_new_store_begins_with_an_event_that_names_its_audit_key(place: Place) -> None:
    with place.opened() as opened:
        first = parse_object(opened.store.events()[0].body)
        assert first["action"] == "Kms.Init"
        assert first["details"]["audit_key"] == opened.audit_public_key.hex()
        assert first["details"]["root"] == "keyfile"


def test_what_was_wrapped_unwraps_after_reopening(place: Place) -> None:
    with place.opened() as opened:
        assert tenant_key(opened) == b"the tenant's key, 32 bytes long."


@pytest.mark.parametrize("kind", ["keyfile", "passphrase"])
def test_root_key_of_another_store_comes_back_under_the_same_root_of_trust(tmp_path: Path, kind: str) -> None:
    places = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        places.append(Place(tmp_path / name))
    shared = places[0].keyfile if kind == "keyfile" else passphrase(b"correct horse battery")
    one, two = (create_store(place.path, place.settings, shared) for place in places)
    keys, record = one.recorded_keys()
    assert store_keys(two.keys_under(record)) == store_keys(keys) == store_keys(one.root.keys)
    two.exchange_provider(shared, passphrase(b"another passphrase"), told("Kms.ExchangeRootOfTrust"))
    with pytest.raises(ConfigError if kind == "keyfile" else WrongRootMaterial):
        two.keys_under(record)
    one.close()
    two.close()


def test_two_stores_share_nothing(tmp_path: Path) -> None:
    stores = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name)
        stores.append(create_store(place.path, place.settings, place.keyfile))
    one, two = stores
    assert one.store.store_id != two.store.store_id
    assert one.audit_public_key != two.audit_public_key
    assert store_keys(one.root.keys) != store_keys(two.root.keys)
    for store in stores:
        store.close()


def test_a_locked_store_tells_its_provider_and_survives_wrong_material(place: Place, tmp_path: Path) -> None:
    locked = LockedStore.open(place.path)
    assert read_record(locked).provider == "keyfile"
    with pytest.raises(WrongRootMaterial):
        unlock_store(locked, place.settings, Keyfile.create(tmp_path / "other"))
    with pytest.raises(ConfigError, match="keyfile"):
        unlock_store(locked, place.settings, passphrase(b"correct horse battery"))
    opened = unlock_store(locked, place.settings, place.keyfile)
    assert tenant_key(opened) == b"the tenant's key, 32 bytes long."
    opened.close()


def test_a_failed_opening_gives_the_file_back(place: Place) -> None:
    with pytest.raises(ConfigError):
        open_store(place.path, place.settings, passphrase(b"correct horse battery"))
    with place.opened():
        pass


def test_a_failed_creation_leaves_an_existing_store_alone(place: Place) -> None:
    with pytest.raises(ConfigError):
        create_store(place.path, place.settings, place.keyfile)
    with place.opened() as opened:
        assert tenant_key(opened)


@pytest.mark.parametrize("obstacle", ["an old checkpoint file", "no directory for the checkpoint file"])
def test_a_creation_that_failed_can_be_repeated(tmp_path: Path, obstacle: str) -> None:
    place = Place(tmp_path)
    outside = tmp_path / "checkpoint"
    if obstacle == "an old checkpoint file":
        outside.touch()
    else:
        place.settings = Settings(CheckpointFile(tmp_path / "missing" / "checkpoint"))
    with pytest.raises((ConfigError, Unavailable)):
        create_store(place.path, place.settings, place.keyfile)
    assert not list(tmp_path.glob("kms.db*[!k]"))
    outside.unlink(missing_ok=True)
    (tmp_path / "missing").mkdir()
    create_store(place.path, place.settings, place.keyfile).close()
    with place.opened() as opened:
        assert actions(opened) == ["Kms.Init"]


@pytest.mark.parametrize("kind", [ROOT_KEY, AUDIT_KEY])
def test_the_rows_read_before_there_are_keys_are_verified_all_the_same(place: Place, kind: str) -> None:
    connection = sqlite3.connect(place.path, isolation_level=None)
    assert connection.execute("UPDATE rows SET counter = 9 WHERE kind = ?", (kind,)).rowcount == 1
    with pytest.raises(StoreTampered), place.opened():
        pass
    connection.execute("DELETE FROM rows WHERE kind = ?", (kind,))
    connection.close()
    with pytest.raises(StoreTampered), place.opened():
        pass


def test_the_provider_is_exchanged_without_touching_any_other_row(place: Place) -> None:
    new = passphrase(b"correct horse battery")
    with place.opened() as opened:
        before = opened.store.get(TENANT_KEY, ACME)
        opened.exchange_provider(place.keyfile, new, told("Kms.ExchangeRootOfTrust"))
        assert opened.store.get(TENANT_KEY, ACME) == before
        assert actions(opened)[-1] == "Kms.ExchangeRootOfTrust"
        opened.store.commit([opened.root.requirement], [an_event()]).result(timeout=20)
    with pytest.raises(ConfigError), place.opened():
        pass
    with pytest.raises(WrongRootMaterial), place.opened(passphrase(b"wrong horse battery")):
        pass
    with place.opened(new) as opened:
        assert tenant_key(opened) == b"the tenant's key, 32 bytes long."


def test_an_exchange_needs_the_old_material(place: Place, tmp_path: Path) -> None:
    new = passphrase(b"correct horse battery")
    with place.opened() as opened:
        with pytest.raises(WrongRootMaterial):
            opened.exchange_provider(Keyfile.create(tmp_path / "other"), new, told("Kms.ExchangeRootOfTrust"))
        assert len(actions(opened)) == 2


def test_a_rotated_root_key_wraps_and_authenticates_everything_anew(place: Place) -> None:
    with place.opened() as opened:
        old = opened.root
        rotate(opened, told("Kms.RotateRootKey"))
        assert store_keys(opened.root.keys) != store_keys(old.keys)
        assert tenant_key(opened) == b"the tenant's key, 32 bytes long."
        row = opened.store.get(TENANT_KEY, ACME)
        assert row is not None
        with pytest.raises(UnwrapFailed):
            old.keys.unwrap(TENANT_KEY, ACME, row.body)
        policy = opened.store.get("policy", "p")
        assert policy is not None
        assert (policy.counter, policy.body) == (1, b"{}")
        assert [row.name for row in opened.store.scan("policy")] == ["p"]
        assert actions(opened)[-1] == "Kms.RotateRootKey"
        key = opened.audit_public_key
    with place.opened() as opened:
        assert opened.audit_public_key == key
        assert tenant_key(opened) == b"the tenant's key, 32 bytes long."
        report = verify(export(opened.store), key)
        assert (report.first, report.signed_through) == (1, opened.store.last_event())


def test_rotation_can_be_repeated_and_move_to_another_provider(place: Place) -> None:
    new = passphrase(b"correct horse battery")
    with place.opened() as opened:
        for _ in range(3):
            rotate(opened, told("Kms.RotateRootKey"))
        rotate(opened, told("Kms.RotateRootKey"), new)
    with place.opened(new) as opened:
        assert tenant_key(opened) == b"the tenant's key, 32 bytes long."


def test_a_rotation_pages_through_a_long_chain(place: Place) -> None:
    with place.opened() as opened:
        opened.store.commit([], [an_event()] * 2500).result(timeout=20)
        rotate(opened, told("Kms.RotateRootKey"))
        assert len(opened.store.events(limit=5000)) == opened.store.last_event() > 2500


def test_what_was_wrapped_before_a_rotation_is_refused_after_it(place: Place) -> None:
    with place.opened() as opened:
        stale = opened.root
        body = stale.keys.wrap(TENANT_KEY, "tenants/late", SecretBytes(b"k" * 32))
        rotate(opened, told("Kms.RotateRootKey"))
        put = Put(TENANT_KEY, "tenants/late", body, MISSING)
        with pytest.raises(WriteConflict):
            opened.store.commit([put, stale.requirement], [an_event()]).result(timeout=20)
        opened.store.commit([opened.root.requirement], [an_event()]).result(timeout=20)


def test_a_rotation_stops_at_a_row_that_does_not_unwrap_and_changes_nothing(place: Place) -> None:
    with place.opened() as opened:
        foreign = KeyHierarchy.derive(SecretBytes(b"f" * 32)).wrap(TENANT_KEY, "tenants/x", SecretBytes(b"k"))
        put = Put(TENANT_KEY, "tenants/x", foreign, MISSING)
        opened.store.commit([put], [an_event()]).result(timeout=20)
        before = opened.root
        with pytest.raises(UnwrapFailed):
            rotate(opened, told("Kms.RotateRootKey"))
        assert opened.root == before
        assert tenant_key(opened) == b"the tenant's key, 32 bytes long."
    with place.opened() as opened:
        assert len(actions(opened)) == 3


def test_readers_and_writers_go_on_through_rotations(place: Place) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def work(opened: AuthenticatedStore, write: bool) -> None:
        while not stop.is_set():
            try:
                assert opened.store.get("policy", "p") is not None
                assert opened.store.events(limit=3)
                if write:
                    opened.store.commit([], [an_event()]).result(timeout=20)
            except BaseException as error:
                failures.append(error)
                return

    with place.opened() as opened:
        threads = [threading.Thread(target=work, args=(opened, n == 0)) for n in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            rotate(opened, told("Kms.RotateRootKey"))
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_the_old_root_record_put_back_is_noticed(place: Place) -> None:
    """Somebody who knows an old passphrase cannot make it valid again."""
    old, new = passphrase(b"old horse battery"), passphrase(b"new horse battery")
    with place.opened() as opened:
        opened.exchange_provider(place.keyfile, old, told("Kms.ExchangeRootOfTrust"))
    connection = sqlite3.connect(place.path, isolation_level=None)
    query = "SELECT counter, body, mac FROM rows WHERE kind = ? AND name = ?"
    record = connection.execute(query, (ROOT_KEY, NAME)).fetchone()
    with place.opened(old) as opened:
        opened.exchange_provider(old, new, told("Kms.ExchangeRootOfTrust"))
    with place.opened(new):
        pass
    connection.execute("UPDATE rows SET counter = ?, body = ?, mac = ? WHERE kind = ?", (*record, ROOT_KEY))
    connection.close()
    with pytest.raises(StoreTampered), place.opened(old):
        pass


def test_the_keys_in_force_are_told_while_a_change_waits_for_whoever_asks(place: Place) -> None:
    """The change waits for its receipt, which the asking thread may have to deliver."""
    with place.opened() as opened, ThreadPoolExecutor(1) as other:
        opened._changing_root.acquire()
        keys, record = other.submit(opened.recorded_keys).result(timeout=20)
        opened._changing_root.release()
        assert (keys, record.provider) == (opened.root.keys, "keyfile")


def test_a_record_without_its_keys_is_not_told(place: Place) -> None:
    with place.opened() as opened:
        before = opened.root
        rotate(opened, told("Kms.RotateRootKey"))
        after, opened.root = opened.root, before
        with pytest.raises(WriteConflict):
            opened.recorded_keys()
        opened.root = after
        assert opened.recorded_keys()[0] == after.keys


def test_a_backup_under_way_and_a_change_do_not_wait_for_each_other(place: Place) -> None:
    new = passphrase(b"correct horse battery")
    with place.opened() as opened, ThreadPoolExecutor(1) as other:
        with opened.store.excerpt([TENANT_KEY], ACME) as excerpt:
            change = other.submit(
                opened.exchange_provider, place.keyfile, new, told("Kms.ExchangeRootOfTrust")
            )
            while not opened._changing_root.locked():
                time.sleep(0.001)
            opened.recorded_keys()
            assert len(list(excerpt.rows)) == 1
        change.result(timeout=20)
        assert opened.provider == "passphrase"
