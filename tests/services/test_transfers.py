"""Imports, exports and copies: what may go where, and what proof it takes."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import AUTHOR, KEY_ADMIN, PROD, WEB, Kms, caller

from blindfold.secret import SecretBytes
from kms.client.credentials import generate_key_pair
from kms.crypto import key_wrapping
from kms.crypto.key_handle import generate
from kms.crypto.key_wrapping import Recipient, Unwrapper
from kms.errors import (
    DecryptionFailed,
    Denied,
    InvalidField,
    KmsError,
    LimitExceeded,
    NotFound,
    SignatureInvalid,
    Unauthenticated,
    WrongState,
)
from kms.identity.grant import Grant
from kms.model.algorithms import ALGORITHMS, Purpose
from kms.model.lifecycle import Verb
from kms.model.names import IdentityName, ImportKeyName, KeyName, KeyVersionName, KmsPolicyName
from kms.model.records import ImportKeyRecord, KeyVersionRecord
from kms.model.sensitivity import Sensitivity
from kms.services.cryptography import Message, Plain, Sealed
from kms.services.keyring import Keyring
from kms.services.keys import KeySettings
from kms.services.transfers import Wrapped

NAME = KeyName("acme", "prod", "orders")
FIRST = KeyVersionName("acme", "prod", "orders", 1)
POLICY = KmsPolicyName("acme", "prod", "everything")
USER = caller("app", "key-user")
KEY = bytes(range(32))


@pytest.fixture
def ready(kms: Kms) -> Kms:
    rules = {"rules": [{"name": "all", "action": "ALLOW"}]}
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, rules, ""))
    return kms


@pytest.fixture(scope="module")
def holder() -> key_wrapping.KeyMaterial:
    """A key pair of the caller's own."""
    return key_wrapping.generate()


def add_key(
    kms: Kms,
    name: KeyName = NAME,
    purpose: Purpose = Purpose.ENCRYPT_DECRYPT,
    algorithm: str = "",
    *,
    import_only: bool = False,
    **more: Any,
) -> KeyName:
    settings = KeySettings(**({"policy": POLICY} | more))
    making = kms.parts.keys.create(
        kms.call(KEY_ADMIN), name, purpose, algorithm, settings, "", import_only=import_only
    )
    kms.run(making)
    return name


def wrapped(kms: Kms, material: bytes) -> Wrapped:
    """What a caller makes of an import key and material of his own."""
    name, record = kms.run(kms.parts.transfers.create_import_key(kms.call(KEY_ADMIN), PROD))
    return Wrapped(name, Recipient(record.public_key).wrap(SecretBytes(material)))


def import_(
    kms: Kms, source: Wrapped | bytes, key: KeyName = NAME, *, make_primary: bool = True
) -> KeyVersionName:
    importing = kms.parts.transfers.import_version(
        kms.call(KEY_ADMIN), key, "", source, make_primary=make_primary
    )
    return kms.run(importing)


def material_of(kms: Kms, name: KeyVersionName) -> bytes:
    row = f"{name.key_name}/versions/{name.version:010d}"
    record = kms.parts.repository.require(KeyVersionRecord, row).record
    return kms.parts.keyring.unwrap_key_version(name, record).reveal()


def test_imported_material_becomes_a_version_that_works(ready: Kms) -> None:
    add_key(ready, import_only=True)
    assert import_(ready, wrapped(ready, KEY)) == FIRST
    assert material_of(ready, FIRST) == KEY
    [made] = ready.run(ready.parts.cryptography.encrypt(ready.call(USER), NAME, [Plain(b"s")]))
    [opened] = ready.run(ready.parts.cryptography.decrypt(ready.call(USER), NAME, [Sealed(made.data)]))
    assert opened.data == b"s"


def test_import_key_serves_one_import_and_ends_after_a_day(ready: Kms) -> None:
    add_key(ready)
    source = wrapped(ready, KEY)
    import_(ready, source)
    with pytest.raises(NotFound):
        import_(ready, source)
    late = wrapped(ready, KEY)
    ready.pass_time(timedelta(hours=24))
    with pytest.raises(WrongState, match="expired"):
        import_(ready, late)


@pytest.mark.parametrize("material", [KEY[:31], KEY + b"x", b"\x30\x82"])
def test_material_of_the_wrong_form_is_refused_and_the_import_key_stays(ready: Kms, material: bytes) -> None:
    add_key(ready)
    source = wrapped(ready, material)
    with pytest.raises(InvalidField):
        import_(ready, source)
    assert import_(ready, replace(wrapped(ready, KEY))).version == 2


