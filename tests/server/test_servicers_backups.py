"""Backups over the wire: a tenant is taken out, is gone, and is back; who may do so, and what is counted."""

import asyncio
import io
import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from rotating import rotate
from server.backup_harness import MESSAGE, NAME, PLAINTEXT, Made, lose, put_back, rows, take, use
from server.kms_harness import ACME, PEOPLE, running_kms

from kms.client.errors import (
    CallAlreadyExists,
    CallDenied,
    CallExhausted,
    CallInvalid,
    CallNotFound,
    CallUnauthenticated,
    CallWrongState,
)
from kms.client.opening import open_sealed
from kms.crypto.key_hierarchy import TENANT_KEY
from kms.model.audit_event import AuditEvent
from kms.model.backup_header import BackupHeader
from kms.model.caller import Caller
from kms.model.names import OperatorName, TenantName
from kms.model.records import KeyRecord, KeyVersionRecord, UseRecord
from kms.services.backup_kinds import LEFT_OUT
from kms.services.call import Call
from kms.services.sized_cache import SizedCache
from kms.storage.interface import MISSING, Put
from protos.kms.v1 import backup_service_pb2 as pb


def told(details):
    return AuditEvent("2026-01-02T03:04:05.000000Z", "Test.Change", "", "", "", "ALLOW", details=details)


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    with running_kms(tmp_path_factory.mktemp("kms")) as started:
        yield started


@pytest.fixture(scope="module")
def made(kms):
    return Made(kms)


def header_of(backup):
    return BackupHeader.read(io.BytesIO(backup))


def rotate_wanted(kms):
    return kms.loop.run(kms.parts.upkeep.rotate_wanted(kms.now))


def test_tenant_comes_back_with_all_that_it_had(kms, made):
    before, others = rows(kms), rows(kms, "globex")
    backup = take(kms)
    lose(kms)
    with pytest.raises(CallNotFound):
        kms.as_("operator").call("TenantService", "GetTenant", {"name": ACME})
    restored = put_back(kms, backup)
    assert (restored.name, restored.keys, restored.key_versions) == (NAME, 6, 7)
    assert restored.rows == header_of(backup).rows
    made.check(kms)
    after = rows(kms)
    kept = {key for key in before if key[0] not in LEFT_OUT or key[0] in (TENANT_KEY, "due")}
    assert kept <= after.keys()
    same = [key for key in kept if key[0] not in (TENANT_KEY, "keyUses")]
    assert [key for key in same if before[key].body != after[key].body] == []
    assert rows(kms, "globex") == others
    with pytest.raises(CallUnauthenticated, match="revoked"):
        open_sealed(kms.as_("batch"), made.sealed[0])


def test_what_is_made_after_a_restore_is_made_with_new_aes_keys(kms, made):
    backup = take(kms)
    lose(kms)
    restored = put_back(kms, backup)
    assert restored.rotating_keys == 2
    for row in (f"{made.keys['enc']}/versions/0000000002", f"{made.keys['raw']}/versions/0000000001"):
        assert kms.parts.repository.require(UseRecord, row).record.reserved == 2**32
    assert rotate_wanted(kms) == 2
    new = use(kms, "Encrypt", name=made.keys["enc"], plaintext=PLAINTEXT)
    key = kms.as_("key-admin").call("KeyService", "GetKey", {"name": made.keys["enc"]})
    assert new["name"] == key["primary_version"]
    assert use(kms, "Sign", name=made.keys["sign"], **MESSAGE)["name"] == made.signed["name"]
    made.check(kms)


def test_key_that_was_not_rotated_after_a_restore_is_at_its_next_use(kms, made):
    backup = take(kms)
    lose(kms)
    put_back(kms, backup)
    kms.parts.upkeep.wanted.clear()
    forget_reserved(kms)
    with pytest.raises(CallExhausted):
        use(kms, "Encrypt", name=made.keys["enc"], plaintext=PLAINTEXT)
    assert rotate_wanted(kms) == 1
    assert use(kms, "Encrypt", name=made.keys["enc"], plaintext=PLAINTEXT)


