"""Restoring a tenant from a backup: verified as a whole, then written as one unit (docs/spec/backup.md)."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import BinaryIO

from blindfold.pieces import PieceSource
from blindfold.secret import SecretBytes
from kms.audit.authenticated_store import AuthenticatedStore
from kms.crypto.backup import BackupKey
from kms.crypto.key_hierarchy import TENANT_KEY
from kms.crypto.wrapping import UnwrapFailed
from kms.errors import (
    AlreadyExists,
    BackupInvalid,
    InvalidField,
    Unavailable,
    WrongState,
)
from kms.model.backup_header import BackupHeader
from kms.model.backup_rows import BackupRow, read_rows
from kms.model.names import KeyName, TenantName
from kms.model.records import SettingsRecord, TenantRecord, UseRecord
from kms.model.tenant_lifecycle import TenantState
from kms.services.agenda import Agenda
from kms.services.backup_check import BackupCheck, Facts
from kms.services.backup_keys import keys_of
from kms.services.backup_kinds import KINDS, LEFT_OUT
from kms.services.backups import SETTINGS
from kms.services.call import Call, Outcome
from kms.services.guard import Action, Guard
from kms.services.keyring import Keyring
from kms.services.repository import Repository
from kms.services.spent_uses import SpentUses
from kms.services.tenant_key import TenantKey
from kms.storage.interface import MISSING, Creations, Put, Require

RESTORE = Action("RestoreTenant", "tenants.restore")
READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Restored:
    """What a backup held. `rotating` are the keys whose primary version makes nothing new from now on."""

    header: BackupHeader
    facts: Facts


@dataclass(frozen=True, slots=True)
class _Upload:
    """A backup whose key is open."""

    file: BinaryIO
    header: BackupHeader
    key: BackupKey

    def rows(self) -> Iterator[BackupRow]:
        """From the beginning, each time. Raises `BackupInvalid`, `Unavailable`."""
        try:
            self.file.seek(0)
            header = BackupHeader.read(self.file)
            yield from read_rows(PieceSource(self.key.decrypt(header, self.file)))
            return
        except OSError as error:
            reason = error.strerror
        raise Unavailable(f"the backup cannot be read: {reason}")

    def verify(self, name: TenantName) -> tuple[SecretBytes, Facts]:
        """The tenant's key, and what the rows are. Raises `BackupInvalid`, `Unavailable`."""
        rows = self.rows()
        secret = self._tenant_key(name, next(rows, None))
        check = BackupCheck(name, TenantKey(secret))
        for row in rows:
            check.take(row)
        facts = check.finish()
        if facts.counts.total() + 1 != self.header.rows:
            raise BackupInvalid(f"it does not hold {self.header.rows} rows")
        return secret, facts

    def _tenant_key(self, name: TenantName, row: BackupRow | None) -> SecretBytes:
        try:
            if row is not None and (row.kind, row.name) == (TENANT_KEY, str(name)):
                return self.key.unwrap_tenant_key(row.name, row.body)
        except UnwrapFailed:
            pass
        raise BackupInvalid("it does not begin with the tenant's key")


