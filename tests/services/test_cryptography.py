"""What keys are used for: who may, with which version, and what is written about it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ADMIN, AUTHOR, KEY_ADMIN, WEB, Kms, caller

from kms.crypto.aead import RawCiphertext
from kms.errors import (
    BudgetExhausted,
    DecryptionFailed,
    Denied,
    InvalidField,
    KmsError,
    LimitExceeded,
    MacInvalid,
    SignatureInvalid,
    WrongState,
)
from kms.model.algorithms import Purpose
from kms.model.lifecycle import Verb
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName
from kms.services import key_policies, operations
from kms.services.cryptography import DataKey, Made, Message, Plain, RawSealed, Sealed
from kms.services.keys import KeySettings

NAME = KeyName("acme", "prod", "orders")
POLICY = KmsPolicyName("acme", "prod", "orders")
USER = caller("app", "key-user", app="orders")
OTHER = caller("other", "key-user", app="other")
RULES = {
    "rules": [
        {"name": "orders", "action": "ALLOW", "client_selector": {"expressions": ["app=orders"]}},
    ]
}
DIGEST = b"d" * 32


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """With a KMS policy that allows app=orders."""
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, RULES, ""))
    return kms


def add_key(
    kms: Kms,
    purpose: Purpose = Purpose.ENCRYPT_DECRYPT,
    algorithm: str = "",
    name: KeyName = NAME,
    **more: Any,
) -> KeyName:
    settings = KeySettings(**({"policy": POLICY} | more))
    kms.run(kms.parts.keys.create(kms.call(KEY_ADMIN), name, purpose, algorithm, settings, ""))
    return name


def one(kms: Kms, operation: str, item: Any, who: Any = USER, key: KeyName = NAME, **more: Any) -> Any:
    """The result of one item; raises its error, as a unary call does."""
    method = getattr(kms.parts.cryptography, operation)
    [result] = kms.run(method(kms.call(who), key, [item], **more))
    if isinstance(result, KmsError):
        raise result
    return result


def version(number: int) -> KeyVersionName:
    return KeyVersionName("acme", "prod", "orders", number)


def change(kms: Kms, verb: Verb, number: int = 1) -> None:
    kms.run(kms.parts.key_versions.change(kms.call(KEY_ADMIN), version(number), verb, ""))


def rotate(kms: Kms) -> None:
    kms.run(kms.parts.keys.rotate(kms.call(KEY_ADMIN), NAME))


def test_what_was_encrypted_decrypts_and_the_event_names_rule_and_version(ready: Kms) -> None:
    add_key(ready)
    made = one(ready, "encrypt", Plain(b"secret", b"context"))
    event = ready.last_event()
    assert (event["action"], event["reason"], event["details"]["versions"]) == ("Encrypt", "orders", "1")
    assert b"secret" not in made.data
    assert one(ready, "decrypt", Sealed(made.data, b"context")).data == b"secret"


@pytest.mark.parametrize(
    "held", [Plain(b"secret"), Made("name", b"secret"), DataKey("name", b"", b"secret"), Message(b"secret")]
)
def test_what_holds_a_secret_does_not_show_it(held: object) -> None:
    assert repr([held]) == f"[<{type(held).__name__}>]"


def test_ciphertext_is_bound_to_aad_key_and_tenant(ready: Kms) -> None:
    add_key(ready)
    other = add_key(ready, name=replace(NAME, key="other"))
    sealed = one(ready, "encrypt", Plain(b"secret", b"context")).data
    for attempt in (Sealed(sealed), Sealed(sealed, b"other"), Sealed(sealed[:-1], b"context")):
        with pytest.raises(DecryptionFailed):
            one(ready, "decrypt", attempt)
    with pytest.raises(DecryptionFailed):
        one(ready, "decrypt", Sealed(sealed, b"context"), key=other)


def test_every_flipped_bit_is_refused(ready: Kms) -> None:
    add_key(ready)
    sealed = one(ready, "encrypt", Plain(b"s")).data
    flipped = [
        Sealed(sealed[:index] + bytes([sealed[index] ^ 1 << bit]) + sealed[index + 1 :])
        for index in range(len(sealed))
        for bit in range(8)
    ]
    results = ready.run(ready.parts.cryptography.decrypt(ready.call(USER), NAME, flipped))
    assert len(results) == 8 * len(sealed)
    assert all(isinstance(result, KmsError) for result in results)


def test_old_ciphertexts_decrypt_after_a_rotation_and_new_ones_use_the_new_version(ready: Kms) -> None:
    add_key(ready)
    old = one(ready, "encrypt", Plain(b"old"))
    rotate(ready)
    new = one(ready, "encrypt", Plain(b"new"))
    assert (old.name, new.name) == (str(version(1)), str(version(2)))
    assert one(ready, "decrypt", Sealed(old.data)).data == b"old"


def test_disabled_version_does_nothing_until_it_is_enabled(ready: Kms) -> None:
    add_key(ready)
    sealed = one(ready, "encrypt", Plain(b"s")).data
    change(ready, Verb.DISABLE)
    for operation, item in (("encrypt", Plain(b"s")), ("decrypt", Sealed(sealed))):
        with pytest.raises(WrongState, match="DISABLED"):
            one(ready, operation, item)
    change(ready, Verb.ENABLE)
    assert one(ready, "decrypt", Sealed(sealed)).data == b"s"


def test_compromised_version_decrypts_only_for_who_says_that_he_knows(ready: Kms) -> None:
    add_key(ready)
    sealed = one(ready, "encrypt", Plain(b"s")).data
    change(ready, Verb.MARK_COMPROMISED)
    with pytest.raises(WrongState, match="allow_compromised"):
        one(ready, "decrypt", Sealed(sealed))
    assert one(ready, "decrypt", Sealed(sealed, allow_compromised=True)).data == b"s"
    with pytest.raises(WrongState, match="COMPROMISED"):
        one(ready, "encrypt", Plain(b"s"))


def test_destroyed_version_decrypts_nothing(ready: Kms) -> None:
    add_key(ready)
    sealed = one(ready, "encrypt", Plain(b"s")).data
    rotate(ready)
    change(ready, Verb.SCHEDULE_DESTROY)
    ready.run(ready.parts.upkeep.destroy_due(ready.now + timedelta(days=31)))
    with pytest.raises(WrongState, match="DESTROYED"):
        one(ready, "decrypt", Sealed(sealed, allow_compromised=True))


def test_minimum_versions_are_kept(ready: Kms) -> None:
    add_key(ready)
    old = one(ready, "encrypt", Plain(b"old")).data
    rotate(ready)
    raising = ready.parts.keys.update(
        ready.call(KEY_ADMIN), NAME, lambda settings: replace(settings, minimum_decrypt_version=2), ""
    )
    ready.run(raising)
    with pytest.raises(WrongState, match="allows version 2 and later"):
        one(ready, "decrypt", Sealed(old))


@pytest.mark.parametrize("who", [OTHER, ADMIN, KEY_ADMIN, WEB, caller("app", "key-user", tenant="globex")])
def test_role_and_policy_must_both_allow(ready: Kms, who: Any) -> None:
    add_key(ready)
    with pytest.raises(Denied) as caught:
        one(ready, "encrypt", Plain(b"s"), who)
    with pytest.raises(Denied) as missing:
        one(ready, "encrypt", Plain(b"s"), who, replace(NAME, key="missing"))
    assert str(caught.value) == str(missing.value)
    assert ready.last_event()["decision"] == "DENY"


def test_key_without_a_policy_denies(ready: Kms) -> None:
    add_key(ready, policy=None)
    with pytest.raises(Denied):
        one(ready, "encrypt", Plain(b"s"))
    assert ready.last_event()["reason"] == "NO_POLICY"


def test_policy_may_decide_by_operation_and_aad(kms: Kms) -> None:
    rules = {
        "rules": [
            {
                "name": "eu",
                "action": "ALLOW",
                "operations": ["ENCRYPT"],
                "aad_matcher": {"starts_with": ["ZXU6"]},
            }
        ]
    }
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, rules, ""))
    add_key(kms)
    items = [Plain(b"1", b"eu:1"), Plain(b"2", b"us:2"), Plain(b"3", b"eu:3")]
    results = kms.run(kms.parts.cryptography.encrypt(kms.call(USER), NAME, items))
    assert [type(result) for result in results] == [Made, Denied, Made]
    assert kms.last_event()["details"] == kms.last_event()["details"] | {
        "items": "3",
        "failed": "1",
        "denied": "1",
    }
    with pytest.raises(Denied):
        one(kms, "decrypt", Sealed(results[0].data, b"eu:1"))


def test_batch_gives_each_item_its_own_result(ready: Kms) -> None:
    add_key(ready)
    sealed = [one(ready, "encrypt", Plain(bytes([n]), bytes([n]))).data for n in range(3)]
    items = [
        Sealed(sealed[0], b"\x00"),
        Sealed(sealed[1], b"wrong"),
        Sealed(b"short"),
        Sealed(sealed[2], b"\x02"),
    ]
    before = len(ready.events())
    results = ready.run(ready.parts.cryptography.decrypt(ready.call(USER), NAME, items))
    assert [type(result) for result in results] == [Made, DecryptionFailed, InvalidField, Made]
    assert len([e for e in ready.events()[before:] if e["action"] == "Decrypt"]) == 1


@pytest.mark.parametrize("count", [0, 1001])
def test_batch_has_limits(ready: Kms, count: int) -> None:
    add_key(ready)
    with pytest.raises(LimitExceeded, match="1 to 1000"):
        ready.run(ready.parts.cryptography.encrypt(ready.call(USER), NAME, [Plain(b"")] * count))


@pytest.mark.parametrize(
    ("plaintext", "aad", "good"),
    [(65_536, 0, True), (65_537, 0, False), (0, 16_384, True), (0, 16_385, False), (0, 0, True)],
)
def test_plaintext_and_aad_have_limits(ready: Kms, plaintext: int, aad: int, good: bool) -> None:
    add_key(ready)
    item = Plain(bytes(plaintext), bytes(aad))
    if good:
        sealed = one(ready, "encrypt", item).data
        assert one(ready, "decrypt", Sealed(sealed, item.aad)).data == item.plaintext
    else:
        with pytest.raises(LimitExceeded):
            one(ready, "encrypt", item)


def test_re_encryption_moves_between_keys_and_asks_both_policies(ready: Kms) -> None:
    add_key(ready)
    closed = add_key(ready, name=replace(NAME, key="closed"), policy=None)
    other = add_key(ready, name=replace(NAME, key="other"))
    sealed = one(ready, "encrypt", Plain(b"secret", b"old")).data
    move = ready.parts.cryptography.re_encrypt
    [moved] = ready.run(move(ready.call(USER), NAME, other, [(Sealed(sealed, b"old"), b"new")]))
    source, made = moved
    assert (source, made.name) == (f"{NAME}/versions/1", f"{other}/versions/1")
    assert one(ready, "decrypt", Sealed(made.data, b"new"), key=other).data == b"secret"
    with pytest.raises(Denied):
        ready.run(move(ready.call(USER), NAME, closed, [(Sealed(sealed, b"old"), b"")]))
    [failed] = ready.run(move(ready.call(USER), NAME, other, [(Sealed(sealed, b"bad"), b"")]))
    assert isinstance(failed, DecryptionFailed)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_data_key_is_the_plaintext_of_its_ciphertext(ready: Kms, size: int) -> None:
    add_key(ready)
    made = one(ready, "generate_data_key", (size, b"file"), with_plaintext=True)
    assert len(made.plaintext) == size
    assert one(ready, "decrypt", Sealed(made.ciphertext, b"file")).data == made.plaintext
    assert one(ready, "generate_data_key", (size, b""), with_plaintext=False).plaintext == b""


def test_data_keys_have_three_sizes(ready: Kms) -> None:
    add_key(ready)
    with pytest.raises(InvalidField, match="16, 32 or 64"):
        one(ready, "generate_data_key", (24, b""), with_plaintext=True)


def test_raw_keys_interoperate(ready: Kms) -> None:
    add_key(ready, Purpose.RAW_ENCRYPT_DECRYPT)
    raw = one(ready, "raw_encrypt", Plain(b"secret", b"aad")).value
    assert isinstance(raw, RawCiphertext)
    assert one(ready, "raw_decrypt", RawSealed(raw, b"aad")).data == b"secret"
    with pytest.raises(DecryptionFailed):
        one(ready, "raw_decrypt", RawSealed(raw, b"other"))


def test_signatures_and_codes_verify_or_fail(ready: Kms) -> None:
    add_key(ready, Purpose.ASYMMETRIC_SIGN, "RSA_PSS_2048_SHA256")
    signature = one(ready, "sign", Message(b"message")).data
    assert one(ready, "verify", Message(b"message", proof=signature)).data == b"message"
    with pytest.raises(SignatureInvalid):
        one(ready, "verify", Message(b"another", proof=signature))
    of_digest = one(ready, "sign", Message(DIGEST, is_digest=True)).data
    assert one(ready, "verify", Message(DIGEST, is_digest=True, proof=of_digest)).data == DIGEST
    key = add_key(ready, Purpose.MAC, name=replace(NAME, key="mac"))
    code = one(ready, "mac", Message(b"message"), key=key).data
    assert one(ready, "mac_verify", Message(b"message", proof=code), key=key).data == b"message"
    with pytest.raises(MacInvalid):
        one(ready, "mac_verify", Message(b"message", proof=code[:-1]), key=key)


def test_oaep_encrypts_for_everybody_and_decrypts_here(ready: Kms) -> None:
    add_key(ready, Purpose.ASYMMETRIC_DECRYPT, "RSA_OAEP_2048_SHA256")
    sealed = one(ready, "asymmetric_encrypt", Plain(b"secret", b"label")).data
    assert one(ready, "asymmetric_decrypt", Sealed(sealed, b"label")).data == b"secret"
    with pytest.raises(DecryptionFailed):
        one(ready, "asymmetric_decrypt", Sealed(sealed, b"other"))
    assert one(ready, "public_key", 0).spki.startswith(b"\x30")


OPERATIONS: dict[str, tuple[Purpose, Callable[[], Any], dict[str, Any]]] = {
    "encrypt": (Purpose.ENCRYPT_DECRYPT, lambda: Plain(b""), {}),
    "decrypt": (Purpose.ENCRYPT_DECRYPT, lambda: Sealed(b"\x01" + bytes(19) + b"\x01" + bytes(28)), {}),
    "generate_data_key": (Purpose.ENCRYPT_DECRYPT, lambda: (16, b""), {"with_plaintext": True}),
    "raw_encrypt": (Purpose.RAW_ENCRYPT_DECRYPT, lambda: Plain(b""), {}),
    "raw_decrypt": (
        Purpose.RAW_ENCRYPT_DECRYPT,
        lambda: RawSealed(RawCiphertext(bytes(12), b"", bytes(16))),
        {},
    ),
    "asymmetric_encrypt": (Purpose.ASYMMETRIC_DECRYPT, lambda: Plain(b""), {}),
    "asymmetric_decrypt": (Purpose.ASYMMETRIC_DECRYPT, lambda: Sealed(b""), {}),
    "sign": (Purpose.ASYMMETRIC_SIGN, lambda: Message(b""), {}),
    "verify": (Purpose.ASYMMETRIC_SIGN, lambda: Message(b""), {}),
    "mac": (Purpose.MAC, lambda: Message(b""), {}),
    "mac_verify": (Purpose.MAC, lambda: Message(b""), {}),
}


@pytest.mark.parametrize("purpose", [Purpose.ENCRYPT_DECRYPT, Purpose.RAW_ENCRYPT_DECRYPT, Purpose.MAC])
def test_every_operation_on_a_key_of_another_purpose_is_refused(ready: Kms, purpose: Purpose) -> None:
    add_key(ready, purpose)
    for operation, (needed, item, more) in OPERATIONS.items():
        if needed is not purpose:
            with pytest.raises(WrongState, match=f"is for {purpose}"):
                one(ready, operation, item(), **more)


def test_nonce_budget_is_enforced_shown_and_not_spent_by_decrypting(
    ready: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "MAX_INVOCATIONS", 3)
    add_key(ready)
    sealed = [one(ready, "encrypt", Plain(b"s")).data for _ in range(3)]
    with pytest.raises(BudgetExhausted):
        one(ready, "encrypt", Plain(b"s"))
    assert one(ready, "decrypt", Sealed(sealed[0])).data == b"s"
    view = ready.run(ready.parts.key_versions.get(ready.call(KEY_ADMIN), version(1)))
    assert (view.invocations, view.limit) == (3, 1 << 32)


def test_key_rotates_when_half_its_budget_is_used(ready: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "ROTATE_AT", 1)
    add_key(ready)
    one(ready, "encrypt", Plain(b"s"))
    assert ready.run(ready.parts.upkeep.rotate_wanted(ready.now)) == 1
    assert one(ready, "encrypt", Plain(b"s")).name == str(version(2))


def test_last_use_is_noted_also_where_no_nonce_is_drawn(ready: Kms) -> None:
    add_key(ready, Purpose.MAC)
    one(ready, "mac", Message(b"m"))
    view = ready.run(ready.parts.key_versions.get(ready.call(KEY_ADMIN), version(1)))
    assert (view.invocations, view.limit) == (0, 0)
    assert view.last_used == ready.now.replace(hour=0)


def test_audit_event_holds_no_payload(ready: Kms) -> None:
    add_key(ready)
    one(ready, "encrypt", Plain(b"very secret text", b"very private context"))
    text = str(ready.events())
    assert "very secret" not in text
    assert "very private" not in text


def test_policy_with_large_expressions_decides_in_a_thread(
    ready: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = {"regex_values": ["(?:.?){250}/sa/app"]}
    by_name = {"name": "by name", "action": "ALLOW", "client_name_matcher": matcher}
    ready.run(ready.parts.kms_policies.update(ready.call(AUTHOR), POLICY, {"rules": [by_name]}, ""))
    add_key(ready)
    threads = []
    decide = key_policies.decide_first

    def watched(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return decide(*arguments)

    monkeypatch.setattr(key_policies, "decide_first", watched)
    for _ in range(2):
        assert one(ready, "encrypt", Plain(b"secret")).data
    with pytest.raises(Denied):
        one(ready, "encrypt", Plain(b"secret"), who=OTHER)
    assert len(threads) == 3
    assert threading.main_thread() not in threads