def test_damaged_wrapping_is_refused(ready: Kms) -> None:
    add_key(ready)
    source = wrapped(ready, KEY)
    for data in (source.data[:-8], b"\x00" * len(source.data), source.data[:-1] + b"\x00"):
        with pytest.raises((DecryptionFailed, InvalidField)):
            import_(ready, replace(source, data=data))
    assert import_(ready, source).version == 2


def test_public_key_makes_a_version_that_only_verifies(ready: Kms) -> None:
    add_key(ready, purpose=Purpose.ASYMMETRIC_SIGN, algorithm="RSA_PSS_2048_SHA256")
    public = generate(ALGORITHMS["RSA_PSS_2048_SHA256"]).public_key
    with pytest.raises(WrongState, match="cannot be primary"):
        import_(ready, public)
    name = import_(ready, public, make_primary=False)
    [refused] = ready.run(
        ready.parts.cryptography.sign(ready.call(USER), NAME, [Message(b"m", version=name.version)])
    )
    assert type(refused).__name__ == "PublicOnly"


def test_import_needs_the_role_the_policy_and_the_right_namespace(ready: Kms) -> None:
    add_key(ready)
    closed = add_key(ready, replace(NAME, key="closed"), policy=None)
    source = wrapped(ready, KEY)
    with pytest.raises(Denied):
        import_(ready, source, closed)
    for who in (USER, WEB):
        importing = ready.parts.transfers.import_version(ready.call(who), NAME, "", source, make_primary=True)
        with pytest.raises(Denied):
            ready.run(importing)
    foreign = replace(source, import_key=ImportKeyName("acme", "dev", source.import_key.import_key))
    with pytest.raises(NotFound):
        import_(ready, foreign)


def proof(holder: key_wrapping.KeyMaterial, nonce: bytes, name: KeyVersionName) -> bytes:
    digest = hashlib.sha256(holder.public_key).digest()
    return Unwrapper(holder.material).prove(key_wrapping.proof_message(nonce, str(name), digest))


def begin(kms: Kms, name: KeyVersionName = FIRST, who: Any = USER) -> bytes:
    return kms.run(kms.parts.transfers.begin_export(kms.call(who), name))[0]


def export(
    kms: Kms, holder: key_wrapping.KeyMaterial, nonce: bytes, signature: bytes, who: Any = USER
) -> Any:
    return kms.run(kms.parts.transfers.export(kms.call(who), FIRST, nonce, holder.public_key, signature))


def test_low_key_leaves_towards_who_proves_to_hold_the_key(
    ready: Kms, holder: key_wrapping.KeyMaterial
) -> None:
    add_key(ready, sensitivity=Sensitivity.LOW)
    nonce = begin(ready)
    exported = export(ready, holder, nonce, proof(holder, nonce, FIRST))
    assert Unwrapper(holder.material).unwrap(exported.wrapped_key).reveal() == material_of(ready, FIRST)
    view = ready.run(ready.parts.key_versions.get(ready.call(KEY_ADMIN), FIRST))
    assert view.invocations >= 1 << 14


def test_nonce_serves_one_export_of_its_caller_in_its_time(
    ready: Kms, holder: key_wrapping.KeyMaterial
) -> None:
    add_key(ready, sensitivity=Sensitivity.LOW)
    nonce = begin(ready)
    signature = proof(holder, nonce, FIRST)
    export(ready, holder, nonce, signature)
    with pytest.raises(InvalidField, match="nonce"):
        export(ready, holder, nonce, signature)
    nonce = begin(ready)
    with pytest.raises(InvalidField, match="nonce"):
        export(ready, holder, nonce, proof(holder, nonce, FIRST), caller("thief", "key-user"))
    nonce = begin(ready)
    ready.pass_time(timedelta(minutes=5))
    with pytest.raises(InvalidField, match="expired"):
        export(ready, holder, nonce, proof(holder, nonce, FIRST))


def test_proof_by_another_key_or_for_another_version_is_refused(
    ready: Kms, holder: key_wrapping.KeyMaterial
) -> None:
    add_key(ready, sensitivity=Sensitivity.LOW)
    for signature in (
        lambda nonce: proof(holder, bytes(32), FIRST),
        lambda nonce: proof(holder, nonce, replace(FIRST, version=2)),
        lambda nonce: bytes(384),
    ):
        nonce = begin(ready)
        with pytest.raises(SignatureInvalid):
            export(ready, holder, nonce, signature(nonce))


