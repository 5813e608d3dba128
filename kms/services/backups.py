"""Backups of tenants: all rows of one moment, encrypted under the root key (docs/spec/backup.md)."""

from collections.abc import Iterator
from typing import BinaryIO

from blindfold.pieces import PieceSource
from kms.audit.authenticated_store import AuthenticatedStore
from kms.crypto.backup import BackupKey, root_key_id
from kms.crypto.key_hierarchy import TENANT_KEY
from kms.model.backup_header import BackupHeader
from kms.model.backup_rows import BackupRow
from kms.model.chain import timestamp
from kms.model.names import TenantName
from kms.model.records import SettingsRecord
from kms.services.aside import Aside, written_aside
from kms.services.backup_kinds import KINDS
from kms.services.call import Call, Outcome
from kms.services.guard import Action, Guard
from kms.services.keyring import Keyring
from kms.services.repository import Repository
from kms.services.tenant_states import check_not_destroyed
from kms.storage.interface import Excerpt

BACKUP = Action("BackupTenant", "tenants.backup")
SETTINGS = "kms"


class Backups:
    """Makes them. A backup is written aside first, so that no slow reader holds up the store."""

    def __init__(
        self, guard: Guard, vault: AuthenticatedStore, repository: Repository, keyring: Keyring
    ) -> None:
        self._guard = guard
        self._vault = vault
        self._repository = repository
        self._keyring = keyring

    async def backup(self, call: Call, name: TenantName) -> BinaryIO:
        """The whole backup, in an unnamed file at its beginning, which the caller closes.

        For operators, and for the tenant's own administrators, whose backups do not say what the root of
        trust needs to give the root key back. Raises `NotFound`, `StoreTampered`, `Unavailable`.
        """
        scope = None if call.caller.tenant is None else name
        return await written_aside(
            lambda aside: self._guard.perform(
                call, BACKUP, scope, lambda: self._write(call, name, aside), in_thread=True
            )
        )

    def _write(self, call: Call, name: TenantName, aside: Aside) -> Outcome[None]:
        check_not_destroyed(self._repository, name)
        with self._vault.store.excerpt(tuple(KINDS), str(name)) as excerpt:
            for piece in self._pieces(call, name, excerpt):
                aside.append(piece)
        details = {
            "tenant": name.tenant,
            "rows": str(excerpt.count + 1),
            "sequence": str(excerpt.sequence),
            "sha256": aside.finish().hex(),
        }
        return Outcome(None, (), details)

    def _pieces(self, call: Call, name: TenantName, excerpt: Excerpt) -> Iterator[bytes]:
        """The header, then the payload."""
        keys, record = self._vault.recorded_keys()
        key = BackupKey.new()
        is_operator = call.caller.tenant is None
        header = BackupHeader(
            scope=str(name),
            trust_domain=self._repository.require(SettingsRecord, SETTINGS).record.trust_domain,
            store_id=self._vault.store.store_id,
            time=timestamp(call.time),
            sequence=excerpt.sequence,
            chain_hash=excerpt.chain_hash,
            rows=excerpt.count + 1,
            root_key_id=root_key_id(keys),
            root_record=record.to_bytes().decode() if is_operator else "",
            wrapped_key=key.wrap(keys, str(name)),
        )
        yield header.to_bytes()
        with self._keyring.root_wrapped(TENANT_KEY, str(name)) as tenant_key:
            first = BackupRow(TENANT_KEY, str(name), key.wrap_tenant_key(str(name), tenant_key))
        yield from key.encrypt(header, PieceSource(_rows(first, excerpt)))


def _rows(first: BackupRow, excerpt: Excerpt) -> Iterator[bytes]:
    yield first.to_bytes()
    for row in excerpt.rows:
        yield BackupRow(row.kind, row.name, row.body).to_bytes()
