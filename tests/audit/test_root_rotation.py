"""A rotation of the root key in steps: interrupted anywhere it goes on; both root keys serve meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rotating import rotate
from test_authenticated_store import ACME, Place, actions, an_event, passphrase, tenant_key, told

from blindfold._encoding import b64url
from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import AuthenticatedStore, create_store
from kms.audit.export import export
from kms.audit.verify import verify
from kms.crypto.key_hierarchy import AUDIT_KEY, ROOT_WRAPPED, TENANT_KEY, KeyHierarchy
from kms.crypto.root_of_trust.interface import RootKeyRecord, RootOfTrust, WrongRootMaterial
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.crypto.wrapping import UnwrapFailed
from kms.errors import RotationUnderWay, Unavailable
from kms.model.records import RetentionRecord
from kms.services.keyring import Keyring
from kms.storage.environment import Limits
from kms.storage.interface import MISSING, Put

ROTATION = "Kms.RotateRootKey"
TENANTS = 5
SMALL = Limits(step_rows=2, step_events=3)


class Counted:
    """A root of trust that says how many root keys it protected."""

    def __init__(self, inner: RootOfTrust) -> None:
        self._inner = inner
        self.provider, self.warning = inner.provider, inner.warning
        self.protected = 0

    def protect(self, root_key: SecretBytes, store_id: bytes) -> RootKeyRecord:
        self.protected += 1
        return self._inner.protect(root_key, store_id)

    def unlock(self, record: RootKeyRecord) -> SecretBytes:
        return self._inner.unlock(record)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store of some tenants, whose rotations take many steps. Closed."""
    made = Place(tmp_path)
    made.settings = replace(made.settings, limits=SMALL)
    new = create_store(made.path, made.settings, made.keyfile)
    body = new.root.keys.wrap(TENANT_KEY, ACME, SecretBytes(b"the tenant's key, 32 bytes long."))
    new.store.commit([Put(TENANT_KEY, ACME, body, MISSING)], [an_event()]).result(20)
    for number in range(TENANTS):
        new.store.commit(Keyring(new).new_tenant(f"t{number}"), [an_event()]).result(20)
    new.close()
    return made


@pytest.fixture
def opened(place: Place) -> Iterator[AuthenticatedStore]:
    with place.opened() as opened:
        yield opened


def under(keys: KeyHierarchy, opened: AuthenticatedStore) -> set[str]:
    """The rows that this root key wrapped."""
    found = set()
    for kind in ROOT_WRAPPED:
        for row in opened.store.scan(kind):
            try:
                keys.unwrap(row.kind, row.name, row.body)
            except UnwrapFailed:
                continue
            found.add(f"{row.kind} {row.name}")
    return found


def is_in_files(place: Place, content: bytes) -> bool:
    return any(content in path.read_bytes() for path in place.path.parent.glob("kms.db*"))


def all_keys_open(opened: AuthenticatedStore) -> bool:
    names = [row.name for row in opened.store.scan(TENANT_KEY)]
    keys = [opened.unwrap(TENANT_KEY, name).reveal() for name in names]
    return len(set(keys)) == len(names) > TENANTS and opened.unwrap(AUDIT_KEY, "current") is not None


def test_steps_move_what_lies_under_the_root_key_and_the_old_one_is_gone_with_the_last(
    place: Place, opened: AuthenticatedStore
) -> None:
    before = opened.root.keys
    everything = under(before, opened)
    opened.begin_rotation(place.keyfile, told("RotateRootKey"))
    new = opened.root.keys
    assert (under(before, opened), under(new, opened)) == (everything, set())
    wrapped = opened.rotation().wrapped
    bodies = [row.body for kind in ROOT_WRAPPED for row in opened.store.scan(kind)]
    assert is_in_files(place, b64url(wrapped).encode())
    assert all(is_in_files(place, body) for body in bodies)
    moved = 0
    while opened.store.rekeying() is not None:
        assert opened.root.all_keys.previous is not None
        assert under(before, opened) | under(new, opened) == everything
        assert not under(before, opened) & under(new, opened)
        assert len(under(new, opened)) >= moved
        moved = len(under(new, opened))
        assert all_keys_open(opened)
        opened.step_rotation()
    assert (under(before, opened), under(new, opened)) == (set(), everything)
    assert opened.root.all_keys.previous is None
    assert not is_in_files(place, b64url(wrapped).encode())
    assert not any(is_in_files(place, body) for body in bodies)
    assert actions(opened)[-1] == ROTATION


@pytest.mark.parametrize("steps", range(0, 16, 3))
def test_an_interrupted_rotation_is_taken_up_where_it_was(place: Place, steps: int) -> None:
    with place.opened() as opened:
        opened.begin_rotation(place.keyfile, told("RotateRootKey"))
        for _ in range(steps):
            opened.step_rotation()
        there, before = opened.store.rekeying(), opened.root.keys
        audit_key = opened.audit_public_key
    with place.opened() as opened:
        assert opened.store.rekeying() == there
        assert (opened.root.all_keys.previous is None) == (there is None)
        assert store_wrapping(opened.root.keys) == store_wrapping(before)
        assert all_keys_open(opened)
        while opened.store.rekeying() is not None:
            opened.step_rotation()
    with place.opened() as opened:
        assert all_keys_open(opened)
        assert opened.audit_public_key == audit_key
        assert verify(export(opened.store), audit_key).signed_through == opened.store.last_event()


def store_wrapping(keys: KeyHierarchy) -> bytes:
    return keys.root_wrapping.reveal()