@pytest.mark.parametrize("sensitivity", [Sensitivity.MEDIUM])
def test_keys_above_low_never_leave(ready: Kms, sensitivity: Sensitivity) -> None:
    add_key(ready, sensitivity=sensitivity)
    with pytest.raises(WrongState, match="only LOW keys may leave"):
        begin(ready)


def copy(kms: Kms, source: KeyVersionName, destination: KeyName, *, make_primary: bool = False) -> Any:
    both = caller("both", "key-admin", "key-user")
    return kms.run(kms.parts.transfers.copy(kms.call(both), source, destination, make_primary=make_primary))


def close_policy(kms: Kms) -> None:
    kms.run(kms.parts.kms_policies.delete(kms.call(AUTHOR), POLICY, ""))


def revoke_all(kms: Kms) -> None:
    """Whoever moves keys in these tests."""
    for name in ("app", "both"):
        identity = IdentityName("acme", "prod", name)
        admin = kms.call(caller("admin", "tenant-admin"))
        kms.run(kms.parts.identities.revoke(admin, identity, "", ""))


@pytest.mark.parametrize(("end", "error"), [(close_policy, Denied), (revoke_all, Unauthenticated)])
def test_nothing_leaves_by_a_decision_that_has_ended_when_it_is_written(
    ready: Kms,
    holder: key_wrapping.KeyMaterial,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Kms], None],
    error: type[KmsError],
) -> None:
    """The policy is deleted, or the caller revoked, between the decision and the answer."""
    for name in ("app", "both"):
        grant = Grant(IdentityName("acme", "prod", name))
        _, made = ready.parts.identities.issue_first(generate_key_pair().csr, grant, ready.now)
        event = ready.call(KEY_ADMIN).event("Test", "", "ALLOW")
        ready.vault.store.commit([made], [event]).result()
    add_key(ready, sensitivity=Sensitivity.LOW)
    nonce = begin(ready)
    unwrap = Keyring.unwrap_key_version
    ends = [end]

    def unwrap_while_it_ends(*arguments: Any) -> SecretBytes:
        for act in ends[:]:
            ends.remove(act)
            act(ready)
        return unwrap(*arguments)

    monkeypatch.setattr(Keyring, "unwrap_key_version", unwrap_while_it_ends)
    with pytest.raises(error):
        export(ready, holder, nonce, proof(holder, nonce, FIRST))
    assert not ends
    if end is close_policy:
        ready.run(ready.parts.kms_policies.undelete(ready.call(AUTHOR), POLICY, ""))
        ends.append(end)
    with pytest.raises(error):
        copy(ready, FIRST, NAME)


def test_a_copied_aes_key_has_one_budget_in_both_places(ready: Kms) -> None:
    add_key(ready)
    target = add_key(ready, replace(NAME, key="target"))
    copied = copy(ready, FIRST, target, make_primary=True)
    assert ready.last_event()["resource"] == str(FIRST)
    assert ready.last_event()["details"]["to"] == str(copied)
    views = [ready.run(ready.parts.key_versions.get(ready.call(KEY_ADMIN), name)) for name in (FIRST, copied)]
    assert sum(view.invocations for view in views) == views[0].limit == 1 << 32
    [made] = ready.run(ready.parts.cryptography.encrypt(ready.call(USER), target, [Plain(b"s")]))
    assert made.name == str(copied)
    assert ready.run(ready.parts.upkeep.rotate_wanted(ready.now)) == 1


def test_a_copy_that_is_refused_costs_nothing(ready: Kms) -> None:
    add_key(ready)
    closed = add_key(ready, replace(NAME, key="closed"), policy=None)
    with pytest.raises(Denied):
        copy(ready, FIRST, closed)
    assert ready.last_event()["decision"] == "DENY"
    assert ready.run(ready.parts.key_versions.get(ready.call(KEY_ADMIN), FIRST)).invocations == 0


def test_a_source_that_is_not_there_is_refused_and_audited(ready: Kms) -> None:
    add_key(ready)
    before = len(ready.events())
    with pytest.raises(NotFound):
        copy(ready, replace(FIRST, version=9), NAME)
    assert len(ready.events()) == before + 1


