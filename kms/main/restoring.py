"""`kms restore-store`: a store built anew from backups, verified, and only then where a server finds it."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path

from kms.audit.authenticated_store import (
    AuthenticatedStore,
    Locked,
    UnlockedKeys,
    audit_key_of,
    authenticated,
)
from kms.audit.rotation import store_keys
from kms.crypto.key_hierarchy import KeyHierarchy, RootKeys
from kms.crypto.root_of_trust.interface import RootKeyRecord, RootOfTrust
from kms.errors import BackupInvalid, ConfigError, LaterEventsUnknown, StoreTampered, WrongState
from kms.main.configuration import Configuration
from kms.main.device import device_of
from kms.main.initialising import local_event
from kms.main.parts import assemble
from kms.main.root_material import Material, root_of_trust
from kms.main.verifying import read_trails
from kms.main.workplace import Workplace
from kms.model.backup_header import StoreBackupHeader
from kms.model.chain import Checkpoint, Malformed
from kms.model.finding import Finding
from kms.model.names import KeyName, TenantName
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.services.agenda import Agenda
from kms.services.backup_chain import BackupChain, digest_of, read_chain
from kms.services.backup_check import Facts
from kms.services.backup_keys import keys_in, recorded
from kms.services.replay import Replay
from kms.services.store_check import StoreCheck
from kms.services.store_restores import StoreRestores
from kms.services.tombstones import Place, Tombstones
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.inspection import Authentication, inspecting
from kms.storage.sqlite import LockedStore, Settings

ACTION = "Kms.RestoreStore"
REPLAY = "Kms.ReplayDestructions"

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Later:
    """What was kept of the time after the backup: exports of the audit chain, which tell what was destroyed
    since, and checkpoints, which tell how far the chain had come.

    Unless `accept_unknown`, they must tell of all events up to those checkpoints.
    """

    trails: Sequence[Path] = ()
    checkpoints: Sequence[Path] = ()
    accept_unknown: bool = False


NOTHING_LATER = Later()


@dataclass(frozen=True, slots=True)
class RestoredStore:
    """What was restored, or could be. `rotated` keys have a new primary version; `devices` says how many
    versions are in which device, by its serial number. So many tenants, versions and Blindfold keys were
    `destroyed` again, and so many later events are `unknown`."""

    header: StoreBackupHeader
    backups: int
    tenants: int
    keys: int
    key_versions: int
    rotated: int
    destroyed: int
    unknown: int
    devices: Mapping[str, int]


def restore_store(
    configuration: Configuration,
    files: Sequence[Path],
    material: Material,
    advance: Advance,
    *,
    at: datetime | None = None,
    later: Later = NOTHING_LATER,
    verify_only: bool = False,
) -> RestoredStore:
    """Build the store of the last backup, in a directory that has none; with `verify_only`, leave nothing.

    `files` are a full backup and those that follow it; those after `at` are not read. `advance` hears of
    rows, which are looked at several times. Until the whole is verified nothing is where a server looks for
    it; then the checkpoint file is replaced, and the store moved. The one that is there counts among those
    of `later`. Raises `ConfigError`, `BackupInvalid`, `WrongState` for another trust domain,
    `LaterEventsUnknown`, `ChainBroken`, `OSError`, and what the root of trust raises.
    """
    backups = read_chain(files, at)
    if backups.last.trust_domain != configuration.trust_domain:
        raise WrongState(
            f"the backup is of the trust domain {backups.last.trust_domain}, not {configuration.trust_domain}"
        )
    workplace = Workplace.verifying if verify_only else Workplace.restoring
    with device_of(configuration) as device, workplace(configuration) as place:
        provider = root_of_trust(configuration, recorded(backups.last), material, device)
        keys = keys_in(backups.last, partial(_keys, provider))
        outside = configuration.checkpoint_file
        if not verify_only and outside.exists():
            later = replace(later, checkpoints=[*later.checkpoints, outside])
        work = _Restoration(place, backups, provider, keys, later, advance)
        restored = work.run(datetime.now(UTC))
        if not verify_only:
            place.publish(configuration)
        return restored


def _keys(provider: RootOfTrust, record: RootKeyRecord) -> KeyHierarchy:
    with provider.unlock(record) as root_key:
        return KeyHierarchy.derive(root_key)


@dataclass(frozen=True, slots=True)
class _Restoration:
    """In a directory of its own, with the keys of the last backup."""

    place: Workplace
    backups: BackupChain
    provider: RootOfTrust
    keys: KeyHierarchy
    later: Later
    advance: Advance
    facts: dict[TenantName, Facts] = field(default_factory=dict)

    def run(self, now: datetime) -> RestoredStore:
        self._build(now)
        tombstones, unknown = self._look_ahead()
        destroyed, headless = self._destroy_again(tombstones.places(), unknown, now)
        self._verify()
        facts = dict(self.facts)
        rotated = self._count_unknown_uses(headless, now)
        self._verify()
        return RestoredStore(
            header=self.backups.last,
            backups=len(self.backups.headers),
            tenants=len(facts),
            keys=_count(facts.values(), KeyRecord.KIND),
            key_versions=_count(facts.values(), KeyVersionRecord.KIND),
            rotated=rotated,
            destroyed=destroyed,
            unknown=unknown,
            devices=_devices(facts.values()),
        )

    @property
    def _settings(self) -> Settings:
        return Settings(self.place.outside)

    def _build(self, now: datetime) -> None:
        last = self.backups.last
        locked = LockedStore.create(self.place.store)
        try:
            rebuilding = locked.rebuild(last.store_id, store_keys(self.keys))
            for backup in self.backups.open(self.keys):
                digest = backup.fill(rebuilding, self.advance)
            if digest != digest_of(rebuilding, last.scope):
                raise BackupInvalid("the rows are not those of its moment")
            keys = self._unlocked(locked)
            store = locked.complete(
                self._settings,
                store_id=last.store_id,
                keys=keys.store,
                signer=keys.signer,
                end=rebuilding.end,
                event=local_event(ACTION, now, self._details()),
            )
        except BaseException:
            locked.close()
            raise
        store.close()

    def _unlocked(self, locked: Locked) -> UnlockedKeys:
        root = RootKeys(self.keys)
        record = recorded(self.backups.last)
        return UnlockedKeys(record, root, store_keys(self.keys), audit_key_of(locked, root))

    def _look_ahead(self) -> tuple[Tombstones, int]:
        """What was destroyed after the backup, and how many of the events since nobody tells of."""
        with inspecting(self.place.store, self.place.outside) as store:
            keys = self._unlocked(store)
            auth = Authentication(keys.record.store_id, keys.store, keys.signer)
            has_event = partial(store.has_event, auth)
            told = read_trails(self.later.trails, keys.signer.public_key, has_event)
            through = 0
            for path in self.later.checkpoints:
                checkpoint = _kept(path, auth)
                if not has_event(checkpoint.sequence, checkpoint.chain_hash):
                    through = max(through, checkpoint.sequence)
        unknown = told.unknown(self.backups.last.sequence, through)
        if unknown and not self.later.accept_unknown:
            raise LaterEventsUnknown(
                f"the store went on after this backup, and {unknown} of the events since are unknown"
            )
        return told.destroyed(), unknown

    def _destroy_again(
        self, places: Sequence[Place], unknown: int, now: datetime
    ) -> tuple[int, frozenset[KeyName]]:
        """How many were there, and the keys whose primary version is gone now."""
        if not places and not unknown:
            return 0, frozenset()
        with self._opened() as vault, ThreadPoolExecutor(1) as workers:
            parts = assemble(vault, workers)
            replay = Replay(parts.guard, parts.repository, Agenda(parts.repository), parts.tenant_destruction)
            destroyed = asyncio.run(replay.destroy(places, now))
            details = {"told": str(len(places)), "destroyed": str(destroyed), "unknown_events": str(unknown)}
            vault.store.commit([], [local_event(REPLAY, now, details)]).result()
        return destroyed, frozenset(replay.headless)

    def _details(self) -> dict[str, str]:
        last = self.backups.last
        return {
            "backup_time": last.time,
            "sequence": str(last.sequence),
            "header": last.digest().hex(),
            "backups": str(len(self.backups.headers)),
        }

    def _verify(self) -> None:
        """All that `kms verify-store` looks at; what the tenants' rows are. Raises `BackupInvalid`."""
        self.facts.clear()
        with inspecting(self.place.store, self.place.outside) as store:
            keys = self._unlocked(store)
            authentication = Authentication(keys.record.store_id, keys.store, keys.signer)
            learn = self.facts.__setitem__
            StoreCheck(store, authentication, keys.root, _refuse, self.advance, learn).run()

    @contextmanager
    def _opened(self) -> Iterator[AuthenticatedStore]:
        locked = LockedStore.open(self.place.store)
        try:
            keys = self._unlocked(locked)
            store = locked.unlock(
                self._settings, store_id=keys.record.store_id, keys=keys.store, signer=keys.signer
            )
        except BaseException:
            locked.close()
            raise
        with closing(authenticated(store, self._settings, self.provider, keys)) as vault:
            yield vault

    def _count_unknown_uses(self, headless: Collection[KeyName], now: datetime) -> int:
        """How many keys were rotated for it, and because they have no primary version."""
        with self._opened() as vault, ThreadPoolExecutor(1) as workers:
            parts = assemble(vault, workers)
            restores = StoreRestores(parts.guard, vault.store, parts.upkeep)

            async def spend() -> int:
                for tenant, facts in self.facts.items():
                    await restores.spend(tenant, facts, now)
                rotating = chain.from_iterable(facts.rotating for facts in self.facts.values())
                return await restores.rotate({*rotating, *headless}, now)

            return asyncio.run(spend())


def _kept(path: Path, auth: Authentication) -> Checkpoint:
    """A checkpoint of this store. Raises `ConfigError`."""
    try:
        signed = CheckpointFile(path).read()
        if signed is not None and signed.checkpoint.store_id == auth.store_id:
            auth.signer.verify(signed.checkpoint.signed_bytes(), signed.signature)
            return signed.checkpoint
        problem = "is of another store"
    except Malformed as error:
        problem = f"is damaged: {error}"
    except StoreTampered:
        problem = "is signed by another key"
    raise ConfigError(f"the checkpoint in {path} {problem}; move it away if nobody needs it")


def _refuse(finding: Finding) -> None:
    raise BackupInvalid(f"{finding.subject} {finding.problem}")


def _count(all_facts: Collection[Facts], kind: str) -> int:
    return sum(facts.counts[kind] for facts in all_facts)


def _devices(all_facts: Collection[Facts]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for facts in all_facts:
        for serial, count in facts.devices.items():
            counts[serial] = counts.get(serial, 0) + count
    return counts
