"""A store that a test may spoil, as somebody who has its file, or as somebody who has the root of trust."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from kms.audit.authenticated_store import AuthenticatedStore, open_store
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.main.configuration import Configuration
from kms.main.root_material import Material
from kms.main.verifying import Verified, verify_store
from kms.model.audit_event import AuditEvent
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.interface import Change, Delete, Put, Row
from kms.storage.sqlite import Settings


def no_passphrase() -> Any:
    raise AssertionError("a keyfile has no passphrase")


NOTHING = Material(no_passphrase)


@dataclass(frozen=True)
class Place:
    """A store of its own for one test."""

    configuration: Configuration

    def verify(self) -> Verified:
        return verify_store(self.configuration, NOTHING, lambda total: lambda count: None)

    @contextmanager
    def opened(self) -> Iterator[AuthenticatedStore]:
        settings = Settings(CheckpointFile(self.configuration.checkpoint_file))
        provider = Keyfile(self.configuration.keyfile_path)
        vault = open_store(self.configuration.store_path, settings, provider)
        try:
            yield vault
        finally:
            vault.close()

    def edit(self, sql: str, *parameters: object) -> None:
        """By somebody who has the file alone."""
        with closing(sqlite3.connect(self.configuration.store_path, isolation_level=None)) as connection:
            assert connection.execute(sql, parameters).rowcount >= 1

    def commit(self, *changes: Change, action: str = "Test.Corrupt", **event: Any) -> None:
        """By somebody who has the root of trust: with right macs, links and checkpoints."""
        with self.opened() as vault:
            vault.store.commit(changes, [an_event(action, **event)]).result(20)

    def row(self, kind: str, name: str) -> Row:
        with self.opened() as vault:
            row = vault.store.get(kind, name)
            assert row is not None
            return row

    def fields(self, kind: str, name: str) -> dict[str, Any]:
        """What is in a row that holds a record."""
        fields: dict[str, Any] = json.loads(self.row(kind, name).body)
        return fields

    def rewrite(self, kind: str, name: str, **changed: Any) -> None:
        fields = self.fields(kind, name)
        assert changed.keys() <= fields.keys()
        self.replace(kind, name, json.dumps(fields | changed, sort_keys=True, separators=(",", ":")).encode())

    def replace(self, kind: str, name: str, body: bytes) -> None:
        row = self.row(kind, name)
        assert row.body != body
        self.commit(Put(kind, name, body, row.counter))

    def remove(self, kind: str, name: str) -> None:
        self.commit(Delete(kind, name, self.row(kind, name).counter))

    def names(self, kind: str, part: str = "") -> list[str]:
        """Those of the rows of a kind in which there is that part."""
        with self.opened() as vault:
            return [row.name for row in vault.store.scan(kind) if part in row.name]


def an_event(action: str, resource: str = "", **details: str) -> AuditEvent:
    return AuditEvent("2026-01-02T03:04:05.000000Z", action, "", "", resource, "ALLOW", details=details)