def test_a_tenant_that_is_made_meanwhile_is_under_the_new_root_key(
    place: Place, opened: AuthenticatedStore
) -> None:
    before = opened.root.keys
    opened.begin_rotation(place.keyfile, told("RotateRootKey"))
    made = 0
    while opened.store.rekeying() is not None:
        names = [f"a{made}", f"z{made}"]
        for name in names:
            opened.store.commit(Keyring(opened).new_tenant(name), [an_event()]).result(20)
            assert f"{TENANT_KEY} tenants/{name}" not in under(before, opened)
            assert f"{TENANT_KEY} tenants/{name}" in under(opened.root.keys, opened)
        made += 1
        opened.step_rotation()
    assert made > 5
    assert len(under(opened.root.keys, opened)) == len(opened.store.scan(TENANT_KEY)) + 1


def test_a_second_rotation_is_refused_until_the_first_is_done(
    place: Place, opened: AuthenticatedStore
) -> None:
    opened.begin_rotation(place.keyfile, told("RotateRootKey"))
    keys = opened.root
    with pytest.raises(RotationUnderWay):
        opened.begin_rotation(place.keyfile, told("RotateRootKey"))
    assert opened.root == keys
    while opened.store.rekeying() is not None:
        opened.step_rotation()
    rotate(opened, told("RotateRootKey"))
    assert tenant_key(opened) == b"the tenant's key, 32 bytes long."


def test_a_step_without_a_rotation_does_nothing(opened: AuthenticatedStore) -> None:
    before = opened.store.last_event()
    opened.step_rotation()
    assert opened.store.last_event() == before


@pytest.mark.parametrize("through", [2, 20])
def test_events_may_be_dropped_amid_a_rotation(place: Place, through: int) -> None:
    """Those that it has still to move, some or all."""
    with place.opened() as opened:
        opened.store.commit([], [an_event()] * 20).result(20)
        opened.begin_rotation(place.keyfile, told("RotateRootKey"))
        while opened.rotation().row:
            opened.step_rotation()
        opened.step_rotation()
        last = opened.store.events(through - 1, 1)[0]
        assert opened.rotation().event > 2
        dropped = RetentionRecord(last.sequence, last.chain_hash)
        put = Put(dropped.KIND, dropped.NAME, dropped.to_bytes(), MISSING)
        opened.store.commit([put], [an_event()]).result(20)
        opened.step_rotation()
        assert opened.store.drop_events().result(20) == through
    with place.opened() as opened:
        while opened.store.rekeying() is not None:
            opened.step_rotation()
        assert opened.store.events(0, 1)[0].sequence == through + 1
    with place.opened() as opened:
        assert all_keys_open(opened)
        assert len(opened.store.events()) == opened.store.last_event() - through


def test_the_root_of_trust_is_exchanged_amid_a_rotation(place: Place) -> None:
    new = passphrase(b"correct horse battery")
    with place.opened() as opened:
        opened.begin_rotation(place.keyfile, told("RotateRootKey"))
        opened.step_rotation()
        opened.exchange_provider(place.keyfile, new, told("ChangeRootOfTrust"))
        assert all_keys_open(opened)
        opened.step_rotation()
    with place.opened(new) as opened:
        assert opened.store.rekeying() is not None
        assert all_keys_open(opened)
        while opened.store.rekeying() is not None:
            opened.step_rotation()
        assert all_keys_open(opened)


@pytest.mark.parametrize("change", ["exchange", "begin", "last step"])
def test_a_change_that_is_committed_and_not_vouched_for_outside_is_in_force(
    place: Place, tmp_path: Path, change: str
) -> None:
    """The checkpoint file cannot be replaced: the caller is told so, and what is wrapped next opens."""
    new = passphrase(b"correct horse battery")
    acts: dict[str, Callable[[AuthenticatedStore], object]] = {
        "exchange": lambda opened: opened.exchange_provider(place.keyfile, new, told("ChangeRootOfTrust")),
        "begin": lambda opened: opened.begin_rotation(place.keyfile, told("RotateRootKey")),
        "last step": lambda opened: opened.step_rotation(),
    }
    with place.opened() as opened:
        if change == "last step":
            opened.begin_rotation(place.keyfile, told("RotateRootKey"))
            while opened.rotation().row or opened.rotation().event > SMALL.step_events:
                opened.step_rotation()
        (tmp_path / "checkpoint.new").mkdir()
        with pytest.raises(Unavailable, match="checkpoint"):
            acts[change](opened)
        (tmp_path / "checkpoint.new").rmdir()
        assert opened.provider == opened.recorded_keys()[1].provider
        opened.store.commit(Keyring(opened).new_tenant("late"), [an_event()]).result(20)
        assert all_keys_open(opened)
        assert (opened.root.all_keys.previous is None) == (change != "begin")
    with place.opened(new if change == "exchange" else None) as opened:
        assert all_keys_open(opened)


def test_one_root_of_trust_unlocks_both_root_keys_and_the_new_one_is_not_under_the_old(place: Place) -> None:
    """Who has the old root key, and the store as it is amid the rotation, does not learn the new one."""
    keyfile = Counted(place.keyfile)
    with place.opened(keyfile) as opened:
        before = opened.root.keys
        opened.begin_rotation(keyfile, told("RotateRootKey"))
        assert keyfile.protected == 1
        wrapped = opened.rotation().wrapped
        opened.root.keys.unwrap_previous(wrapped)
        with pytest.raises(UnwrapFailed):
            before.unwrap_previous(wrapped)


def test_another_root_of_trust_may_protect_the_new_root_key_and_opens_alone_then(
    place: Place, tmp_path: Path
) -> None:
    other = Keyfile.create(tmp_path / "other")
    with place.opened() as opened:
        opened.begin_rotation(other, told("RotateRootKey"))
    with pytest.raises(WrongRootMaterial), place.opened():
        pass
    with place.opened(other) as opened:
        assert all_keys_open(opened)
