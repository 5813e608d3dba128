"""Every invariant of a store, looked at over all of it (docs/spec/store.md, "Verifying a store").

What is wrong is reported, and the rest is looked at all the same. Of what was seen, names and a few facts are
kept. Which versions are said to be in a device is told by `placed`.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any

from kms.audit.authenticated_store import ROOT_KEY
from kms.crypto.key_hierarchy import AUTHORITY_KEY, ROOT_WRAPPED, TENANT_KEY, RootKeys
from kms.crypto.root_of_trust.interface import RootKeyRecord
from kms.crypto.wrapping import UnwrapFailed
from kms.errors import KmsError, StoreTampered
from kms.identity.join_tokens import JoinTokenRecord
from kms.model.backup_rows import BackupRow
from kms.model.device_handle import DeviceHandle
from kms.model.finding import Finding, Invariant
from kms.model.identity_authorities import AuthoritiesRecord
from kms.model.names import TenantName
from kms.model.records import (
    DueRecord,
    ImportKeyRecord,
    KeyUsersRecord,
    RemnantRecord,
    RetentionRecord,
    RootSharesRecord,
    RotationRecord,
    SettingsRecord,
    SignerRecord,
    TenantRecord,
)
from kms.model.tenant_lifecycle import TenantState
from kms.services.agenda import due_row
from kms.services.backup_check import BackupCheck, Facts
from kms.services.backup_kinds import KINDS, LEFT_OUT
from kms.services.identity_trust import ONLINE
from kms.services.tenant_key import TenantKey
from kms.services.tombstones import Tombstones
from kms.storage.inspection import Authentication, Inspected, Report, StateCheck
from kms.storage.interface import Row

# How a row outside backups is read; those of the kinds that the root key wraps hold no more than a key.
OTHERS: Mapping[str, Callable[[bytes], object]] = MappingProxyType(
    {
        ROOT_KEY: RootKeyRecord.parse,
        SettingsRecord.KIND: SettingsRecord.from_bytes,
        RetentionRecord.KIND: RetentionRecord.from_bytes,
        RootSharesRecord.KIND: RootSharesRecord.from_bytes,
        RotationRecord.KIND: RotationRecord.from_bytes,
        AuthoritiesRecord.KIND: AuthoritiesRecord.from_bytes,
        SignerRecord.KIND: SignerRecord.from_bytes,
        ImportKeyRecord.KIND: ImportKeyRecord.from_bytes,
        JoinTokenRecord.KIND: JoinTokenRecord.from_bytes,
        KeyUsersRecord.KIND: KeyUsersRecord.from_bytes,
        DueRecord.KIND: DueRecord.from_bytes,
        RemnantRecord.KIND: RemnantRecord.from_bytes,
    }
)
_WRAPPED_FOR_TENANTS: Mapping[type[Any], Callable[[TenantKey, str, Any], object]] = MappingProxyType(
    {SignerRecord: TenantKey.unwrap_signer, ImportKeyRecord: TenantKey.unwrap_import_key}
)


class StoreCheck:
    """Looks once. `advance` hears how many rows, events and checkpoints were looked at since.

    `learn` hears what the rows of each tenant are.
    """

    def __init__(
        self,
        store: Inspected,
        authentication: Authentication,
        keys: RootKeys,
        report: Report,
        advance: Callable[[int], None],
        learn: Callable[[TenantName, Facts], None] = lambda tenant, facts: None,
    ) -> None:
        self._store = store
        self._auth = authentication
        self._keys = keys
        self._report = report
        self._advance = advance
        self.placed: dict[str, DeviceHandle] = {}
        self._learn = learn
        self._unauthentic = False
        self._tenants: dict[str, TenantRecord] = {}
        self._owners: dict[str, str] = {}
        self._due: set[str] = set()
        self._authority_keys: set[str] = set()

    def run(self) -> None:
        self._store.check_file(self._report)
        state, tombstones = StateCheck(self._auth.keys), Tombstones()
        for row in self._store.rows(self._auth, self._row_at_fault):
            state.take_row(row)
            self._look(row)
            self._advance(1)
        for event in self._store.events(self._auth, self._report):
            state.take_event(event)
            tombstones.take(event.body)
            self._advance(1)
        for signed in self._store.checkpoints(self._auth, self._report):
            state.take_checkpoint(signed)
            self._advance(1)
        if not self._unauthentic:
            state.conclude(self._report)
        self._store.check_outside(self._auth, self._report)
        self._check_tenants()
        self._check_authorities()
        for finding in tombstones.broken(lambda kind, name: self._store.row(self._auth, kind, name)):
            self._report(finding)

    def _row_at_fault(self, finding: Finding) -> None:
        self._unauthentic = True
        self._report(finding)

    def _look(self, row: Row) -> None:
        """At a row by itself; at those of tenants again, all together, by `_check_tenants`."""
        owner = _owner(row.name)
        try:
            if row.kind == TenantRecord.KIND:
                self._tenants[row.name] = TenantRecord.from_bytes(row.body)
            elif row.kind in ROOT_WRAPPED:
                self._keys.unwrap(row.kind, row.name, row.body).wipe()
            elif row.kind in OTHERS:
                OTHERS[row.kind](row.body)
            elif not owner:
                KINDS[row.kind].record.from_bytes(row.body)
        except UnwrapFailed:
            self._fault(Invariant.WRAPPING, row, "is a wrapped key that does not open")
        except (KmsError, ValueError):
            self._fault(Invariant.FORM, row, "cannot be read")
        except KeyError:
            self._fault(Invariant.FORM, row, "is of a kind that this version does not know")
        self._remember(row, owner)

    def _remember(self, row: Row, owner: str) -> None:
        if owner:
            self._owners.setdefault(owner, f"{row.kind} {row.name}")
        if row.kind == DueRecord.KIND:
            self._due.add(row.name)
        elif row.kind == AUTHORITY_KEY:
            self._authority_keys.add(row.name)

    def _check_authorities(self) -> None:
        """Who issues, or is to, has a key; of the others it is gone."""
        row = self._store.row(self._auth, AuthoritiesRecord.KIND, ONLINE)
        if row is None:
            self._report(Finding(Invariant.REFERENCE, f"{AuthoritiesRecord.KIND} {ONLINE}", "is missing"))
            return
        try:
            with_key = AuthoritiesRecord.from_bytes(row.body).with_key
        except StoreTampered:
            # Reported by `_look`.
            return
        for name in with_key - self._authority_keys:
            self._report(Finding(Invariant.REFERENCE, f"{AUTHORITY_KEY} {name}", "is missing"))
        for name in self._authority_keys - with_key:
            problem = "is left of an authority that issues no more"
            self._report(Finding(Invariant.TOMBSTONE, f"{AUTHORITY_KEY} {name}", problem))

    def _check_tenants(self) -> None:
        for owner in self._owners.keys() - self._tenants.keys():
            problem = f"refers to {owner}, which is missing"
            self._report(Finding(Invariant.REFERENCE, self._owners[owner], problem))
        for text, record in self._tenants.items():
            name = TenantName.parse(text)
            if record.state == TenantState.DESTROYED:
                self._check_gone(name, record)
            else:
                self._check_tenant(name)

    def _check_gone(self, name: TenantName, record: TenantRecord) -> None:
        """Of a destroyed tenant the key is gone first, and all else by the time that the record says."""
        kinds = [TENANT_KEY] if record.erase_time is None else chain(KINDS, LEFT_OUT)
        for row in self._rows(name, (kind for kind in kinds if kind != TenantRecord.KIND)):
            self._fault(Invariant.TOMBSTONE, row, "is left of a tenant that was destroyed")

    def _check_tenant(self, name: TenantName) -> None:
        row = self._store.row(self._auth, TENANT_KEY, str(name))
        if row is None:
            self._report(Finding(Invariant.REFERENCE, f"{TENANT_KEY} {name}", "is missing"))
            return
        try:
            key = TenantKey(self._keys.unwrap(TENANT_KEY, str(name), row.body))
        except UnwrapFailed:
            return
        check = BackupCheck(name, key)
        for row in self._rows(name, KINDS):
            finding = check.look(BackupRow(row.kind, row.name, row.body))
            if finding is not None:
                self._report(finding)
        for finding in check.missing():
            self._report(finding)
        self.placed |= check.facts.placed
        self._learn(name, check.facts)
        for what, target, time in check.facts.due:
            if due_row(what, target, time) not in self._due:
                problem = f"is to be {what}ed at {time.isoformat()}, which nothing will do"
                self._report(Finding(Invariant.REFERENCE, target, problem))
        self._check_wrapped(name, key)

    def _check_wrapped(self, name: TenantName, key: TenantKey) -> None:
        for record, unwrap in _WRAPPED_FOR_TENANTS.items():
            for row in self._rows(name, [record.KIND]):
                try:
                    unwrap(key, row.name, record.from_bytes(row.body))
                except UnwrapFailed:
                    self._fault(Invariant.WRAPPING, row, "has a wrapped key that does not open")
                except KmsError:
                    # Reported by `_look`.
                    continue

    def _rows(self, name: TenantName, kinds: Any) -> Iterator[Row]:
        for kind in kinds:
            yield from self._store.rows_within(self._auth, kind, str(name))

    def _fault(self, invariant: Invariant, row: Row, problem: str) -> None:
        self._report(Finding(invariant, f"{row.kind} {row.name}", problem))


def _owner(row: str) -> str:
    """The resource name of the tenant that a row's name begins with, or ""."""
    parts = row.split("/", 2)
    return "/".join(parts[:2]) if parts[0] == "tenants" else ""
