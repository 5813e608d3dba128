"""A store together with its root of trust: make it, unlock it, exchange the provider, rotate the root key.

`docs/spec/store.md`, "Root of trust". The record of the root key and the audit key are rows like all others,
so that neither can be put back to an older one.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from blindfold.secret import SecretBytes
from kms.audit.rotation import PLACE, begun, keys_amid_rotation, moved, step_event, store_keys
from kms.audit.signing import AuditKey
from kms.crypto.key_hierarchy import AUDIT_KEY, ROOT_KEY_SIZE, ROOT_WRAPPED, KeyHierarchy, RootKeys
from kms.crypto.root_of_trust.interface import RootKeyRecord, RootOfTrust
from kms.crypto.wrapping import UnwrapFailed
from kms.errors import RotationUnderWay, StoreTampered
from kms.model.audit_event import AuditEvent
from kms.model.chain import STORE_ID_SIZE, timestamp
from kms.model.receipt import Receipt
from kms.model.records import RotationRecord
from kms.storage.authentication import Previous, StoreKeys
from kms.storage.interface import MISSING, Change, Put, Require, Row, WriteConflict
from kms.storage.sqlite import LockedStore, Settings, SqliteStore

ROOT_KEY = "rootKey"
NAME = "current"

# Gives the event of a change of the root, told its details.
Describe = Callable[[Mapping[str, str]], AuditEvent]


@dataclass(frozen=True, slots=True)
class Root:
    """The keys in force. A unit that stores what `keys` wrapped includes `requirement`.

    That makes it fail with `WriteConflict`, if the root key was rotated meanwhile, instead of storing bytes
    that no key unwraps; the caller then takes the new `AuthenticatedStore.root` and repeats.
    """

    all_keys: RootKeys
    requirement: Require

    @property
    def keys(self) -> KeyHierarchy:
        """Of the root key in force."""
        return self.all_keys.current


class AuthenticatedStore:
    """An unlocked store, its audit key and its present root.

    Changing the root blocks until the change is durable: not to be called on the thread that
    `Settings.deliver` needs.
    """

    def __init__(
        self, store: SqliteStore, root: Root, audit_key: AuditKey, settings: Settings, provider: RootOfTrust
    ) -> None:
        self.store = store
        self.root = root
        self.audit_public_key = audit_key.public_key
        self._environment = settings.environment
        self._provider = provider
        self._changing_root = threading.Lock()
        self._unlocking = threading.Lock()

    @property
    def provider(self) -> str:
        """The name of the root of trust."""
        return self._provider.provider

    @property
    def root_of_trust(self) -> RootOfTrust:
        """What protects the root key, with the material it was unlocked with."""
        return self._provider

    def exchange_provider(
        self, old: RootOfTrust, new: RootOfTrust, describe: Describe, changes: Sequence[Change] = ()
    ) -> Receipt:
        """Protect the same root key by another provider, or by new material of the same one.

        `changes` are written with it. Raises what `old.unlock` and `new.protect` raise. The old material
        opens older copies of the store still; a rotation ends that for what is written later.
        """
        with self._changing_root:
            row = self._record()
            record = RootKeyRecord.parse(row.body)
            with old.unlock(record) as root_key:
                body = new.protect(root_key, record.store_id).to_bytes()
            event = describe({"from": old.provider, "to": new.provider})
            change = Put(ROOT_KEY, NAME, body, row.counter, destroys=True)
            work = self.store.commit([change, *changes], [event])
            try:
                return work.result()
            finally:
                # It may be committed, and not yet be vouched for outside.
                if self._record().counter != row.counter:
                    self.root = replace(self.root, requirement=Require(ROOT_KEY, NAME, row.counter + 1))
                    self._provider = new

    def begin_rotation(self, wanted: RootOfTrust | None, describe: Describe) -> Receipt:
        """Draw a new root key, which is in force then. `step_rotation` moves what is under the one before.

        `wanted` becomes the root of trust; None leaves the one that is in force by then. It protects the new
        root key, and that wraps the one before.
        Raises `RotationUnderWay`, `UnwrapFailed` for a key that neither opens, and what providers raise.
        """
        with self._changing_root:
            if self.rotation() is not None:
                raise RotationUnderWay
            provider = self._provider if wanted is None else wanted
            row, keys = self._record(), self.root.keys
            record = RootKeyRecord.parse(row.body)
            self._check_wrapped()
            with self._unlocked(record) as old, self._new_root_key() as root_key:
                new = KeyHierarchy.derive(root_key)
                wrapped = new.wrap_previous(old)
                body = provider.protect(root_key, record.store_id).to_bytes()
            event = describe({"provider": provider.provider})

            def besides(previous: Previous | None) -> tuple[Sequence[Change], Sequence[AuditEvent]]:
                rotation = begun(previous, wrapped, self._now())
                put = Put(ROOT_KEY, NAME, body, row.counter, destroys=True)
                return [put, Put(rotation.KIND, rotation.NAME, rotation.to_bytes(), MISSING)], [event]

            work = self.store.begin_rekey(store_keys(new), PLACE, besides)
            try:
                return work.result()
            finally:
                if self.store.rekeying() is not None:
                    self.root = Root(RootKeys(new, keys), Require(ROOT_KEY, NAME, row.counter + 1))
                    self._provider = provider

    def step_rotation(self) -> None:
        """Move some rows or events under the new root key; with the last, the one before is gone.

        Raises `StoreTampered`, `Unavailable`: the step can be repeated. Without a rotation it does nothing.
        """
        with self._changing_root:
            row = self.store.get(RotationRecord.KIND, RotationRecord.NAME)
            if row is None:
                return
            rotation, now, counter = RotationRecord.from_bytes(row.body), self._now(), row.counter

            def besides(previous: Previous | None) -> tuple[Sequence[Change], Sequence[AuditEvent]]:
                return [moved(rotation, previous, counter)], [step_event(previous, now)]

            def rewrite(row: Row) -> bytes:
                return self.root.all_keys.rewrap(row.kind, row.name, row.body)

            work = self.store.step_rekey(rewrite, besides)
            try:
                work.result()
            finally:
                if self.store.rekeying() is None:
                    self.root = replace(self.root, all_keys=RootKeys(self.root.keys))

    def rotation(self) -> RotationRecord | None:
        """The rotation of the root key that is under way, if one is. Raises `StoreTampered`."""
        row = self.store.get(RotationRecord.KIND, RotationRecord.NAME)
        return None if row is None else RotationRecord.from_bytes(row.body)

    def _check_wrapped(self) -> None:
        """Raises `UnwrapFailed`: a rotation that cannot be done is not begun."""
        for kind in ROOT_WRAPPED:
            after = ""
            while rows := self.store.scan(kind, after=after):
                for row in rows:
                    self.root.keys.unwrap(row.kind, row.name, row.body).wipe()
                after = rows[-1].name

    def recorded_keys(self) -> tuple[KeyHierarchy, RootKeyRecord]:
        """The keys in force, and what the root of trust gives their root key back from.

        It does not wait, so that it may be called on the thread that a change under way needs: it raises
        `WriteConflict` in the moment when the new record is there and its keys are not yet in force.
        """
        root = self.root
        return root.keys, RootKeyRecord.parse(self._record_of(root).body)

    def unwrap(self, kind: str, name: str) -> SecretBytes:
        """A key right below the root. Raises `StoreTampered`, and `WriteConflict` as `recorded_keys`."""
        root, row = self.root, self.store.get(kind, name)
        if row is None:
            raise StoreTampered(f"the row {name} of kind {kind} is missing")
        try:
            return root.all_keys.unwrap(kind, name, row.body)
        except UnwrapFailed:
            pass
        self._record_of(root)
        raise UnwrapFailed

    def keys_under(self, record: RootKeyRecord) -> KeyHierarchy:
        """The keys of another root key that the same root of trust protects. May take some seconds.

        One at a time, for a passphrase takes a gigabyte of memory. Raises what `RootOfTrust.unlock` raises.
        """
        with self._unlocked(record) as root_key:
            return KeyHierarchy.derive(root_key)

    @contextmanager
    def _unlocked(self, record: RootKeyRecord) -> Iterator[SecretBytes]:
        with self._unlocking, self._provider.unlock(record) as root_key:
            yield root_key

    def _new_root_key(self) -> SecretBytes:
        return SecretBytes(self._environment.random_bytes(ROOT_KEY_SIZE))

    def _now(self) -> datetime:
        return self._environment.now()

    def close(self) -> None:
        self.store.close()

    def _record_of(self, root: Root) -> Row:
        """The record, if it is that of those keys. Raises `WriteConflict`."""
        row = self._record()
        if row.counter != root.requirement.expected:
            raise WriteConflict("the root of trust is being changed")
        return row

    def _record(self) -> Row:
        row = self.store.get(ROOT_KEY, NAME)
        if row is None:
            raise StoreTampered("the record of the root key is missing")
        return row


def create_store(path: Path, settings: Settings, provider: RootOfTrust) -> AuthenticatedStore:
    """A new store: its id, root key, audit key and first event, `Kms.Init`.

    Raises `ConfigError` if the store or its checkpoint file is there already, and what the provider raises.
    """
    random_bytes = settings.environment.random_bytes
    store_id = random_bytes(STORE_ID_SIZE)
    audit_key = AuditKey.new(random_bytes)
    with SecretBytes(random_bytes(ROOT_KEY_SIZE)) as root_key:
        keys = KeyHierarchy.derive(root_key)
        record = provider.protect(root_key, store_id).to_bytes()
    changes = [
        Put(ROOT_KEY, NAME, record, MISSING),
        Put(AUDIT_KEY, NAME, keys.wrap(AUDIT_KEY, NAME, audit_key.seed), MISSING),
    ]
    details = {"store_id": store_id.hex(), "audit_key": audit_key.public_key.hex(), "root": provider.provider}
    time = timestamp(settings.environment.now())
    event = AuditEvent(time, "Kms.Init", "", "", "", "ALLOW", details=details)
    locked = LockedStore.create(path)
    try:
        store = locked.initialise(
            settings,
            store_id=store_id,
            keys=store_keys(keys),
            signer=audit_key,
            changes=changes,
            events=[event],
        )
    except BaseException:
        locked.discard()
        raise
    return AuthenticatedStore(
        store, Root(RootKeys(keys), Require(ROOT_KEY, NAME, 1)), audit_key, settings, provider
    )


class Locked(Protocol):
    """A store whose keys are not known yet."""

    def unverified_body(self, kind: str, name: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class UnlockedKeys:
    """What a store's root of trust gives: all keys that the store is read with."""

    record: RootKeyRecord
    root: RootKeys
    store: StoreKeys
    signer: AuditKey


