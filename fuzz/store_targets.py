"""What comes back from disks and from people: rows of the store, backups, sets of prefixes."""

import io
import json
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from types import MappingProxyType

from blindfold.secret import SecretBytes
from fuzz.target import VECTORS, PropertyBroken, Target, vectors
from kms.authz.address_index import prefix_intervals
from kms.crypto.backup import BackupKey
from kms.crypto.key_hierarchy import KeyHierarchy
from kms.crypto.root_of_trust.shamir import Shamir, ShareSet, WrongShare
from kms.crypto.wrapped_share import ShareHeader, WrappedShare, new_key, wrap_share
from kms.errors import BackupInvalid, InvalidField, StoreTampered
from kms.identity.grant import Grant
from kms.identity.join_tokens import JoinTokenRecord, create_join_token
from kms.identity.revocation import DenyList
from kms.identity.spiffe import SpiffeId
from kms.model.backup_header import BackupHeader, read_header
from kms.model.backup_rows import BackupRow, read_rows
from kms.model.identity_authorities import AuthoritiesRecord, AuthorityEntry, AuthorityState, RootEntry
from kms.model.names import IdentityName
from kms.model.store_rows import (
    CHECKPOINT,
    DELETION,
    EVENT,
    deleted,
    deletion,
    in_order,
    number_of,
    numbered,
)
from kms.services.prefix_sets import PrefixSetSettings

CONTAINER, STORES = "container.json", "stores.json"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEB = IdentityName("acme", "prod", "web")


@cache
def backup_keys() -> KeyHierarchy:
    file = json.loads((VECTORS / "backup" / CONTAINER).read_text())
    return KeyHierarchy.derive(SecretBytes(bytes.fromhex(file["root_key"])))


def reprint_backup(data: bytes) -> bytes:
    """Only what was made under the root key is opened, and it is made the same again."""
    source = io.BytesIO(data)
    header = BackupHeader.read(source)
    key = BackupKey.unwrap(backup_keys(), header)
    plain = b"".join(key.decrypt(header, source))
    list(read_rows(io.BytesIO(plain)))
    return header.to_bytes() + b"".join(key.encrypt(header, io.BytesIO(plain)))


def reprint_header(data: bytes) -> bytes:
    source = io.BytesIO(data)
    return read_header(source).to_bytes() + source.read()


def reprint_rows(data: bytes) -> bytes:
    return b"".join(row.to_bytes() for row in read_rows(io.BytesIO(data)))


def reprint_store_rows(data: bytes) -> bytes:
    """What is taken apart is put together to the same."""
    rows = [_remade(row) for row in in_order(read_rows(io.BytesIO(data)))]
    return b"".join(row.to_bytes() for row in rows)


def _remade(row: BackupRow) -> BackupRow:
    if row.kind in (EVENT, CHECKPOINT):
        return numbered(row.kind, number_of(row), row.body)
    return deletion(*deleted(row)) if row.kind == DELETION else row


def reprint_prefixes(data: bytes) -> bytes:
    """One prefix a line: what is accepted is what policies compile, into intervals in their order."""
    lines = data.decode("latin-1").split("\n")
    intervals = list(prefix_intervals(PrefixSetSettings(tuple(lines)).prefixes))
    if any(start >= end for start, end in intervals) or any(a[1] > b[0] for a, b in pairwise(intervals)):
        raise PropertyBroken(f"{data!r} became {intervals}")
    return data


def backup_seeds() -> list[bytes]:
    return [bytes.fromhex(test["backup"]) for test in vectors(CONTAINER, "backup")]


def header_seeds() -> list[bytes]:
    stores = [bytes.fromhex(data) for test in vectors(STORES, "backup") for data in test["backups"]]
    return backup_seeds() + stores


def row_seeds() -> list[bytes]:
    parts = _rows(vectors(CONTAINER, "backup")[0]["rows"])
    return [b"".join(parts[:count]) for count in range(1, len(parts) + 1)]


def store_row_seeds() -> list[bytes]:
    valid = [test["rows"] for test in vectors(STORES, "backup") if test["result"] == "valid"]
    return [b"".join(_rows(rows)) for backups in valid for rows in backups]


def _rows(listed: list[dict[str, str]]) -> list[bytes]:
    return [BackupRow(row["kind"], row["name"], bytes.fromhex(row["body"])).to_bytes() for row in listed]


def deny_list_seeds() -> list[bytes]:
    spiffe_id = SpiffeId("kms.example", WEB)
    return [DenyList().to_bytes(), DenyList().with_identity(spiffe_id, NOW).with_serial(4711, NOW).to_bytes()]


def join_token_row_seeds() -> list[bytes]:
    grant = Grant(WEB, ("web.example",), {"app": "web"}, frozenset({"auditor"}))
    record = create_join_token(grant, bytes(32), NOW)[1]
    return [record.to_bytes(), record.spent(NOW).to_bytes()]


def authorities_seeds() -> list[bytes]:
    root = RootEntry("root-1", "certificate", "", NOW, None)
    first = AuthorityEntry("ca-1", AuthorityState.ACTIVE.value, "", "root-1", "certificate", NOW, NOW, None)
    record = AuthoritiesRecord((root,), (first,))
    next_one = AuthorityEntry("ca-2", AuthorityState.PREPARED.value, "request", "", "", NOW, None, None)
    return [record.to_bytes(), record.with_prepared(next_one).to_bytes()]


def wrapped_share_seeds() -> list[bytes]:
    share, header = SecretBytes(b"words"), ShareHeader(bytes(16), number=1, threshold=2, count=3)
    return [wrap_share(share, header, new_key(None)[1]).to_bytes()]


@cache
def shared_root() -> tuple[ShareSet, list[bytes]]:
    provider, shares = Shamir.create(2, 3)
    record = provider.protect(SecretBytes(bytes(32)), bytes(16))
    return ShareSet.of(record), [share.reveal() for share in shares]


def accept_share(data: bytes) -> bytes:
    """Nothing but a known refusal escapes from looking at a share."""
    shared_root()[0].number_of(SecretBytes(data))
    return data


STORE_TARGETS = MappingProxyType(
    {
        "wrapped_share": Target(
            lambda data: WrappedShare.parse(data).to_bytes(), wrapped_share_seeds, InvalidField
        ),
        "share": Target(accept_share, lambda: shared_root()[1], (InvalidField, WrongShare)),
        "backup": Target(reprint_backup, backup_seeds, BackupInvalid),
        "backup_header": Target(reprint_header, header_seeds, BackupInvalid),
        "backup_rows": Target(reprint_rows, row_seeds, BackupInvalid),
        "store_backup_rows": Target(reprint_store_rows, store_row_seeds, BackupInvalid),
        "deny_list": Target(
            lambda data: DenyList.from_bytes(data).to_bytes(), deny_list_seeds, StoreTampered
        ),
        "join_token_row": Target(
            lambda data: JoinTokenRecord.from_bytes(data).to_bytes(), join_token_row_seeds, StoreTampered
        ),
        "authorities": Target(
            lambda data: AuthoritiesRecord.from_bytes(data).to_bytes(), authorities_seeds, StoreTampered
        ),
        "prefix_set": Target(
            reprint_prefixes,
            lambda: [b"10.0.0.0/8\n2001:db8::/32", b"10.1.2.3/32\n10.1.2.0/24\n::/0", b"10.0.0.1/8"],
            InvalidField,
        ),
    }
)
