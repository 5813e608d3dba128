"""A backup that was changed in any way, or cut off, is refused as a whole."""

import hashlib
import io
import json
import threading

import pytest
from server.backup_harness import MESSAGE, NAME, Made, lose, put_back, rows, take, use
from server.kms_harness import ACME, running_kms

from blindfold.pieces import PieceSource
from blindfold.stream import CHUNK, TAG
from kms.client.backups import backup_tenant
from kms.client.errors import CallInvalid, CallWrongState
from kms.crypto.backup import BackupKey
from kms.model.backup_header import MAGIC, BackupHeader
from kms.model.backup_rows import read_rows
from kms.model.names import TenantName
from kms.model.records import NamespaceRecord
from kms.services.repository import create

LARGE = 24


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    """Acme's rows take some chunks and several messages."""
    with running_kms(tmp_path_factory.mktemp("kms")) as started:
        yield started


@pytest.fixture(scope="module")
def made(kms):
    made = Made(kms)
    record = NamespaceRecord("x" * 150_000, {}, kms.now, "")
    kms.commit("Test.Large", *(create(f"{ACME}/namespaces/large-{n}", record) for n in range(LARGE)))
    return made


@pytest.fixture(scope="module")
def backup(kms, made):
    return take(kms)


def opened(kms, backup):
    """The rows of a backup, by who has its root key."""
    file = io.BytesIO(backup)
    header = BackupHeader.read(file)
    key = BackupKey.unwrap(kms.vault.root.keys, header)
    return header, list(read_rows(PieceSource(key.decrypt(header, file))))


def head_size(backup):
    file = io.BytesIO(backup)
    BackupHeader.read(file)
    return file.tell()


def refused(kms, backup):
    with pytest.raises(CallInvalid) as caught:
        put_back(kms, backup, verify_only=True)
    return caught.value.reason == "BACKUP_INVALID"


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_backup_is_of_several_chunks_and_messages(kms, backup):
    assert len(backup) > 3 << 20
    sizes = {len(piece) for piece in backup_tenant(kms.as_("operator"), NAME)}
    assert max(sizes) == 256 << 10
    assert put_back(kms, backup, verify_only=True).rows > LARGE


def test_no_bit_of_the_header_may_change(kms, backup):
    size = head_size(backup)
    for at in range(0, size, 11):
        changed = flipped(backup, at)
        with pytest.raises((CallInvalid, CallWrongState)):
            put_back(kms, changed, verify_only=True)


@pytest.mark.parametrize("field", ["rows", "sequence", "time", "chain_hash", "store_id", "wrapped_key"])
def test_no_field_of_the_header_may_be_another(kms, backup, field):
    size = head_size(backup)
    values = json.loads(backup[len(MAGIC) + 2 : size])
    value = values[field]
    values[field] = value + 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1] != "0" else "1")
    body = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    assert refused(kms, MAGIC + len(body).to_bytes(2, "big") + body + backup[size:])


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.77, 0.999, 1])
def test_no_bit_of_the_payload_may_change(kms, backup, share):
    size = head_size(backup)
    assert refused(kms, flipped(backup, size + int(share * (len(backup) - 1 - size))))


def test_backup_may_not_be_cut_off_anywhere(kms, backup):
    size, chunk = head_size(backup), CHUNK + TAG
    for end in (0, 5, len(MAGIC), len(MAGIC) + 1, size - 1, size, size + TAG, size + chunk, size + 9 * chunk):
        assert refused(kms, backup[:end])
    assert refused(kms, backup[:-1])


def test_chunks_stay_where_they_are(kms, backup):
    size, chunk = head_size(backup), CHUNK + TAG
    head, chunks = backup[:size], [backup[at : at + chunk] for at in range(size, len(backup), chunk)]
    first, second, third, *rest = chunks
    orders = (
        [second, first, third, *rest],
        [first, third, *rest],
        [first, first, second, third, *rest],
        [*chunks, chunks[-1]],
        chunks[:-1],
    )
    for order in orders:
        assert refused(kms, head + b"".join(order))
    assert refused(kms, backup + b"\x00")


def test_payload_is_of_its_header(kms, backup):
    other = take(kms)
    assert refused(kms, backup[: head_size(backup)] + other[head_size(other) :])


def test_what_is_refused_leaves_nothing(kms, made, backup):
    before, events = rows(kms), len(kms.events())
    lose(kms)
    with pytest.raises(CallInvalid):
        put_back(kms, backup[:-1])
    assert rows(kms) == {}
    put_back(kms, backup)
    assert {key for key in before if key[0] == "namespaces"} <= rows(kms).keys()
    assert len(kms.events()) == events + 3


def test_backup_holds_the_rows_of_one_tenant_and_shows_none(kms, backup):
    header, found = opened(kms, backup)
    assert len(found) == header.rows
    assert {row.name.split("/")[1] for row in found} == {"acme"}
    stranger = kms.spiffe_id("stranger").encode()
    assert not any(b"globex" in row.body or stranger in row.body for row in found)
    payload = backup[head_size(backup) :]
    assert not any(word in payload for word in (b"namespaces", b"xxxxxxxx", b"wrapped_key", b"admin"))


def test_backup_is_of_one_moment_while_others_write(kms, made):
    """Each key is rotated again and again; in every backup primary and newest version go together."""
    stop, admin = threading.Event(), kms.as_("key-admin")
    key = made.keys["mac"]

    def rotate():
        while not stop.is_set():
            admin.call("KeyService", "RotateKey", {"name": key})

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        backups = [take(kms) for _ in range(6)]
    finally:
        stop.set()
        thread.join(20)
    versions = []
    for backup in backups:
        put_back(kms, backup, verify_only=True)
        _, found = opened(kms, backup)
        [record] = [json.loads(row.body) for row in found if (row.kind, row.name) == ("keys", key)]
        count = sum(row.kind == "keyVersions" and row.name.startswith(f"{key}/") for row in found)
        assert record["primary"] == record["last_version"] == count
        versions.append(count)
    assert versions == sorted(versions)
    assert versions[0] < versions[-1]
    assert use(kms, "Mac", name=key, **MESSAGE)


def test_backups_differ_though_the_rows_do_not(kms, made):
    first, second = take(kms), take(kms)
    assert hashlib.sha256(first).digest() != hashlib.sha256(second).digest()
    assert first[head_size(first) :][:100] != second[head_size(second) :][:100]
    assert (
        BackupHeader.read(io.BytesIO(first)).wrapped_key != BackupHeader.read(io.BytesIO(second)).wrapped_key
    )


def test_empty_tenant_is_backed_up_too(kms):
    globex = TenantName("globex")
    backup = take(kms, name=globex)
    lose(kms, "globex")
    restored = put_back(kms, backup, name=globex)
    assert (restored.name, restored.keys) == (globex, 0)
