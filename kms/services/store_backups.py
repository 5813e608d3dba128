"""Backups of the whole store: all of one moment, or what was written since another (docs/spec/backup.md)."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from blindfold.pieces import PieceSource
from kms.audit.authenticated_store import ROOT_KEY, AuthenticatedStore
from kms.crypto.backup import BackupKey, root_key_id
from kms.errors import RotationUnderWay, StoreTampered, Unavailable, WrongState
from kms.model import store_rows
from kms.model.backup_header import StoreBackupHeader, store_scope
from kms.model.backup_rows import BackupRow
from kms.model.chain import timestamp
from kms.model.records import RotationRecord, SettingsRecord
from kms.services.aside import Aside, written_aside
from kms.services.backup_keys import keys_of
from kms.services.backup_kinds import SERVE_ONCE
from kms.services.call import Call, Outcome
from kms.services.guard import Action, Guard
from kms.services.repository import Repository
from kms.storage.interface import Moment, Row, Store

BACKUP_STORE = Action("BackupStore", "server.backup")
SETTINGS = "kms"
PAGE = 1000


@dataclass(frozen=True, slots=True)
class _Previous:
    """The backup that the next one follows, and its key."""

    header: StoreBackupHeader
    key: BackupKey


class StoreBackups:
    """Makes them, written aside first, so that no slow reader holds up the store."""

    def __init__(self, guard: Guard, vault: AuthenticatedStore, repository: Repository) -> None:
        self._guard = guard
        self._vault = vault
        self._repository = repository

    async def backup(self, call: Call, since: bytes) -> BinaryIO:
        """The whole backup, in an unnamed file at its beginning, which the caller closes.

        `since` is empty, or the header of the backup that this one is to follow. Raises `BackupInvalid`,
        `WrongRootMaterial`, `WrongState` where it cannot follow that one, `RotationUnderWay`,
        `StoreTampered`, `Unavailable`.
        """
        return await written_aside(
            lambda aside: self._guard.perform(
                call, BACKUP_STORE, None, lambda: self._write(call, since, aside), in_thread=True
            )
        )

    def _write(self, call: Call, since: bytes, aside: Aside) -> Outcome[None]:
        previous = self._previous(since) if since else None
        with ExitStack() as held:
            moment = held.enter_context(self._vault.store.moment())
            header, key = self._begin(call, moment, previous)
            aside.append(header.to_bytes())
            rows = (row.to_bytes() for row in self._rows(held, moment, header, previous))
            for piece in key.encrypt(header, PieceSource(rows)):
                aside.append(piece)
        details = {
            "rows": str(header.rows),
            "sequence": str(header.sequence),
            "header": header.digest().hex(),
            "follows": header.follows.hex(),
            "sha256": aside.finish().hex(),
        }
        return Outcome(None, (), details)

    def _previous(self, since: bytes) -> _Previous:
        header = StoreBackupHeader.read(io.BytesIO(since))
        if header.store_id != self._vault.store.store_id:
            raise WrongState(f"the backup to follow is of {header.scope}, which is another store")
        return _Previous(header, BackupKey.unwrap(keys_of(self._vault, header), header))

    def _begin(
        self, call: Call, moment: Moment, previous: _Previous | None
    ) -> tuple[StoreBackupHeader, BackupKey]:
        keys, record = self._vault.recorded_keys()
        key, after = BackupKey.new(), 0
        scope = store_scope(self._vault.store.store_id)
        follows = wrapped = b""
        if previous is not None:
            after = _continued(moment, previous.header)
            follows, wrapped = previous.header.digest(), key.wrap_previous(previous.key, scope)
        events = moment.sequence - max(after, moment.dropped_through())
        header = StoreBackupHeader(
            scope=scope,
            trust_domain=self._repository.require(SettingsRecord, SETTINGS).record.trust_domain,
            store_id=self._vault.store.store_id,
            time=timestamp(call.time),
            sequence=moment.sequence,
            chain_hash=moment.chain_hash,
            rows=moment.count(after, SERVE_ONCE) + events + 1,
            root_key_id=root_key_id(keys),
            root_record=record.to_bytes().decode(),
            wrapped_key=key.wrap(keys, scope),
            follows=follows,
            wrapped_previous_key=wrapped,
        )
        return header, key

    def _rows(
        self, held: ExitStack, moment: Moment, header: StoreBackupHeader, previous: _Previous | None
    ) -> Iterator[BackupRow]:
        """All of the payload. The moment is let go as soon as what changes in the store was read."""
        after = 0 if previous is None else previous.header.sequence
        digest = store_rows.StoreDigest()
        for stored, written in moment.rows():
            _check_root(stored, header)
            if stored.kind not in SERVE_ONCE:
                row = BackupRow(stored.kind, stored.name, stored.body)
                digest.take(row)
                if after == 0 or written > after:
                    yield row
        for kind, name in moment.deletions(after):
            if kind not in SERVE_ONCE:
                yield store_rows.deletion(kind, name)
        for signed in moment.checkpoints(after):
            yield store_rows.numbered(store_rows.CHECKPOINT, signed.checkpoint.sequence, signed.to_line())
        after = max(after, moment.dropped_through())
        held.close()
        yield from _events(self._vault.store, after, header)
        yield digest.row(header.scope)


def _check_root(row: Row, header: StoreBackupHeader) -> None:
    """The root key is the one of the header, and no other. Raises `RotationUnderWay`, `Unavailable`."""
    if row.kind == RotationRecord.KIND:
        raise RotationUnderWay
    if row.kind == ROOT_KEY and row.body != header.root_record.encode():
        raise Unavailable("the root of trust was changed meanwhile; take the backup again")


def _continued(moment: Moment, header: StoreBackupHeader) -> int:
    """The number of the event where the backup with that header ends, if this store went on from it."""
    if header.sequence < moment.known_since():
        raise WrongState("what was deleted since that backup is not known any more; take a full one")
    if header.sequence > moment.sequence or moment.hash_at(header.sequence) != header.chain_hash:
        raise WrongState("that backup is not of the past of this store; take a full one")
    return header.sequence


def _events(store: Store, after: int, header: StoreBackupHeader) -> Iterator[BackupRow]:
    chain_hash = header.chain_hash
    while after < header.sequence:
        for event in store.events(after, min(PAGE, header.sequence - after)):
            if event.sequence != after + 1:
                raise Unavailable("events were dropped meanwhile; take the backup again")
            after, chain_hash = event.sequence, event.chain_hash
            yield store_rows.numbered(store_rows.EVENT, event.sequence, event.body)
    if chain_hash != header.chain_hash:
        raise StoreTampered("the audit chain is not the one it was a moment ago")
