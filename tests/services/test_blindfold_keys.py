"""Blindfold keys: begun, completed, rotated, stopped, destroyed; and the documents signed for them."""

from datetime import timedelta

import pytest
from services.conftest import ACME, ADMIN, AUTHOR, BATCH, KEY, KEY_ADMIN, OPERATOR, WEB, WEB_TLS, Kms, caller

from blindfold import Bundle, KeyDocument, PolicyDocument
from blindfold.errors import DocumentUntrusted
from blindfold.private_key import PrivateKey
from kms.errors import Denied, EtagMismatch, InvalidField, NotFound, StoreTampered, WrongState
from kms.model.lifecycle import Verb
from kms.model.names import BlindfoldKeyName
from kms.model.records import BlindfoldKeyRecord
from kms.services.blindfold_keys import BlindfoldKeys, key_row
from testvectors import material


def keys(kms: Kms) -> BlindfoldKeys:
    return kms.parts.blindfold_keys


def state(kms: Kms, name: BlindfoldKeyName = KEY) -> str:
    return kms.run(keys(kms).get(kms.call(KEY_ADMIN), name)).row.record.state


def change(kms: Kms, verb: Verb, name: BlindfoldKeyName = KEY, **more: timedelta) -> str:
    return kms.run(keys(kms).change(kms.call(KEY_ADMIN), name, verb, "", **more)).row.record.state


def test_version_waits_for_its_primes_and_cannot_be_used(kms: Kms) -> None:
    view = kms.run(keys(kms).begin(kms.call(KEY_ADMIN), ACME, 3072, "", make_primary=False))
    assert (view.name, view.row.record.state, view.primary) == (KEY, "PENDING_GENERATION", False)
    assert list(keys(kms).pending()) == [(KEY, 3072)]
    with pytest.raises(WrongState):
        kms.key_document()
    with pytest.raises(WrongState):
        kms.run(keys(kms).set_primary(kms.call(KEY_ADMIN), KEY, ""))


def test_first_completed_version_becomes_primary_and_later_ones_if_asked(kms: Kms) -> None:
    kms.run(keys(kms).begin(kms.call(KEY_ADMIN), ACME, 3072, "", make_primary=False))
    for label in ("full", "full-2"):
        version = KEY if label == "full" else BlindfoldKeyName("acme", 2)
        if label == "full-2":
            kms.run(keys(kms).begin(kms.call(KEY_ADMIN), ACME, 3072, "", make_primary=False))
        changes = keys(kms).complete(version, PrivateKey(*material.primes(label)), kms.now)
        event = kms.call(KEY_ADMIN).event("Kms.Generate", "", "ALLOW")
        kms.vault.store.commit(changes, [event]).result()
    assert not list(keys(kms).pending())
    assert kms.key_document().key_version == 1
    kms.run(keys(kms).set_primary(kms.call(KEY_ADMIN), BlindfoldKeyName("acme", 2), ""))
    assert kms.key_document().key_version == 2
    listed = kms.run(keys(kms).list(kms.call(ADMIN), ACME, "", 10)).items
    assert [(view.name.version, view.primary) for view in listed] == [(1, False), (2, True)]


def test_primary_version_never_goes_down(kms: Kms) -> None:
    """Sealers refuse a lower version than they have used: nobody who sealed since could go on."""
    kms.add_key()
    kms.add_key("full-2")
    with pytest.raises(WrongState, match="generate a new version"):
        kms.run(keys(kms).set_primary(kms.call(KEY_ADMIN), KEY, ""))
    assert kms.key_document().key_version == 2
    assert kms.run(keys(kms).set_primary(kms.call(KEY_ADMIN), BlindfoldKeyName("acme", 2), "")).primary


def test_version_that_is_made_late_does_not_replace_a_higher_primary_one(kms: Kms) -> None:
    for _ in range(2):
        kms.run(keys(kms).begin(kms.call(KEY_ADMIN), ACME, 3072, "", make_primary=True))
    for version, label in ((2, "full-2"), (1, "full")):
        name = BlindfoldKeyName("acme", version)
        changes = keys(kms).complete(name, PrivateKey(*material.primes(label)), kms.now)
        kms.vault.store.commit(changes, [kms.call(KEY_ADMIN).event("Kms.Generate", "", "ALLOW")]).result()
    assert kms.key_document().key_version == 2


def test_same_request_begins_one_version(kms: Kms) -> None:
    for _ in range(2):
        view = kms.run(keys(kms).begin(kms.call(KEY_ADMIN), ACME, 3072, "r", make_primary=True))
    assert view.name.version == 1


@pytest.mark.parametrize("bits", [0, 1024, 2048, 3073, 8192])
def test_other_sizes_are_refused(kms: Kms, bits: int) -> None:
    with pytest.raises(InvalidField, match="3072 or 4096"):
        kms.run(keys(kms).begin(kms.call(KEY_ADMIN), ACME, bits, "", make_primary=True))


def test_private_key_is_wrapped_for_its_own_place(kms: Kms) -> None:
    kms.add_key()
    record = kms.parts.repository.require(BlindfoldKeyRecord, key_row(KEY)).record
    assert kms.parts.keyring.unwrap_blindfold_key(KEY, record).n == material.key("full").n
    with pytest.raises(StoreTampered):
        kms.parts.keyring.unwrap_blindfold_key(BlindfoldKeyName("acme", 2), record)