def forget_reserved(kms):
    """As a new process, which has set nothing aside yet."""
    kms.parts.transfers._budget._remaining = SizedCache(1000)


def test_half_of_all_evaluations_count_as_made_since_the_backup(kms, made):
    used = kms.parts.repository.scan(UseRecord, f"{ACME}/blindfoldKeys/")
    kms.add_policy("unused")
    backup = take(kms)
    lose(kms)
    put_back(kms, backup)
    counts = kms.parts.repository.scan(UseRecord, f"{ACME}/blindfoldKeys/")
    assert {count.name for count in used} < {count.name for count in counts}
    assert len(counts) == 3
    assert min(count.record.reserved for count in counts) == 2**31


def test_tenant_that_is_there_is_not_restored_but_its_backup_verified(kms, made):
    before, backup = rows(kms), take(kms)
    with pytest.raises(CallAlreadyExists):
        put_back(kms, backup)
    assert put_back(kms, backup, verify_only=True).rows == header_of(backup).rows
    assert rows(kms) == before


@pytest.mark.parametrize("kind", ["namespaces", "importKeys", "documentSigners"])
def test_what_is_left_of_a_tenant_keeps_it_from_being_restored(kms, made, kind):
    backup = take(kms)
    lose(kms)
    kms.commit("Test.Leave", Put(kind, f"{ACME}/left", b"{}", MISSING))
    with pytest.raises(CallAlreadyExists):
        put_back(kms, backup)
    lose(kms)
    put_back(kms, backup)


def test_backup_of_another_tenant_than_named_is_refused(kms, made):
    with pytest.raises(CallInvalid, match="tenants/acme"):
        put_back(kms, take(kms), name=TenantName("globex"), verify_only=True)


def test_backup_is_of_operators_and_of_the_tenant_s_administrators(kms, made):
    assert header_of(take(kms, "admin")).scope == ACME
    for who in sorted({*PEOPLE} - {"admin", "batch"}):
        with pytest.raises(CallDenied):
            take(kms, who)
    with pytest.raises(CallDenied):
        take(kms, "admin", TenantName("globex"))
    with pytest.raises(CallNotFound):
        take(kms, "operator", TenantName("nobody"))


def test_restore_is_of_operators_alone(kms, made):
    backup = take(kms)
    for who in sorted({*PEOPLE} - {"batch"}):
        with pytest.raises(CallDenied):
            put_back(kms, backup, who, verify_only=True)


def test_administrator_s_backup_does_not_help_to_guess_the_root_of_trust(kms, made):
    assert header_of(take(kms, "operator")).root_record
    backup = take(kms, "admin")
    assert header_of(backup).root_record == ""
    assert put_back(kms, backup, verify_only=True)


def test_backup_and_restore_are_in_the_audit_trail(kms, made):
    backup = take(kms, "admin")
    put_back(kms, backup, verify_only=True)
    with pytest.raises(CallDenied):
        put_back(kms, backup, "admin")
    with pytest.raises(CallInvalid):
        put_back(kms, backup[:-1], verify_only=True)
    taken, verified, denied, failed = kms.events()[-4:]
    assert (taken["action"], taken["decision"], taken["resource"]) == ("BackupTenant", "ALLOW", ACME)
    assert verified["details"]["sha256"] == taken["details"]["sha256"]
    assert verified["details"]["verify_only"] == "true"
    assert (denied["action"], denied["decision"]) == ("RestoreTenant", "DENY")
    assert (failed["decision"], failed["reason"]) == ("FAIL", "BACKUP_INVALID")


