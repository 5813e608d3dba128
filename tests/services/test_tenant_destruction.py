"""A tenant that is destroyed: nothing of it opens, its bytes are nowhere, and a receipt says so."""

import io
import json
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from services.conftest import ACME, ADMIN, AUDITOR, AUTHOR, KEY_ADMIN, OPERATOR, PROD, WEB, Kms
from services.test_cryptography import NAME, POLICY, USER, add_key

from blindfold._encoding import b64url
from kms.audit.export import event_line, hidden_line
from kms.audit.verify import verify
from kms.client.credentials import generate_key_pair
from kms.crypto.key_hierarchy import TENANT_KEY
from kms.errors import (
    AlreadyExists,
    KmsError,
    NotFound,
    StoreTampered,
    TenantNotServed,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from kms.identity.grant import Grant
from kms.main.configuration import STORE
from kms.model.chain import SignedCheckpoint, body_digest
from kms.model.names import IdentityName, KeyVersionName, SiteName, TenantName
from kms.model.records import (
    BlindfoldKeyRecord,
    ImportKeyRecord,
    KeyVersionRecord,
    SignerRecord,
    TenantRecord,
)
from kms.model.tenant_lifecycle import TenantState, TenantVerb
from kms.services import tenant_destruction
from kms.services.backup_kinds import KINDS, LEFT_OUT
from kms.services.cryptography import Plain, Sealed
from kms.services.keys import version_row
from kms.services.tenants import Description

PLAINTEXT = b"what acme encrypted"
WRAPPED = {
    KeyVersionRecord: "wrapped_key",
    BlindfoldKeyRecord: "wrapped_key",
    ImportKeyRecord: "wrapped_key",
    SignerRecord: "wrapped_seed",
}


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """With rows of all kinds that hold wrapped bytes, a token that nobody has spent, and something due."""
    kms.add_key()
    kms.add_policy()
    rules = {"rules": [{"name": "all", "action": "ALLOW"}]}
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, rules, ""))
    add_key(kms, rotation_period=timedelta(days=1))
    kms.run(kms.parts.transfers.create_import_key(kms.call(KEY_ADMIN), PROD))
    for identity in (IdentityName("acme", "prod", "late"), SiteName("acme", "lisbon")):
        invitation = kms.parts.identities.create_join_token(
            kms.call(ADMIN), Grant(identity), timedelta(minutes=5)
        )
        kms.run(invitation)
    return kms


def schedule(kms: Kms, name: TenantName = ACME) -> None:
    kms.run(kms.parts.tenant_life.change(kms.call(OPERATOR), name, TenantVerb.SCHEDULE_DESTROY, ""))


def destroy(kms: Kms, name: TenantName = ACME) -> None:
    schedule(kms, name)
    kms.pass_time(timedelta(days=30))
    assert kms.run(kms.parts.tenant_destruction.destroy_due(kms.now)) == 1


def wrapped(kms: Kms) -> list[bytes]:
    """All that is wrapped under the tenant's key, and the key itself, as the store has them."""
    key = kms.vault.store.get(TENANT_KEY, str(ACME))
    assert key is not None
    found = [key.body]
    for kind, field in WRAPPED.items():
        rows = list(kms.parts.repository.all(kind, f"{ACME}/"))
        assert rows, kind
        found += [getattr(row.record, field) for row in rows]
    return found


def traces(directory: Path, secrets: list[bytes]) -> list[str]:
    """The files of the store that hold any part of them, as it is or as it stands in a row."""
    forms = [form for secret in secrets for form in (secret, b64url(secret).encode())]
    parts = {form[at : at + 16] for form in forms for at in range(0, len(form) - 15, 8)}
    files = {path.name: path.read_bytes() for path in (directory / "kms").glob(f"{STORE}*")}
    assert STORE in files
    return [name for name, data in files.items() if any(part in data for part in parts)]


def left(kms: Kms, name: TenantName = ACME) -> set[tuple[str, str]]:
    """Rows by the tenant's name or below it, and what of it is elsewhere."""
    store = kms.vault.store
    below = {(kind, row.name) for kind in (*KINDS, *LEFT_OUT) for row in store.scan(kind, f"{name}/")}
    own = {(kind, str(name)) for kind in (*KINDS, *LEFT_OUT) if store.get(kind, str(name))}
    elsewhere = {(kind, row.name) for kind in ("joinTokens", "due") for row in store.scan(kind)}
    return below | own | elsewhere


def test_wrapped_bytes_are_nowhere_in_the_store_s_files(ready: Kms, tmp_path: Path) -> None:
    ready.run(ready.parts.documents.public_key(ready.call(AUTHOR), ACME))
    secrets = wrapped(ready)
    schedule(ready)
    assert traces(tmp_path, secrets)
    ready.pass_time(timedelta(days=30))
    ready.run(ready.parts.tenant_destruction.destroy_due(ready.now))
    assert traces(tmp_path, secrets) == []


