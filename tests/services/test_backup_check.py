"""Rows that are authentic but make no tenant: each mistake is refused, and says where it is."""

import io
import json
from dataclasses import replace

import pytest
from server.backup_harness import NAME, Made, take
from server.kms_harness import ACME, PROD, running_kms

from blindfold.pieces import PieceSource
from kms.audit.authenticated_store import ROOT_KEY
from kms.crypto.backup import BackupKey
from kms.crypto.key_hierarchy import ROOT_WRAPPED
from kms.errors import BackupInvalid
from kms.identity.join_tokens import JoinTokenRecord
from kms.identity.revocation import DenyList
from kms.model.backup_header import BackupHeader
from kms.model.backup_rows import BackupRow, read_rows
from kms.model.record import Record
from kms.services.backup_check import BackupCheck
from kms.services.backup_kinds import KINDS, LEFT_OUT
from kms.services.tenant_key import TenantKey

ENC, SIGN = f"{PROD}/keys/enc", f"{PROD}/keys/sign"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The rows of a tenant that has everything, and its key."""
    with running_kms(tmp_path_factory.mktemp("kms")) as kms:
        Made(kms)
        file = io.BytesIO(take(kms))
        header = BackupHeader.read(file)
        key = BackupKey.unwrap(kms.vault.root.keys, header)
        first, *rows = read_rows(PieceSource(key.decrypt(header, file)))
        yield rows, TenantKey(key.unwrap_tenant_key(first.name, first.body))


def check(rows, key):
    checking = BackupCheck(NAME, key)
    for row in rows:
        checking.take(row)
    return checking.finish()


def edited(rows, kind, name, **fields):
    """The rows with other fields in one of them."""
    [row] = [row for row in rows if (row.kind, row.name) == (kind, name)]
    body = json.dumps(json.loads(row.body) | fields, sort_keys=True, separators=(",", ":")).encode()
    return [replace(row, body=body) if other is row else other for other in rows]


def without(rows, kind, name):
    left = [row for row in rows if (row.kind, row.name) != (kind, name)]
    assert len(left) == len(rows) - 1
    return left


def test_every_kind_of_row_is_in_backups_or_left_out_for_a_reason():
    ours = [record for record in Record.__subclasses__() if record.__module__.startswith("kms.")]
    kinds = {record.KIND for record in ours} | {*ROOT_WRAPPED, ROOT_KEY}
    assert kinds | {DenyList.KIND, JoinTokenRecord.KIND} == {*KINDS, *LEFT_OUT}
    assert not set(KINDS) & set(LEFT_OUT)
    assert all(LEFT_OUT.values())


def test_sound_rows_are_told_of(sound):
    rows, key = sound
    facts = check(rows, key)
    assert {row.kind for row in rows} == set(KINDS) - {"importKeys"}
    assert facts.counts.total() == len(rows)
    assert {str(name) for name in facts.rotating} == {ENC, f"{PROD}/keys/raw"}
    assert len(facts.counted) == 3
    assert (len(facts.evaluating), len(facts.bindings)) == (1, 2)


VERSION = f"{ENC}/versions/0000000001"
USED = b'{"last_used":"2026-01-01T00:00:00+00:00","reserved":1}'
REVISION = f"{PROD}/secretPolicies/web-tls/revisions/0000000001"
BLINDFOLD = f"{ACME}/blindfoldKeys/0000000001"


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        ("tenants", ACME, "is missing"),
        ("blindfoldPrimaries", ACME, "is missing"),
        ("namespaces", PROD, "refers to"),
        ("keys", ENC, "is missing"),
        ("keyVersions", f"{ENC}/versions/0000000002", "refers to"),
        ("blindfoldKeys", BLINDFOLD, "refers to"),
        ("kmsPolicies", f"{PROD}/kmsPolicies/keys", "refers to"),
        ("kmsPolicyRevisions", f"{PROD}/kmsPolicies/keys/revisions/0000000001", "refers to"),
        ("secretPolicies", f"{PROD}/secretPolicies/web-tls", "is missing"),
        ("revisions", REVISION, "does not open"),
        ("userIdentifications", f"{ACME}/userIdentifications/user", "refers to"),
    ],
)
def test_what_others_need_is_there(sound, kind, name, problem):
    rows, key = sound
    with pytest.raises(BackupInvalid, match=problem):
        check(without(rows, kind, name), key)


@pytest.mark.parametrize(
    ("kind", "name", "fields"),
    [
        ("keyVersions", VERSION, {"wrapped_key": "AQ"}),
        ("keyVersions", VERSION, {"algorithm": "AES_128_GCM"}),
        ("keyVersions", VERSION, {"algorithm": "DES"}),
        ("keyVersions", VERSION, {"state": "LOST"}),
        ("keyVersions", VERSION, {"state": "DESTROYED"}),
        ("keyVersions", VERSION, {"public_key": "AAAA"}),
        ("keyVersions", VERSION, {"surplus": 1}),
        ("keyVersions", VERSION, {"create_time": 1}),
        ("keyVersions", f"{SIGN}/versions/0000000001", {"public_key": ""}),
        ("keys", ENC, {"primary": 3}),
        ("keys", ENC, {"last_version": 7}),
        ("keys", ENC, {"policy": f"{PROD}/kmsPolicies/other"}),
        ("blindfoldKeys", BLINDFOLD, {"modulus": "AQ"}),
        ("blindfoldKeys", BLINDFOLD, {"state": "LOST"}),
        ("blindfoldPrimaries", ACME, {"version": 2}),
        ("kmsPolicies", f"{PROD}/kmsPolicies/keys", {"revision": 2}),
        ("kmsPolicyRevisions", f"{PROD}/kmsPolicies/keys/revisions/0000000001", {"content": ""}),
        ("namespacePolicies", PROD, {"policies": [f"{PROD}/kmsPolicies/other"]}),
        ("revisions", REVISION, {"digest": "AA"}),
        ("revisions", REVISION, {"document": ""}),
        ("secretPolicies", f"{PROD}/secretPolicies/web-tls", {"revision": 2}),
        ("secretPolicies", f"{PROD}/secretPolicies/web-tls", {"digest": "AA"}),
        ("prefixSets", f"{ACME}/prefixSets/office", {"prefixes": []}),
        ("secretManagementAccesses", f"{PROD}/secretManagementAccesses/main", {"content": "e30"}),
        ("secretManagementAccesses", f"{PROD}/secretManagementAccesses/main", {"content": "AQ"}),
        ("prefixSets", f"{ACME}/prefixSets/office", {"prefixes": ["10.0.0.1/8"]}),
        ("userIdentifications", f"{ACME}/userIdentifications/user", {"header": "x-user"}),
        ("rateLimiters", f"{ACME}/rateLimiters/by-user", {"number": 0}),
        ("rateLimiters", f"{ACME}/rateLimiters/by-user", {"operation_classes": ["ENROL"]}),
    ],
)
def test_what_is_in_a_row_is_sound(sound, kind, name, fields):
    rows, key = sound
    with pytest.raises(BackupInvalid, match=name):
        check(edited(rows, kind, name, **fields), key)


def test_digests_lead_to_their_revisions(sound):
    rows, key = sound
    digests = [row for row in rows if row.kind == "policyDigests"]
    swapped = edited(rows, "policyDigests", digests[0].name, **json.loads(digests[1].body))
    with pytest.raises(BackupInvalid, match="not of its revision"):
        check(swapped, key)


def test_revision_holds_its_own_policy_s_document(sound):
    rows, key = sound
    [other] = [row for row in rows if row.name == REVISION.replace("web-tls", "by-name")]
    fields = {name: json.loads(other.body)[name] for name in ("document", "digest")}
    with pytest.raises(BackupInvalid, match="another policy"):
        check(edited(rows, "revisions", REVISION, **fields), key)


@pytest.mark.parametrize(
    "row",
    [
        BackupRow("tenants", "tenants/globex", b"{}"),
        BackupRow("namespaces", "tenants/acme-2/namespaces/x", b"{}"),
        BackupRow("namespaces", "tenants/acme/namespaces/X", b"{}"),
        BackupRow("importKeys", f"{PROD}/importKeys/i1", b"{}"),
        BackupRow("settings", "kms", b"{}"),
        BackupRow("", ACME, b"{}"),
        BackupRow("keyVersions", f"{ENC}/versions/1", b"{}"),
        BackupRow("keyVersions", f"{ENC}/versions/００００００００01", b"{}"),
        BackupRow("keyUses", f"{BLINDFOLD}/{'F' * 64}", b"{}"),
        BackupRow("keyUses", f"{ENC}/versions/0000000009", USED),
        BackupRow("policyDigests", f"{ACME}/x", b"{}"),
    ],
    ids=lambda row: f"{row.kind} {row.name}",
)  # fmt: skip
def test_row_that_is_none_of_the_tenant_is_refused(sound, row):
    rows, key = sound
    before = [other for other in rows if row.kind in KINDS and order(other) < order(row)]
    with pytest.raises(BackupInvalid):
        check([*before, row, *rows[len(before) :]], key)


def order(row):
    return list(KINDS).index(row.kind), row.name


def test_rows_come_once_and_in_order(sound):
    rows, key = sound
    for changed in ([*rows, rows[-1]], [rows[1], rows[0], *rows[2:]], rows[::-1], [*rows, rows[0]]):
        with pytest.raises(BackupInvalid, match="out of place"):
            check(changed, key)


def test_versions_open_under_the_key_of_their_tenant_alone(sound, tmp_path):
    rows, _ = sound
    with running_kms(tmp_path) as other:
        key = other.parts.keyring.of_tenant("acme")
        with pytest.raises(BackupInvalid, match="does not open"):
            check(rows, key)