def test_key_is_copied_up_and_never_down(ready: Kms) -> None:
    low = add_key(ready, sensitivity=Sensitivity.LOW)
    medium = add_key(ready, replace(NAME, key="medium"))

    copied = copy(ready, FIRST, medium)
    assert material_of(ready, copied) == material_of(ready, FIRST)
    with pytest.raises(WrongState, match="MEDIUM key is not copied to a LOW"):
        copy(ready, replace(FIRST, key="medium"), low)
    other = add_key(ready, replace(NAME, key="mac"), Purpose.MAC)
    with pytest.raises(WrongState, match="is for ENCRYPT_DECRYPT, the destination for MAC"):
        copy(ready, FIRST, other)
    ready.run(ready.parts.key_versions.change(ready.call(KEY_ADMIN), FIRST, Verb.DISABLE, ""))
    with pytest.raises(WrongState, match="DISABLED"):
        copy(ready, FIRST, medium)


@pytest.mark.parametrize("what", ["copy", "export"])
def test_a_stop_between_decision_and_commit_keeps_the_bytes_in(
    ready: Kms, holder: key_wrapping.KeyMaterial, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A copy or an export that was decided before a stop was acknowledged does not come after it."""
    add_key(ready, sensitivity=Sensitivity.LOW)
    target = add_key(ready, replace(NAME, key="target"))
    nonce = begin(ready)
    unwrap = ready.parts.keyring.unwrap_key_version

    def stop_first(name: KeyVersionName, record: KeyVersionRecord) -> SecretBytes:
        monkeypatch.setattr(ready.parts.keyring, "unwrap_key_version", unwrap)
        ready.run(ready.parts.key_versions.change(ready.call(KEY_ADMIN), FIRST, Verb.MARK_COMPROMISED, ""))
        return unwrap(name, record)

    monkeypatch.setattr(ready.parts.keyring, "unwrap_key_version", stop_first)
    acts = {
        "copy": lambda: copy(ready, FIRST, target),
        "export": lambda: export(ready, holder, nonce, proof(holder, nonce, FIRST)),
    }
    with pytest.raises(WrongState, match="COMPROMISED"):
        acts[what]()


def test_material_that_was_wrapped_for_one_importer_is_of_no_use_to_another(ready: Kms) -> None:
    add_key(ready)
    source = wrapped(ready, KEY)
    thief = caller("thief", "key-admin")
    importing = ready.parts.transfers.import_version(ready.call(thief), NAME, "", source, make_primary=True)
    with pytest.raises(NotFound):
        ready.run(importing)
    assert import_(ready, source).version == 2


def test_import_key_serves_as_often_as_was_asked_for(ready: Kms) -> None:
    add_key(ready)
    creating = ready.parts.transfers.create_import_key(ready.call(KEY_ADMIN), PROD, 2)
    name, record = ready.run(creating)
    source = Wrapped(name, Recipient(record.public_key).wrap(SecretBytes(KEY)))
    assert [import_(ready, source).version for _ in range(2)] == [2, 3]
    with pytest.raises(NotFound):
        import_(ready, source)
    for imports in (0, 1001):
        with pytest.raises(LimitExceeded):
            ready.run(ready.parts.transfers.create_import_key(ready.call(KEY_ADMIN), PROD, imports))


def test_exports_that_one_caller_begins_do_not_push_out_anothers(
    ready: Kms, holder: key_wrapping.KeyMaterial
) -> None:
    add_key(ready, sensitivity=Sensitivity.LOW)
    nonces = [begin(ready)]
    for _ in range(20):
        begin(ready, who=caller("busy", "key-user"))
    export(ready, holder, nonces[0], proof(holder, nonces[0], FIRST))
    nonces = [begin(ready) for _ in range(17)]
    with pytest.raises(InvalidField, match="nonce"):
        export(ready, holder, nonces[0], proof(holder, nonces[0], FIRST))
    export(ready, holder, nonces[1], proof(holder, nonces[1], FIRST))


def test_import_keys_that_have_expired_are_deleted(ready: Kms) -> None:
    name, record = ready.run(ready.parts.transfers.create_import_key(ready.call(KEY_ADMIN), PROD))
    ready.pass_time(record.expire_time - ready.now - timedelta(seconds=1))
    assert ready.run(ready.parts.spent_tokens.forget(ready.now)) == 0
    ready.pass_time(timedelta(seconds=1))
    assert ready.run(ready.parts.spent_tokens.forget(ready.now)) == 1
    assert ready.parts.repository.load(ImportKeyRecord, str(name)) is None