def needed_body(locked: Locked, kind: str, name: str) -> bytes:
    """An unverified body. Raises `StoreTampered` for no row."""
    body = locked.unverified_body(kind, name)
    if body is None:
        raise StoreTampered(f"the row {kind} {name} is missing")
    return body


def read_record(locked: Locked) -> RootKeyRecord:
    """Which provider a locked store needs. Raises `StoreTampered`."""
    return RootKeyRecord.parse(needed_body(locked, ROOT_KEY, NAME))


def unlock_keys(locked: Locked, provider: RootOfTrust) -> UnlockedKeys:
    """Raises what `RootOfTrust.unlock` raises, and `StoreTampered`."""
    record = read_record(locked)
    with provider.unlock(record) as root_key:
        keys = KeyHierarchy.derive(root_key)
    rotation = locked.unverified_body(RotationRecord.KIND, RotationRecord.NAME)
    root, of_store = (
        (RootKeys(keys), store_keys(keys)) if rotation is None else keys_amid_rotation(keys, rotation)
    )
    return UnlockedKeys(record, root, of_store, audit_key_of(locked, root))


def audit_key_of(locked: Locked, keys: RootKeys) -> AuditKey:
    """Raises `StoreTampered`."""
    return AuditKey.from_seed(keys.unwrap(AUDIT_KEY, NAME, needed_body(locked, AUDIT_KEY, NAME)))