def test_disabled_version_seals_and_opens_nothing_until_enabled(kms: Kms) -> None:
    kms.add_key()
    assert change(kms, Verb.DISABLE) == "DISABLED"
    with pytest.raises(WrongState):
        kms.key_document()
    assert change(kms, Verb.ENABLE) == "ENABLED"
    assert kms.key_document().key_version == 1


def test_primary_version_cannot_be_destroyed(kms: Kms) -> None:
    kms.add_key()
    with pytest.raises(WrongState, match="another one primary"):
        change(kms, Verb.SCHEDULE_DESTROY)


def test_destruction_is_scheduled_cancelled_and_done_on_time(kms: Kms) -> None:
    kms.add_key()
    kms.add_key("full-2")
    assert change(kms, Verb.SCHEDULE_DESTROY) == "DESTROY_SCHEDULED"
    assert change(kms, Verb.CANCEL_DESTROY) == "DISABLED"
    change(kms, Verb.SCHEDULE_DESTROY, delay=timedelta(hours=24))
    assert not list(keys(kms).due(kms.now + timedelta(hours=23)))
    [(name, put)] = keys(kms).due(kms.now + timedelta(hours=24))
    assert name == KEY
    assert put.destroys
    kms.vault.store.commit([put], [kms.call(KEY_ADMIN).event("Kms.Destroy", "", "ALLOW")]).result()
    view = kms.run(keys(kms).get(kms.call(KEY_ADMIN), KEY))
    assert (view.row.record.state, view.row.record.wrapped_key) == ("DESTROYED", b"")
    for verb in (Verb.ENABLE, Verb.DISABLE, Verb.SCHEDULE_DESTROY, Verb.CANCEL_DESTROY):
        with pytest.raises(WrongState):
            change(kms, verb)


@pytest.mark.parametrize("delay", [timedelta(hours=23, minutes=59), timedelta(days=121), timedelta(0)])
def test_delay_is_from_a_day_to_120(kms: Kms, delay: timedelta) -> None:
    kms.add_key()
    kms.add_key("full-2")
    with pytest.raises(InvalidField, match="24 hours to 120 days"):
        change(kms, Verb.SCHEDULE_DESTROY, delay=delay)


def test_etag_guards_every_change(kms: Kms) -> None:
    kms.add_key()
    with pytest.raises(EtagMismatch):
        kms.run(keys(kms).change(kms.call(KEY_ADMIN), KEY, Verb.DISABLE, "999"))
    with pytest.raises(EtagMismatch):
        kms.run(keys(kms).set_primary(kms.call(KEY_ADMIN), KEY, "999"))


def test_key_admin_manages_but_nobody_else_does(kms: Kms) -> None:
    kms.add_key()
    for who in (ADMIN, AUTHOR, WEB, OPERATOR, caller("admin", "key-admin", tenant="globex")):
        with pytest.raises(Denied):
            kms.run(keys(kms).change(kms.call(who), KEY, Verb.DISABLE, ""))
    assert state(kms) == "ENABLED"


def test_missing_version_is_not_found_for_those_who_may_list(kms: Kms) -> None:
    with pytest.raises(NotFound):
        state(kms, BlindfoldKeyName("acme", 5))


def test_key_document_of_any_version_is_for_any_identity_of_the_tenant(kms: Kms) -> None:
    kms.add_key()
    expected = kms.key_document().to_bytes()
    kms.add_key("full-2")
    assert kms.run(kms.parts.documents.key_document(kms.call(BATCH), KEY)) == expected
    for who, name in ((caller("web", tenant="globex"), KEY), (BATCH, BlindfoldKeyName("acme", 7))):
        with pytest.raises(Denied):
            kms.run(kms.parts.documents.key_document(kms.call(who), name))


def test_reissued_bundle_changes_neither_digest_nor_fingerprint(kms: Kms) -> None:
    kms.add_key()
    kms.add_policy()
    first = (kms.key_document(), kms.policy_document())
    kms.pass_time(timedelta(days=3))
    assert (kms.key_document(), kms.policy_document()) == first


def test_delegation_is_renewed_before_bundles_would_outlive_it(kms: Kms) -> None:
    kms.add_key()
    for _ in range(8):
        kms.pass_time(timedelta(days=30))
        assert kms.key_document().key_version == 1


def test_documents_of_two_tenants_have_different_signers(kms: Kms) -> None:
    kms.add_key()
    kms.add_policy()
    key = Bundle.parse(kms.run(kms.parts.documents.public_key(kms.call(AUTHOR), ACME))[1])
    policy = Bundle.parse(kms.run(kms.parts.documents.policy_document(kms.call(AUTHOR), WEB_TLS))[1])
    assert key.delegation.key != policy.delegation.key
    with pytest.raises(DocumentUntrusted):
        key.verify(PolicyDocument, trust=[kms.parts.signing.fingerprint()], now=kms.now)
    with pytest.raises(DocumentUntrusted):
        key.verify(KeyDocument, trust=["sha256:" + "00" * 32], now=kms.now)


def test_sealers_need_the_role_for_signed_documents(kms: Kms) -> None:
    kms.add_key()
    kms.add_policy()
    for refused in (
        kms.parts.documents.public_key(kms.call(WEB), ACME),
        kms.parts.documents.policy_document(kms.call(WEB), WEB_TLS),
    ):
        with pytest.raises(Denied):
            kms.run(refused)
