"""Vectors of backups of a store, put together here from docs/spec/backup.md, not by what is tested."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import rfc8785

from blindfold._encoding import lp, u8, u32
from blindfold._primitives import AESGCM
from testvectors.backup_vectors import MAGIC, ROOT_KEY, Rows, derive, wrap
from testvectors.kms_material import flip
from testvectors.material import seeded
from testvectors.vectorfile import VectorFile

STORE = seeded("backup store", 16)
SCOPE = f"stores/{STORE.hex()}"
RECORD = '{"provider":"keyfile"}'
EVENT = b'{"action":"Kms.Init"}'


def row_bytes(rows: Rows) -> bytes:
    return b"".join(
        lp(kind.encode()) + lp(name.encode()) + u32(len(body)) + body for kind, name, body in rows
    )


def digest(rows: Rows) -> tuple[str, str, bytes]:
    """The last row, where these are all rows of the store."""
    return "storeDigest", SCOPE, hashlib.sha256(row_bytes(rows)).digest()


SETTINGS = ("settings", "kms", b"{}")
TENANT = ("tenants", "tenants/acme", b'{"description":""}')
LATER = ("tenants", "tenants/acme", b'{"description":"later"}')
FULL: Rows = (SETTINGS, TENANT, ("auditEvent", f"{1:016d}", EVENT), digest((SETTINGS, TENANT)))
NEXT: Rows = (
    LATER,
    ("deletion", "settings/kms", b""),
    ("auditCheckpoint", f"{2:016d}", b"{}"),
    ("auditEvent", f"{2:016d}", EVENT),
    digest((LATER,)),
)


@dataclass(frozen=True)
class StoreBackup:
    """A backup; `stated` are fields of the header that are other ones than they should be."""

    rows: Rows
    sequence: int
    key: bytes
    previous: "StoreBackup | None" = None
    root_key: bytes = ROOT_KEY
    stated: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        wrapping = derive(self.root_key, b"kms/v1 backup wrapping")
        fields = {
            "schema": "kms/v1 store backup",
            "scope": SCOPE,
            "trust_domain": "kms.test",
            "store_id": STORE.hex(),
            "time": f"2026-01-0{self.sequence}T03:04:05.678901Z",
            "sequence": self.sequence,
            "chain_hash": seeded(f"backup chain {self.sequence}", 32).hex(),
            "rows": len(self.rows),
            "root_key_id": derive(wrapping, b"kms/v1 backup root key id", 16).hex(),
            "root_record": RECORD,
            "wrapped_key": wrap(wrapping, self.key, SCOPE, "BACKUP").hex(),
            "follows": "",
            "wrapped_previous_key": "",
        }
        if self.previous is not None:
            own = derive(self.key, b"kms/v1 backup previous key")
            fields |= {
                "follows": hashlib.sha256(self.previous.header()).hexdigest(),
                "wrapped_previous_key": wrap(own, self.previous.key, SCOPE, "BACKUP_PREVIOUS").hex(),
            }
        return fields | self.stated

    def header(self) -> bytes:
        return MAGIC + lp(rfc8785.dumps(self.fields()))

    def to_bytes(self, header: bytes | None = None) -> bytes:
        """One chunk, which may be behind a header that it is not of."""
        info = b"kms/v1 backup payload" + b"\x00" + hashlib.sha256(self.header()).digest()
        nonce = bytes(11) + u8(1)
        payload = AESGCM(derive(self.key, info)).encrypt(nonce, row_bytes(self.rows), None)
        return (header or self.header()) + payload


FIRST = StoreBackup(FULL, 1, seeded("first store backup key", 32))
SECOND = StoreBackup(NEXT, 2, seeded("second store backup key", 32), FIRST)
THIRD = StoreBackup((digest((LATER,)),), 3, seeded("third store backup key", 32), SECOND)


def generate() -> dict[str, VectorFile]:
    """Name below `testvectors/backup` -> file."""
    file = VectorFile(
        "kms/v1 store backup",
        "store_backup_schema.json",
        {
            "Valid": "The backups open under the root key, and hold these rows.",
            "Header": "A header breaks its form.",
            "Order": "The backups do not follow each other from a full one on.",
            "Key": "A backup key, or that of the one before, is not what is wrapped.",
            "Payload": "A payload is not of its header.",
            "Rows": "Rows are out of their order, or not all there.",
        },
        common={"root_key": ROOT_KEY.hex()},
    )
    for comment, backups in (
        ("a full backup", [FIRST]),
        ("and one that follows it", [FIRST, SECOND]),
        ("and one in which nothing was written", [FIRST, SECOND, THIRD]),
        ("after another root key", [replace(FIRST, root_key=seeded("other", 32)), *_after_another()]),
    ):
        rows = [[_json(row) for row in backup.rows] for backup in backups]
        file.valid(comment, "Valid", backups=[backup.to_bytes().hex() for backup in backups], rows=rows)
    for flag, cases in (
        ("Header", _headers()),
        ("Order", _orders()),
        ("Key", _keys()),
        ("Payload", _payloads()),
        ("Rows", _rows()),
    ):
        for comment, files in cases.items():
            file.invalid(comment, flag, "BackupInvalid", backups=[data.hex() for data in files])
    return {"stores.json": file}


def _json(row: tuple[str, str, bytes]) -> dict[str, str]:
    kind, name, body = row
    return {"kind": kind, "name": name, "body": body.hex()}


def _after_another() -> list[StoreBackup]:
    return [replace(SECOND, previous=replace(FIRST, root_key=seeded("other", 32)))]


def _headers() -> dict[str, Sequence[bytes]]:
    others: dict[str, dict[str, Any]] = {
        "the schema of a tenant's": {"schema": "kms/v1 backup"},
        "of another store than its scope": {"store_id": "00" * 16},
        "the scope of a tenant": {"scope": "tenants/acme"},
        "no record of the root key": {"root_record": ""},
        "follows nothing, with a key": {"wrapped_previous_key": "00"},
        "follows something, without a key": {"follows": "00" * 32},
        "follows half a digest": {"follows": "00" * 16, "wrapped_previous_key": "00"},
    }
    return {name: [replace(FIRST, stated=stated).to_bytes()] for name, stated in others.items()}


def _orders() -> dict[str, Sequence[bytes]]:
    first, second, third = (backup.to_bytes() for backup in (FIRST, SECOND, THIRD))
    other = replace(FIRST, key=seeded("other store backup key", 32)).to_bytes()
    return {
        "the full one is missing": [second, third],
        "one is missing": [first, third],
        "the other way round": [first, third, second],
        "one twice": [first, second, second],
        "another full one": [other, second],
        "two full ones": [first, first],
    }


def _keys() -> dict[str, Sequence[bytes]]:
    wrapped = bytes.fromhex(SECOND.fields()["wrapped_previous_key"])
    other = replace(SECOND, previous=replace(FIRST, key=seeded("other store backup key", 32))).fields()
    cases = {
        "a bit of the key before": flip(wrapped, -1).hex(),
        "the key of another one": other["wrapped_previous_key"],
    }
    files: dict[str, Sequence[bytes]] = {
        name: [FIRST.to_bytes(), replace(SECOND, stated={"wrapped_previous_key": value}).to_bytes()]
        for name, value in cases.items()
    }
    return files | {"another root key": [replace(FIRST, root_key=seeded("other", 32)).to_bytes()]}


def _payloads() -> dict[str, Sequence[bytes]]:
    first = FIRST.to_bytes()
    return {
        "of another backup": [first, THIRD.to_bytes(SECOND.header())],
        "of the same backup before its header was changed": [
            FIRST.to_bytes(replace(FIRST, stated={"time": "2026-01-01T03:04:05.678902Z"}).header())
        ],
        "cut off": [first[:-1]],
        "a bit of it": [flip(first, -20)],
    }


def _rows() -> dict[str, Sequence[bytes]]:
    settings, tenant, event, end = FULL
    cases: dict[str, Rows] = {
        "no digest": (settings, tenant, event),
        "a row behind the digest": (settings, tenant, end, event),
        "a row twice": (settings, settings, tenant, event, end),
        "kinds the other way round": (tenant, settings, event, end),
        "an event before the rows": (event, settings, tenant, end),
        "none": (),
    }
    return {name: [replace(FIRST, rows=rows).to_bytes()] for name, rows in cases.items()} | {
        "fewer than it says": [replace(FIRST, stated={"rows": 5}).to_bytes()]
    }
