"""A backup in another store: opened by the same root of trust, and by no other."""

import pytest
from server.backup_harness import Made, lose, put_back, rows, take
from server.kms_harness import running_kms

from kms.client.errors import CallInvalid, CallWrongState
from kms.crypto.root_of_trust.keyfile import Keyfile
from kms.model.audit_event import AuditEvent
from kms.model.records import SettingsRecord
from kms.services.backup_kinds import KINDS


def told(details):
    return AuditEvent("2026-01-02T03:04:05.000000Z", "Test.Change", "", "", "", "ALLOW", details=details)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    with running_kms(tmp_path_factory.mktemp("first")) as started:
        yield started


@pytest.fixture(scope="module")
def made(first):
    return Made(first)


@pytest.fixture
def other(tmp_path):
    """A KMS with a keyfile of its own, and without acme."""
    with running_kms(tmp_path) as started:
        lose(started)
        yield started


def keyfile(kms):
    return Keyfile(kms.directory / "kms" / "root.key")


def trust_as(kms, other):
    """Put a store under the root of trust of another one."""
    kms.vault.exchange_provider(keyfile(kms), keyfile(other), told)


def test_store_under_the_same_root_of_trust_restores_what_an_operator_took(first, made, other):
    trust_as(other, first)
    backup = take(first)
    put_back(other, backup)
    made.check(other)
    assert {key for key in rows(first) if key[0] in KINDS} <= rows(other).keys()


def test_what_an_administrator_took_stays_under_its_root_key(first, made, other):
    trust_as(other, first)
    with pytest.raises(CallInvalid) as caught:
        put_back(other, take(first, "admin"))
    assert caught.value.reason == "WRONG_ROOT_MATERIAL"
    assert rows(other) == {}


def test_another_root_of_trust_opens_nothing(first, made, other):
    with pytest.raises(CallInvalid) as caught:
        put_back(other, take(first))
    assert caught.value.reason == "WRONG_ROOT_MATERIAL"
    assert rows(other) == {}


def test_documents_are_signed_under_the_root_of_the_store(first, made, other):
    trust_as(other, first)
    put_back(other, take(first))
    assert other.seal(b"sealed anew")
    assert other.parts.signing.fingerprint() != first.parts.signing.fingerprint()


def test_trust_domain_is_the_same(first, made, other):
    trust_as(other, first)
    settings = other.parts.repository.require(SettingsRecord, "kms")
    other.commit("Test.Move", settings.put(SettingsRecord("kms.example", settings.record.create_time)))
    with pytest.raises(CallWrongState, match="trust domain"):
        put_back(other, take(first))