class Restores:
    """Restores tenants that are not there.

    `wants_rotation` hears of keys that must be rotated, `forget_limits` of the id of each restored tenant.
    """

    def __init__(
        self,
        guard: Guard,
        vault: AuthenticatedStore,
        repository: Repository,
        keyring: Keyring,
        agenda: Agenda,
        wants_rotation: Callable[[KeyName], None],
        forget_limits: Callable[[str], None],
    ) -> None:
        self._guard = guard
        self._vault = vault
        self._repository = repository
        self._keyring = keyring
        self._agenda = agenda
        self._wants_rotation = wants_rotation
        self._forget_limits = forget_limits

    async def authorise(self, call: Call) -> None:
        """Before a backup is received. Raises `Denied`."""
        await self._guard.authorise(call, RESTORE, None)

    async def restore(self, call: Call, name: TenantName, file: BinaryIO, *, verify_only: bool) -> Restored:
        """Write the tenant of a backup, or nothing of it; with `verify_only` find out whether it could be.

        `file` is closed at the end, which a caller who hangs up does not bring nearer. Raises `Denied`,
        `BackupInvalid`, `WrongRootMaterial`, `InvalidField` for the backup of another tenant, `WrongState`
        for another trust domain, `AlreadyExists`, `Unavailable`.
        """
        return await asyncio.shield(self._restore(call, name, file, verify_only=verify_only))

    async def _restore(self, call: Call, name: TenantName, file: BinaryIO, *, verify_only: bool) -> Restored:
        def act() -> Outcome[Restored]:
            upload = self._open(name, file)
            if not verify_only:
                self._check_absent(name)
            secret, facts = upload.verify(name)
            details = {
                "tenant": name.tenant,
                "backup_time": upload.header.time,
                "rows": str(upload.header.rows),
                "sha256": _digest(file),
                "verify_only": str(verify_only).lower(),
            }
            restored = Restored(upload.header, facts)
            if verify_only:
                return Outcome(restored, (), details)
            return Outcome(restored, self._creations(call, name, upload, secret, facts), details)

        with file:
            restored = await self._guard.perform(call, RESTORE, None, act, in_thread=True)
        if not verify_only:
            self._forget_limits(name.tenant)
            for key in restored.facts.rotating:
                self._wants_rotation(key)
        return restored

    def _open(self, name: TenantName, file: BinaryIO) -> _Upload:
        file.seek(0)
        header = BackupHeader.read(file)
        if header.scope != str(name):
            raise InvalidField("name", f"the backup is of {header.scope}")
        trust_domain = self._repository.require(SettingsRecord, SETTINGS).record.trust_domain
        if header.trust_domain != trust_domain:
            raise WrongState(f"the backup is of the trust domain {header.trust_domain}, not {trust_domain}")
        return _Upload(file, header, BackupKey.unwrap(keys_of(self._vault, header), header))

    def _check_absent(self, name: TenantName) -> None:
        tenant = self._repository.load(TenantRecord, str(name))
        if tenant is not None and tenant.record.state == TenantState.DESTROYED:
            raise WrongState(
                f"{name} was destroyed here, for good; its backups are restored in another store only",
                state=tenant.record.state,
            )
        store = self._vault.store
        for kind in chain(KINDS, LEFT_OUT):
            if store.get(kind, str(name)) is not None or store.scan(kind, f"{name}/", limit=1):
                raise AlreadyExists(f"{name} exists, or something of it does; only what is gone is restored")

    def _creations(
        self, call: Call, name: TenantName, upload: _Upload, secret: SecretBytes, facts: Facts
    ) -> Creations:
        key, requirement = self._keyring.new_root_wrapped(TENANT_KEY, str(name), secret)

        def read() -> Iterator[Put | Require]:
            yield key
            yield requirement
            rows = upload.rows()
            next(rows)
            yield from self._changes(rows, facts, call.time)

        return Creations(read, sum(1 for _ in read()))

    def _changes(self, rows: Iterator[BackupRow], facts: Facts, now: datetime) -> Iterator[Put]:
        """Every row as it was, its uses raised; uses that were not counted yet; and what is due."""
        spent = SpentUses(facts, now)
        counted: set[str] = set()
        for row in rows:
            body = row.body
            if row.kind == UseRecord.KIND:
                counted.add(row.name)
                body = spent.raised(row.name, body)
            yield Put(row.kind, row.name, body, MISSING)
        for name, body in spent.uncounted(counted):
            yield Put(UseRecord.KIND, name, body, MISSING)
        for due in facts.due:
            yield self._agenda.entry(*due)


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(READ_SIZE):
        digest.update(piece)
    return digest.hexdigest()