def test_destroyed_version_comes_back_as_destroyed(kms, made):
    name = f"{made.keys['mac']}/versions/1"
    admin = kms.as_("key-admin")
    admin.call("KeyService", "RotateKey", {"name": made.keys["mac"]})
    admin.call("KeyService", "ScheduleDestroyKeyVersion", {"name": name})
    row = f"{made.keys['mac']}/versions/0000000001"
    wrapped = kms.parts.repository.require(KeyVersionRecord, row).record.wrapped_key
    assert wrapped
    assert kms.loop.run(kms.parts.upkeep.destroy_due(kms.now + timedelta(days=31))) == 1
    backup = take(kms)
    lose(kms)
    put_back(kms, backup)
    record = kms.parts.repository.require(KeyVersionRecord, row).record
    assert (record.state, record.wrapped_key) == ("DESTROYED", b"")
    with pytest.raises(CallWrongState):
        use(kms, "MacVerify", name=name, mac=made.mac["mac"], **MESSAGE)


def test_destruction_that_was_due_meanwhile_is_done_after_the_restore(kms, made):
    key = kms.make_key("doomed", "MAC")
    kms.as_("key-admin").call("KeyService", "ScheduleDestroyKeyVersion", {"name": f"{key}/versions/1"})
    backup = take(kms)
    lose(kms)
    put_back(kms, backup)
    assert kms.loop.run(kms.parts.upkeep.destroy_due(kms.now + timedelta(days=31))) == 1


def test_high_version_is_restored_by_its_place_in_the_device(kms, made):
    row = f"{made.keys['mac']}/versions/0000000002"
    loaded = kms.parts.repository.require(KeyVersionRecord, row)
    body = json.loads(loaded.record.to_bytes())
    body |= {
        "handle": f"pkcs11:serial=ABC123;id={'%0A' * 16}",
        "sensitivity": "HIGH",
        "wrapped_key": "",
    }
    record = KeyVersionRecord.from_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    key = kms.parts.repository.require(KeyRecord, made.keys["mac"])
    kms.commit("Test.Place", loaded.put(record), key.put(replace(key.record, sensitivity="HIGH")))
    backup = take(kms)
    lose(kms)
    assert put_back(kms, backup).device_versions == {"ABC123": 1}
    assert kms.parts.repository.require(KeyVersionRecord, row).record == record


def test_root_key_may_have_been_rotated_since_an_operator_s_backup(kms, made):
    backups = {who: take(kms, who) for who in ("admin", "operator")}
    rotate(kms.vault, told)
    with pytest.raises(CallInvalid) as caught:
        put_back(kms, backups["admin"], verify_only=True)
    assert caught.value.reason == "WRONG_ROOT_MATERIAL"
    lose(kms)
    put_back(kms, backups["operator"])
    assert put_back(kms, take(kms, "admin"), verify_only=True)


def test_first_request_says_what_is_to_be_done(kms):
    def ask(*requests):
        return list(kms.as_("operator").converse("BackupService", "RestoreTenant", iter(requests)))

    first = pb.RestoreTenantRequest(name=ACME)
    for requests in ((), (pb.RestoreTenantRequest(data=b"x"),), (first, first)):
        with pytest.raises(CallInvalid, match="name"):
            ask(*requests)
    with pytest.raises(CallInvalid) as caught:
        ask(first, pb.RestoreTenantRequest(data=bytes(5 << 20)))
    assert caught.value.reason == "LIMIT_EXCEEDED"


def test_restore_goes_on_when_the_caller_hangs_up(kms, made):
    backup, call = io.BytesIO(take(kms)), operator_call(kms)
    lose(kms)

    async def hang_up():
        task = asyncio.ensure_future(kms.parts.restores.restore(call, NAME, backup, verify_only=False))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not backup.closed
        while not backup.closed:
            await asyncio.sleep(0.01)

    kms.loop.run(hang_up())
    assert ("keys", made.keys["enc"]) in rows(kms)
    assert kms.add_policy("written-after")


def operator_call(kms):
    spiffe_id = "spiffe://kms.test/operator/root"
    caller = Caller(OperatorName("root"), spiffe_id, (spiffe_id,), roles=frozenset({"operator"}))
    return Call(caller, "a request", kms.now)