def test_nothing_is_left_but_the_name(ready: Kms) -> None:
    destroy(ready)
    assert left(ready) == {("tenants", str(ACME))}
    record = ready.parts.repository.require(TenantRecord, str(ACME)).record
    assert (record.state, record.description, dict(record.labels)) == (TenantState.DESTROYED, "", {})
    assert (record.destroy_event_time, record.erase_time) == (ready.now, ready.now)


def test_nothing_opens_though_its_rows_were_kept(ready: Kms) -> None:
    """Not even for who put copies of the rows back: the key is gone."""
    [made] = ready.run(ready.parts.cryptography.encrypt(ready.call(USER), NAME, [Plain(PLAINTEXT)]))
    sealed = ready.seal(b"sealed")
    rows = [row for kind in (*KINDS, *LEFT_OUT) for row in ready.vault.store.scan(kind, f"{ACME}/")]
    kept = {(row.kind, row.name): row for row in rows}
    version = kept[KeyVersionRecord.KIND, version_row(NAME, 1)]
    destroy(ready)
    with pytest.raises(KmsError):
        ready.run(ready.parts.cryptography.decrypt(ready.call(USER), NAME, [Sealed(made.data)]))
    with pytest.raises(KmsError):
        ready.open(sealed, WEB)
    with pytest.raises(StoreTampered):
        ready.parts.keyring.unwrap_key_version(
            KeyVersionName(*astuple(NAME), 1), KeyVersionRecord.from_bytes(version.body)
        )


def test_memory_forgets_with_the_rows(ready: Kms) -> None:
    ready.open(ready.seal(b"warm"), WEB)
    ready.run(ready.parts.cryptography.encrypt(ready.call(USER), NAME, [Plain(PLAINTEXT)]))
    keyring, handles = ready.parts.keyring, ready.parts.cryptography._operations._handles
    assert ACME.tenant in keyring._tenants._kept
    assert keyring._evaluators._kept
    assert handles._handles._kept
    destroy(ready)
    assert not keyring._tenants._kept
    assert not keyring._evaluators._kept
    assert not handles._handles._kept
    kept = ready.parts.repository._kept._kept
    assert not [name for kind, name in kept if kind != TenantRecord.KIND and str(ACME) in name]


def test_receipt_verifies_with_the_audit_key_alone(ready: Kms) -> None:
    destroy(ready)
    receipt = ready.run(ready.parts.tenant_life.receipt(ready.call(OPERATOR), ACME))
    lines = [_line(link) for link in receipt.links]
    report = verify(lines, ready.vault.audit_public_key)
    assert report.signed_through == report.last
    bodies = [item["body"] for item in map(json.loads, lines) if "body" in item]
    [event] = [body for body in bodies if body["action"] == "Kms.DestroyTenant"]
    assert (event["resource"], event["tenant"], event["decision"]) == (str(ACME), "", "ALLOW")
    forged = [line.replace("tenants/acme", "tenants/acmf") for line in lines]
    with pytest.raises(KmsError, match="was changed"):
        verify(forged, ready.vault.audit_public_key)


def _line(link: Any) -> str:
    if isinstance(link, SignedCheckpoint):
        return link.to_line().decode()
    event = link.event
    if link.visible:
        return event_line(event.sequence, event.body, event.chain_hash)
    return hidden_line(event.sequence, body_digest(event.body), event.chain_hash)


def test_receipt_is_found_after_other_events_and_hides_those_of_others(ready: Kms) -> None:
    other = TenantName("globex")
    ready.run(ready.parts.tenants.create(ready.call(OPERATOR), other, Description(), ""))
    destroy(ready)
    first = ready.run(ready.parts.tenant_life.receipt(ready.call(OPERATOR), ACME)).links
    destroy(ready, other)
    assert ready.run(ready.parts.tenant_life.receipt(ready.call(OPERATOR), ACME)).links == first
    assert ready.run(ready.parts.tenant_life.receipt(ready.call(OPERATOR), other)).links != first


def test_audit_events_of_the_tenant_stay(ready: Kms) -> None:
    before = [event for event in ready.events() if event["tenant"] == "acme"]
    destroy(ready)
    assert [event for event in ready.events() if event["tenant"] == "acme"] == before


def test_name_is_not_used_again(ready: Kms) -> None:
    destroy(ready)
    for request_id in ("", "again"):
        creating = ready.parts.tenants.create(ready.call(OPERATOR), ACME, Description(), request_id)
        with pytest.raises(AlreadyExists, match="destroyed"):
            ready.run(creating)