def unlock_store(
    locked: LockedStore, settings: Settings, provider: RootOfTrust, *, accept_rollback: bool = False
) -> AuthenticatedStore:
    """Get the root key from the provider, verify the store, and serve from it.

    Raises what `RootOfTrust.unlock` and `LockedStore.unlock` raise; the store then stays locked.
    """
    keys = unlock_keys(locked, provider)
    store = locked.unlock(
        settings,
        store_id=keys.record.store_id,
        keys=keys.store,
        signer=keys.signer,
        accept_rollback=accept_rollback,
    )
    return authenticated(store, settings, provider, keys)


def authenticated(
    store: SqliteStore, settings: Settings, provider: RootOfTrust, keys: UnlockedKeys
) -> AuthenticatedStore:
    """An unlocked store with what unlocked it."""
    row = store.get(ROOT_KEY, NAME)
    counter = MISSING if row is None else row.counter
    root = Root(keys.root, Require(ROOT_KEY, NAME, counter))
    return AuthenticatedStore(store, root, keys.signer, settings, provider)


def open_store(
    path: Path, settings: Settings, provider: RootOfTrust, *, accept_rollback: bool = False
) -> AuthenticatedStore:
    """`LockedStore.open` and `unlock_store` in one; the file is given back on failure."""
    locked = LockedStore.open(path)
    try:
        return unlock_store(locked, settings, provider, accept_rollback=accept_rollback)
    except BaseException:
        locked.close()
        raise
