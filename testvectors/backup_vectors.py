"""Vectors of backups, put together here from docs/spec/backup.md, not by what is tested."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import rfc8785

from blindfold._encoding import lp, u8, u16, u32
from blindfold._primitives import AESGCM, hkdf
from testvectors.kms_material import flip
from testvectors.material import seeded
from testvectors.vectorfile import VectorFile

MAGIC = b"kms backup v1\n"
ROOT_KEY = seeded("backup root key", 32)
SCOPE = "tenants/acme"
TENANT = b'{"create_time":"2026-01-02T03:04:05+00:00","description":"","labels":{},"request_id":""}'
Rows = tuple[tuple[str, str, bytes], ...]
ROWS: Rows = (("tenants", SCOPE, TENANT), ("keys", f"{SCOPE}/namespaces/prod/keys/orders", b"{}"))


def derive(key: bytes, info: bytes, length: int = 32) -> bytes:
    return hkdf("sha256", secret=key, salt=b"", info=info, length=length)


def wrap(key: bytes, secret: bytes, resource: str, purpose: str) -> bytes:
    """docs/spec/store.md, "Wrapping", with a fixed nonce."""
    nonce = seeded(f"{purpose} nonce", 12)
    place = lp(resource.encode()) + u32(1) + lp(b"AES_256_GCM") + lp(purpose.encode())
    return u8(1) + nonce + AESGCM(key).encrypt(nonce, secret, u8(1) + place)


@dataclass(frozen=True)
class Backup:
    """A backup; `stated` are fields of the header that are other ones than they should be."""

    rows: Rows = ROWS
    root_key: bytes = ROOT_KEY
    key: bytes = seeded("backup key", 32)
    tenant_key: bytes = seeded("backup tenant key", 32)
    stated: dict[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        wrapping = derive(self.root_key, b"kms/v1 backup wrapping")
        return {
            "schema": "kms/v1 backup",
            "scope": SCOPE,
            "trust_domain": "kms.test",
            "store_id": seeded("backup store", 16).hex(),
            "time": "2026-01-02T03:04:05.678901Z",
            "sequence": 1729,
            "chain_hash": seeded("backup chain", 32).hex(),
            "rows": len(self.rows) + 1,
            "root_key_id": derive(wrapping, b"kms/v1 backup root key id", 16).hex(),
            "root_record": "",
            "wrapped_key": wrap(wrapping, self.key, SCOPE, "BACKUP").hex(),
        } | self.stated

    def header(self, body: bytes | None = None, magic: bytes = MAGIC) -> bytes:
        return magic + lp(rfc8785.dumps(self.fields()) if body is None else body)

    def all_rows(self) -> Rows:
        wrapping = derive(self.key, b"kms/v1 backup tenant key")
        wrapped = wrap(wrapping, self.tenant_key, SCOPE, "BACKUP_TENANT_KEY")
        return (("tenantKey", SCOPE, wrapped), *self.rows)

    def plain(self) -> bytes:
        return b"".join(
            lp(kind.encode()) + lp(name.encode()) + u32(len(body)) + body
            for kind, name, body in self.all_rows()
        )

    def payload(self, plain: bytes, header: bytes, counter: int = 0, last: int = 1) -> bytes:
        """One chunk."""
        info = b"kms/v1 backup payload" + b"\x00" + hashlib.sha256(header).digest()
        return AESGCM(derive(self.key, info)).encrypt(counter.to_bytes(11, "big") + u8(last), plain, None)

    def to_bytes(self) -> bytes:
        return self.header() + self.payload(self.plain(), self.header())


HERE = Backup()


def generate() -> dict[str, VectorFile]:
    """Name below `testvectors/backup` -> file."""
    file = VectorFile(
        "kms/v1 backup",
        "backup_schema.json",
        {
            "Valid": "The backup opens under the root key, and holds these rows.",
            "Header": "The header breaks its form.",
            "OtherHeader": "The header is well-formed, and not the one that the payload is of.",
            "OtherKey": "The backup key is wrapped under another key, or for another scope.",
            "Payload": "The chunks are not authentic, or not all of them.",
            "Rows": "What is authentic is not one row behind the other.",
        },
        common={"root_key": ROOT_KEY.hex()},
    )
    record = {"root_record": '{"provider":"keyfile"}'}
    for comment, backup in (
        ("a tenant", HERE),
        ("no rows but the first", replace(HERE, rows=())),
        ("with a record of the root key", replace(HERE, stated=record)),
        ("an empty body", replace(HERE, rows=(("tenants", SCOPE, b""),))),
    ):
        rows = [{"kind": kind, "name": name, "body": body.hex()} for kind, name, body in backup.all_rows()]
        keys = {"backup_key": backup.key.hex(), "tenant_key": backup.tenant_key.hex()}
        file.valid(comment, "Valid", backup=backup.to_bytes().hex(), rows=rows, **keys)
    for flag, cases in (
        ("Header", _headers()),
        ("OtherHeader", _other_headers()),
        ("OtherKey", _other_keys()),
        ("Payload", _payloads()),
        ("Rows", _rows()),
    ):
        for comment, data in cases.items():
            file.invalid(comment, flag, "BackupInvalid", backup=data.hex())
    return {"container.json": file}


def _headers() -> dict[str, bytes]:
    good, rest = HERE.header(), HERE.payload(HERE.plain(), HERE.header())
    spaced = b"{ " + rfc8785.dumps(HERE.fields())[1:]
    less = {name: value for name, value in HERE.fields().items() if name != "root_record"}
    cases = {
        "nothing": b"",
        "a later version": good.replace(b"backup v1", b"backup v2") + rest,
        "the magic without its line end": MAGIC[:-1] + good[len(MAGIC) :] + rest,
        "the magic alone": MAGIC,
        "a length of one byte": MAGIC + b"\x00",
        "cut off in the JSON": good[:-1],
        "a length beyond the end": MAGIC + u16(0xFFFF) + good[len(MAGIC) + 2 :],
        "a space in the JSON": HERE.header(spaced) + rest,
        "no JSON": HERE.header(b"header") + rest,
        "a list": HERE.header(b"[]") + rest,
        "a field less": HERE.header(rfc8785.dumps(less)) + rest,
    }
    others: dict[str, dict[str, Any]] = {
        "a field more": {"more": ""},
        "another schema": {"schema": "kms/v2 backup"},
        "a short store id": {"store_id": "00"},
        "upper-case hex": {"chain_hash": HERE.fields()["chain_hash"].upper()},
        "rows as text": {"rows": "3"},
        "fewer rows than none": {"rows": -1},
        "sequence number 0": {"sequence": 0},
        "no scope": {"scope": None},
    }
    return cases | {name: replace(HERE, stated=stated).to_bytes() for name, stated in others.items()}


def _other_headers() -> dict[str, bytes]:
    payload = HERE.payload(HERE.plain(), HERE.header())
    others: dict[str, dict[str, Any]] = {
        "another time": {"time": "2026-01-02T03:04:05.678902Z"},
        "more rows": {"rows": 4},
        "another chain hash": {"chain_hash": "00" * 32},
        "another store": {"store_id": "00" * 16},
        "another trust domain": {"trust_domain": "kms.example"},
        "a record of the root key": {"root_record": "{}"},
    }
    return {name: replace(HERE, stated=stated).header() + payload for name, stated in others.items()}


def _other_keys() -> dict[str, bytes]:
    wrapped = bytes.fromhex(HERE.fields()["wrapped_key"])
    other = Backup(root_key=seeded("other root key", 32)).fields()["wrapped_key"]
    stated = {
        "another root key": {"wrapped_key": other},
        "another tenant": {"scope": "tenants/acme2"},
        "a wrapped key of another format": {"wrapped_key": (u8(2) + wrapped[1:]).hex()},
        "no wrapped key": {"wrapped_key": ""},
        "a bit of the wrapped key": {"wrapped_key": flip(wrapped, -1).hex()},
    }
    return {name: replace(HERE, stated=fields).to_bytes() for name, fields in stated.items()}


def _payloads() -> dict[str, bytes]:
    header, plain = HERE.header(), HERE.plain()
    payload = HERE.payload(plain, header)
    return {
        "no payload": header,
        "cut off by a byte": header + payload[:-1],
        "less than a tag": header + payload[:15],
        "a byte appended": header + payload + b"\x00",
        "a chunk appended": header + payload + HERE.payload(plain, header, counter=1),
        "a bit of the first byte": header + flip(payload, 0),
        "a bit of the tag": header + flip(payload, -1),
        "not marked as the last chunk": header + HERE.payload(plain, header, last=0),
        "another counter": header + HERE.payload(plain, header, counter=1),
    }


def _rows() -> dict[str, bytes]:
    header, plain = HERE.header(), HERE.plain()
    name = lp(b"tenants") + lp(SCOPE.encode())
    cases = {
        "cut off in a body": plain[:-1],
        "cut off in a length": plain + b"\x00",
        "cut off in a name": plain + lp(b"keys") + u16(20) + b"tenants/acme",
        "a kind alone": plain + lp(b"keys"),
        "a body beyond the end": plain + name + u32(2) + b"{",
        "a body beyond every limit": plain + name + u32((8 << 20) + 1),
        "a name that is no UTF-8": plain + lp(b"keys") + lp(b"\xff") + u32(0),
        "a kind that is no UTF-8": plain + lp(b"\xc3") + lp(b"name") + u32(0),
    }
    return {name: header + HERE.payload(plain, header) for name, plain in cases.items()}