def test_identities_of_the_tenant_are_unknown_from_then_on(ready: Kms) -> None:
    pair = generate_key_pair()
    grant = Grant(IdentityName("acme", "prod", "web"))
    schedule(ready)
    ready.pass_time(timedelta(days=30))
    issued, change = ready.parts.identities.issue_first(pair.csr, grant, ready.now)
    event = ready.call(ADMIN).event("Enrol", str(grant.identity), "ALLOW")
    ready.vault.store.commit([change], [event]).result()
    leaf = issued.chain_pem.partition(b"-----END CERTIFICATE-----\n")
    certificate = leaf[0] + leaf[1]
    authenticate = ready.parts.authenticator.authenticate
    assert authenticate(certificate, "", ready.now).tenant == "acme"
    ready.run(ready.parts.tenant_destruction.destroy_due(ready.now))
    with pytest.raises(Unauthenticated, match="tenant does not exist"):
        authenticate(certificate, "", ready.now)


def test_tenant_is_neither_backed_up_nor_restored_over_its_name(ready: Kms) -> None:
    with ready.run(ready.parts.backups.backup(ready.call(OPERATOR), ACME)) as file:
        backup = file.read()
    destroy(ready)
    with pytest.raises(NotFound):
        ready.run(ready.parts.backups.backup(ready.call(OPERATOR), ACME))
    restoring = ready.parts.restores.restore(
        ready.call(OPERATOR), ACME, io.BytesIO(backup), verify_only=False
    )
    with pytest.raises(WrongState, match="destroyed here, for good"):
        ready.run(restoring)


def test_time_has_to_come_first(ready: Kms) -> None:
    schedule(ready)
    ready.pass_time(timedelta(days=29, hours=23))
    assert ready.run(ready.parts.tenant_destruction.destroy_due(ready.now)) == 0
    assert ready.parts.repository.load(KeyVersionRecord, version_row(NAME, 1)) is not None


@pytest.mark.parametrize("done", range(6))
def test_what_was_interrupted_goes_on_at_the_next_look(
    ready: Kms, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    monkeypatch.setattr(tenant_destruction, "BATCH", 3)
    schedule(ready)
    ready.pass_time(timedelta(days=30))
    guard = type(ready.parts.guard)
    commit, left_to_do = guard.commit, [done]

    async def interrupted(self: Any, changes: Any, events: Any) -> Any:
        if not left_to_do[0]:
            raise Unavailable("the machine is off")
        left_to_do[0] -= 1
        return await commit(self, changes, events)

    monkeypatch.setattr(guard, "commit", interrupted)
    assert ready.run(ready.parts.tenant_destruction.destroy_due(ready.now)) == 0
    monkeypatch.setattr(guard, "commit", commit)
    assert (ready.vault.store.get(TENANT_KEY, str(ACME)) is None) == (done > 0)
    assert left(ready) != {("tenants", str(ACME))}
    assert ready.run(ready.parts.tenant_destruction.destroy_due(ready.now)) == 1
    assert left(ready) == {("tenants", str(ACME))}
    assert ready.run(ready.parts.tenant_destruction.destroy_due(ready.now)) == 0
    assert ready.run(ready.parts.tenant_life.receipt(ready.call(OPERATOR), ACME)).links


def test_one_that_fails_does_not_keep_the_others_waiting(
    ready: Kms, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = TenantName("globex")
    ready.run(ready.parts.tenants.create(ready.call(OPERATOR), other, Description(), ""))
    for name in (ACME, other):
        schedule(ready, name)
    ready.pass_time(timedelta(days=30))
    guard = type(ready.parts.guard)
    commit = guard.commit

    async def failing(self: Any, changes: Any, events: Any) -> Any:
        if events[0].resource == str(ACME):
            raise Unavailable("the disk is full")
        return await commit(self, changes, events)

    monkeypatch.setattr(guard, "commit", failing)
    assert ready.run(ready.parts.tenant_destruction.destroy_due(ready.now)) == 1
    assert "destruction of tenants/acme failed" in caplog.text
    assert left(ready, other) >= {("tenants", str(other))}
    assert ready.parts.repository.require(TenantRecord, str(other)).record.state == TenantState.DESTROYED


def test_auditor_reads_until_the_end_and_no_longer(ready: Kms) -> None:
    schedule(ready)
    assert ready.run(ready.parts.audit_log.checkpoint(ready.call(AUDITOR)))
    ready.pass_time(timedelta(days=30))
    ready.run(ready.parts.tenant_destruction.destroy_due(ready.now))
    with pytest.raises(TenantNotServed):
        ready.run(ready.parts.audit_log.checkpoint(ready.call(AUDITOR)))
    tenants = ready.run(ready.parts.tenants.list(ready.call(OPERATOR), "", 10)).items
    assert [(item.name, item.record.state) for item in tenants] == [(str(ACME), "DESTROYED")]
