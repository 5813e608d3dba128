"""A store in a temporary directory that a test may open, close, copy, put back and edit behind its back."""

import shutil
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blindfold.secret import SecretBytes
from kms.audit.signing import AuditKey
from kms.model.audit_event import AuditEvent
from kms.storage.authentication import StoreKeys
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.environment import Environment, Limits
from kms.storage.interface import MISSING, Put
from kms.storage.sqlite import LockedStore, Settings, SqliteStore

STORE_ID = b"store-id-16bytes"
KEYS = StoreKeys(row=b"r" * 32, element=b"e" * 32, state=b"s" * 32, event=b"v" * 32)
SIGNER = AuditKey.from_seed(SecretBytes(b"audit key seed, 32 bytes exactly"))


def an_event(action: str = "Test.Act", **details: str) -> AuditEvent:
    return AuditEvent(
        time="2026-01-02T03:04:05.000000Z",
        action=action,
        caller="spiffe://kms.test/tenant/acme/ns/app/sa/web",
        tenant="acme",
        resource="tenants/acme",
        decision="ALLOW",
        details=details,
    )


@dataclass
class Clock:
    """Time that stands still until it is told to go on."""

    seconds: float = 1000.0

    def environment(self) -> Environment:
        return Environment(
            now=lambda: datetime.fromtimestamp(self.seconds, UTC), monotonic=lambda: self.seconds
        )


@dataclass
class Workshop:
    """Where a test's store and its outside checkpoint lie."""

    directory: Path
    clock: Clock = field(default_factory=Clock)
    limits: Limits = field(default_factory=lambda: Limits(checkpoint_seconds=3600))
    opened: list[SqliteStore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.directory / "store" / "kms.db"
        self.outside = self.directory / "outside" / "checkpoint"
        self.path.parent.mkdir()
        self.outside.parent.mkdir()

    def settings(self, **changes: Any) -> Settings:
        return Settings(
            CheckpointFile(self.outside), environment=self.clock.environment(), limits=self.limits, **changes
        )

    def create(self, **changes: Any) -> SqliteStore:
        """A store with the rows thing/a and thing/b at counter 1, and event 1."""
        store = LockedStore.create(self.path).initialise(
            self.settings(**changes),
            store_id=STORE_ID,
            keys=KEYS,
            signer=SIGNER,
            changes=[Put("thing", "a", b"first a", MISSING), Put("thing", "b", b"first b", MISSING)],
            events=[an_event("Kms.Init")],
        )
        self.opened.append(store)
        return store

    def open(self, *, accept_rollback: bool = False, keys: StoreKeys = KEYS, **changes: Any) -> SqliteStore:
        locked = LockedStore.open(self.path)
        try:
            store = locked.unlock(
                self.settings(**changes),
                store_id=STORE_ID,
                keys=keys,
                signer=SIGNER,
                accept_rollback=accept_rollback,
            )
        except BaseException:
            locked.close()
            raise
        self.opened.append(store)
        return store

    def edit(self, sql: str, *parameters: object) -> int:
        """What somebody with the file but without the keys does. Returns the number of rows changed."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(sql, parameters).rowcount
        finally:
            connection.close()

    def read(self, sql: str, *parameters: object) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def save(self, name: str) -> None:
        """Copy store and checkpoint file as they are on the disk."""
        shutil.copytree(self.path.parent, self.directory / name / "store")
        shutil.copytree(self.outside.parent, self.directory / name / "outside")

    def restore(self, name: str, *, what: str = "store") -> None:
        """Put back the saved "store" or "outside"."""
        place = self.directory / what
        shutil.rmtree(place)
        shutil.copytree(self.directory / name / what, place)
