"""HIGH keys with their device: made, used, rotated and destroyed in it, and what the store knows of them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from device.softhsm import SoftHsm, given_device
from services.conftest import AUTHOR, KEY_ADMIN, Kms, make_kms
from services.device_workshop import HIGH, MEDIUM, destroy, device, in_device, kms, remnants, row, softhsm
from services.test_cryptography import NAME, POLICY, RULES, add_key, one, rotate, version

from kms.crypto import rsa_pss
from kms.crypto.aead import RawCiphertext
from kms.crypto.ciphertext import parse
from kms.crypto.device.device import Device
from kms.errors import (
    DecryptionFailed,
    DeviceAbsent,
    DeviceFailed,
    DeviceLacksAlgorithm,
    DeviceUnavailable,
    KmsError,
    MacInvalid,
    SignatureInvalid,
    WrongState,
)
from kms.model.algorithms import ALGORITHMS, MAX_AAD, MAX_PLAINTEXT, Purpose
from kms.model.device_handle import DeviceHandle
from kms.model.sensitivity import Sensitivity
from kms.services.cryptography import Made, Message, Plain, RawSealed, Sealed
from kms.services.keys import KeySettings

__all__ = ["device", "given_device", "kms", "softhsm"]


ALGORITHMS_OF_SOFTHSM = {
    "AES_256_GCM": Purpose.ENCRYPT_DECRYPT,
    "AES_128_GCM": Purpose.RAW_ENCRYPT_DECRYPT,
    "RSA_PSS_2048_SHA256": Purpose.ASYMMETRIC_SIGN,
    "HMAC_SHA256": Purpose.MAC,
}


@pytest.mark.parametrize("algorithm", ALGORITHMS_OF_SOFTHSM)
def test_store_holds_a_handle_and_no_key(kms: Kms, device: Device, algorithm: str) -> None:
    add_key(kms, ALGORITHMS_OF_SOFTHSM[algorithm], algorithm, sensitivity=HIGH)
    record = row(kms)
    assert (record.sensitivity, record.state, record.wrapped_key) == ("HIGH", "ENABLED", b"")
    assert bool(record.public_key) == ALGORITHMS[algorithm].is_asymmetric
    assert in_device(kms, device) == {DeviceHandle.parse(record.handle)}
    assert remnants(kms) == []


def test_encryption_in_the_device_has_the_format_of_all_and_is_bound(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    add_key(kms, sensitivity=HIGH, name=MEDIUM)
    made = one(kms, "encrypt", Plain(b"secret", b"context"))
    assert (parse(made.data).version, len(made.data)) == (1, 6 + 49)
    assert one(kms, "decrypt", Sealed(made.data, b"context")).data == b"secret"
    for item, key in ((Sealed(made.data, b"other"), NAME), (Sealed(made.data, b"context"), MEDIUM)):
        with pytest.raises(DecryptionFailed):
            one(kms, "decrypt", item, key=key)


def test_every_item_of_a_batch_has_its_own_answer(kms: Kms) -> None:
    add_key(kms, sensitivity=HIGH)
    encrypt = kms.parts.cryptography.encrypt
    items = [Plain(str(number).encode() * 100, b"aad") for number in range(120)]
    user = kms.call(replace(KEY_ADMIN, roles=frozenset({"key-user"}), labels={"app": "orders"}))
    made = kms.run(encrypt(user, NAME, [*items, Plain(bytes(70_000))]))
    assert isinstance(made.pop(), KmsError)
    sealed = [Sealed(item.data if number else b"x" * 60, b"aad") for number, item in enumerate(made)]  # type: ignore[union-attr]
    opened = kms.run(kms.parts.cryptography.decrypt(user, NAME, sealed))
    assert isinstance(opened[0], KmsError)
    texts = [item.data for item in opened[1:] if isinstance(item, Made)]
    assert texts == [item.plaintext for item in items[1:]]


def test_nonces_are_fresh_and_counted(kms: Kms) -> None:
    add_key(kms, sensitivity=HIGH)
    made = {parse(one(kms, "encrypt", Plain(b"x")).data).nonce for _ in range(5)}
    assert len(made) == 5
    view = kms.run(kms.parts.key_versions.get(kms.call(KEY_ADMIN), version(1)))
    assert view.invocations > 0


@pytest.mark.parametrize("shown", [True, False])
def test_data_keys_come_from_the_device(kms: Kms, shown: bool) -> None:
    add_key(kms, sensitivity=HIGH)
    made = one(kms, "generate_data_key", (32, b"aad"), with_plaintext=shown)
    opened = one(kms, "decrypt", Sealed(made.ciphertext, b"aad")).data
    assert len(opened) == 32
    assert made.plaintext == (opened if shown else b"")


def test_raw_ciphertexts(kms: Kms) -> None:
    add_key(kms, Purpose.RAW_ENCRYPT_DECRYPT, sensitivity=HIGH)
    value = one(kms, "raw_encrypt", Plain(b"secret", b"aad")).value
    assert one(kms, "raw_decrypt", RawSealed(value, b"aad")).data == b"secret"
    changed = RawCiphertext(value.nonce, value.ciphertext, bytes(16))
    with pytest.raises(DecryptionFailed):
        one(kms, "raw_decrypt", RawSealed(changed, b"aad"))


@pytest.mark.parametrize("is_digest", [True, False])
def test_signatures_are_made_inside_and_verified_here(kms: Kms, device: Device, is_digest: bool) -> None:
    add_key(kms, Purpose.ASYMMETRIC_SIGN, "RSA_PSS_2048_SHA256", sensitivity=HIGH)
    message = Message(b"d" * 32, is_digest)
    proof = one(kms, "sign", message).data
    device.close()
    assert one(kms, "verify", replace_proof(message, proof)).data == message.data
    with pytest.raises(SignatureInvalid):
        one(kms, "verify", replace_proof(message, bytes(256)))
    spki = one(kms, "public_key", 1).spki
    public = rsa_pss.load_public(ALGORITHMS["RSA_PSS_2048_SHA256"], spki, "key")
    check = public.verify_digest if is_digest else public.verify
    assert check(message.data, proof) == message.data


def replace_proof(message: Message, proof: bytes) -> Message:
    return message._replace(proof=proof)


def test_codes_are_made_and_verified_inside(kms: Kms) -> None:
    add_key(kms, Purpose.MAC, sensitivity=HIGH)
    code = one(kms, "mac", Message(b"message")).data
    assert one(kms, "mac_verify", Message(b"message", proof=code)).data == b"message"
    with pytest.raises(MacInvalid):
        one(kms, "mac_verify", Message(b"another", proof=code))


def test_re_encryption_brings_ciphertexts_into_the_device(kms: Kms) -> None:
    add_key(kms, name=MEDIUM)
    add_key(kms, sensitivity=HIGH)
    made = one(kms, "encrypt", Plain(b"secret"), key=MEDIUM)
    user = kms.call(replace(KEY_ADMIN, roles=frozenset({"key-user"}), labels={"app": "orders"}))
    [moved] = kms.run(kms.parts.cryptography.re_encrypt(user, MEDIUM, NAME, [(Sealed(made.data), b"")]))
    assert not isinstance(moved, KmsError)
    assert one(kms, "decrypt", Sealed(moved[1].data)).data == b"secret"


def test_oaep_is_refused_naming_the_device_and_leaves_nothing(kms: Kms, device: Device) -> None:
    with pytest.raises(DeviceLacksAlgorithm, match="the device 'kms' cannot do RSA_OAEP_3072_SHA256"):
        add_key(kms, Purpose.ASYMMETRIC_DECRYPT, sensitivity=HIGH)
    event = kms.last_event()
    assert (event["action"], event["decision"], event["reason"]) == (
        "CreateKey",
        "FAIL",
        "DEVICE_LACKS_ALGORITHM",
    )
    assert (in_device(kms, device), remnants(kms)) == (frozenset(), [])


@pytest.mark.optional
def test_oaep_in_a_device_that_has_it(tmp_path: Path, given_device: Device) -> None:
    with make_kms(tmp_path, given_device) as kms:
        kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, RULES, ""))
        add_key(kms, Purpose.ASYMMETRIC_DECRYPT, sensitivity=HIGH)
        made = one(kms, "asymmetric_encrypt", Plain(b"secret", b"label"))
        assert one(kms, "asymmetric_decrypt", Sealed(made.data, b"label")).data == b"secret"
        for item in (Sealed(made.data, b"other"), Sealed(bytes(384), b"label")):
            with pytest.raises(DecryptionFailed):
                one(kms, "asymmetric_decrypt", item)
        assert destroy(kms) == 1
        assert in_device(kms, given_device) == frozenset()


def test_rotation_stays_in_the_device(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    old = one(kms, "encrypt", Plain(b"old"))
    rotate(kms)
    assert kms.run(kms.parts.upkeep.rotate(NAME, kms.now, "schedule"))
    assert parse(one(kms, "encrypt", Plain(b"new")).data).version == 3
    assert one(kms, "decrypt", Sealed(old.data)).data == b"old"
    handles = {DeviceHandle.parse(row(kms, number).handle) for number in (1, 2, 3)}
    assert in_device(kms, device) == handles


@pytest.mark.parametrize("level", [Sensitivity.LOW, Sensitivity.MEDIUM])
def test_raising_a_key_makes_a_version_in_the_device_and_old_ones_stay(kms: Kms, level: Sensitivity) -> None:
    add_key(kms, sensitivity=level)
    old = one(kms, "encrypt", Plain(b"old"))
    raise_to_high(kms)
    assert (row(kms, 1).sensitivity, row(kms, 1).handle) == (level.name, "")
    assert (row(kms, 2).sensitivity, row(kms, 2).wrapped_key) == ("HIGH", b"")
    assert one(kms, "encrypt", Plain(b"new")).name == str(version(2))
    assert one(kms, "decrypt", Sealed(old.data)).data == b"old"


def raise_to_high(kms: Kms) -> None:
    update = kms.parts.keys.update
    kms.run(update(kms.call(KEY_ADMIN), NAME, lambda settings: replace(settings, sensitivity=HIGH), ""))


def test_settings_of_a_high_key_change_without_the_device(kms: Kms, softhsm: SoftHsm) -> None:
    add_key(kms, sensitivity=HIGH)
    softhsm.files_of("kms").rename(softhsm.directory / "away")
    update = kms.parts.keys.update
    changed = update(kms.call(KEY_ADMIN), NAME, lambda settings: replace(settings, description="mine"), "")
    assert kms.run(changed).record.description == "mine"
    with pytest.raises(DeviceUnavailable):
        rotate(kms)


def test_a_version_that_was_drawn_for_another_level_is_not_stored(kms: Kms) -> None:
    add_key(kms)

    async def late_rotation() -> None:
        record = kms.parts.keys._key(NAME).record
        async with kms.parts.keys.drawn(NAME, record, kms.now) as fresh:
            await asyncio.to_thread(raise_to_high, kms)
            kms.parts.keys.rotation(NAME, fresh, kms.now)

    with pytest.raises(WrongState, match="repeat the call"):
        kms.run(late_rotation())


def test_a_removed_device_is_said_and_no_other_key_is_concerned(
    kms: Kms, softhsm: SoftHsm, device: Device
) -> None:
    add_key(kms, sensitivity=HIGH)
    add_key(kms, name=MEDIUM)
    sealed, other = one(kms, "encrypt", Plain(b"x")), one(kms, "encrypt", Plain(b"y"), key=MEDIUM)
    files, away = softhsm.files_of("kms"), softhsm.directory / "away"
    files.rename(away)
    with pytest.raises(DeviceUnavailable, match="the device 'kms' cannot be reached"):
        one(kms, "decrypt", Sealed(sealed.data))
    assert kms.last_event()["reason"] == "DEVICE_UNAVAILABLE"
    assert one(kms, "decrypt", Sealed(other.data), key=MEDIUM).data == b"y"
    away.rename(files)
    device._monotonic = lambda: 1e9
    assert one(kms, "decrypt", Sealed(sealed.data)).data == b"x"


FAULTS = {
    "sign": (Purpose.ASYMMETRIC_SIGN, "RSA_PSS_2048_SHA256", Message(b"message"), bytes(256)),
    "encrypt": (Purpose.ENCRYPT_DECRYPT, "", Plain(b"x"), b"short"),
    "mac": (Purpose.MAC, "", Message(b"message"), b"short"),
}


@pytest.mark.parametrize("operation", FAULTS)
def test_what_a_faulty_device_makes_is_given_to_nobody(
    kms: Kms, device: Device, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    purpose, algorithm, item, made = FAULTS[operation]
    add_key(kms, purpose, algorithm, sensitivity=HIGH)
    monkeypatch.setattr(device, "use", lambda *asked: [made])
    with pytest.raises(DeviceFailed):
        one(kms, operation, item)


def test_a_lost_key_is_said(kms: Kms, device: Device) -> None:
    add_key(kms, sensitivity=HIGH)
    sealed = one(kms, "encrypt", Plain(b"x"))
    handle = row(kms).handle
    device.destroy(DeviceHandle.parse(handle))
    with pytest.raises(DeviceAbsent, match="does not hold the key version's key"):
        one(kms, "decrypt", Sealed(sealed.data))


def test_a_high_key_waits_for_no_import(kms: Kms) -> None:
    settings = KeySettings(sensitivity=HIGH)
    create = kms.parts.keys.create(
        kms.call(KEY_ADMIN), NAME, Purpose.ENCRYPT_DECRYPT, "", settings, "", import_only=True
    )
    with pytest.raises(WrongState, match="takes no bytes from elsewhere"):
        kms.run(create)


def test_a_rotation_that_its_device_refuses_stays_wanted_and_holds_up_no_other(
    kms: Kms, softhsm: SoftHsm
) -> None:
    add_key(kms, sensitivity=HIGH)
    add_key(kms, name=MEDIUM)
    softhsm.files_of("kms").rename(softhsm.directory / "away")
    upkeep = kms.parts.upkeep
    upkeep.want(NAME)
    upkeep.want(MEDIUM)
    assert kms.run(upkeep.rotate_wanted(kms.now)) == 1
    assert upkeep.wanted == {(NAME, 0)}


def test_the_largest_plaintext_and_aad_fit(kms: Kms) -> None:
    add_key(kms, sensitivity=HIGH)
    plain = Plain(bytes(MAX_PLAINTEXT), bytes(MAX_AAD))
    made = one(kms, "encrypt", plain)
    assert one(kms, "decrypt", Sealed(made.data, plain.aad)).data == plain.plaintext
