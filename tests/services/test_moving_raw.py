"""Raw ciphertexts that are moved to a key of this KMS: by version, with the right to move alone."""

from dataclasses import replace
from typing import Any

import pytest
from services.conftest import AUTHOR, KEY_ADMIN, Kms
from services.test_cryptography import NAME, POLICY, USER, add_key, one

from kms.errors import DecryptionFailed, Denied, InvalidField, KmsError, LimitExceeded, WrongState
from kms.model.algorithms import MAX_PLAINTEXT, Purpose
from kms.services.cryptography import Plain, Raw, RawSealed, Sealed

FOREIGN = replace(NAME, key="foreign")
RULES = {
    "rules": [
        {
            "name": "foreign",
            "action": "ALLOW",
            "key_matcher": {"exact_values": ["foreign"]},
            "operations": ["RAW_ENCRYPT", "REENCRYPT_FROM"],
        },
        {"name": "orders", "action": "ALLOW", "key_matcher": {"exact_values": ["orders"]}},
    ]
}


@pytest.fixture
def ready(kms: Kms) -> Kms:
    """A raw key that may encrypt and be moved from, with two versions, and one that may do everything."""
    kms.run(kms.parts.kms_policies.create(kms.call(AUTHOR), POLICY, RULES, ""))
    add_key(kms)
    add_key(kms, Purpose.RAW_ENCRYPT_DECRYPT, name=FOREIGN)
    kms.run(kms.parts.keys.rotate(kms.call(KEY_ADMIN), FOREIGN))
    return kms


def raw(kms: Kms, plaintext: bytes = b"secret", aad: bytes = b"") -> Raw:
    made: Raw = one(kms, "raw_encrypt", Plain(plaintext, aad), key=FOREIGN)
    return made


def move(kms: Kms, *items: Sealed, source: Any = FOREIGN) -> list[Any]:
    moving = kms.parts.cryptography.re_encrypt
    return kms.run(moving(kms.call(USER), source, NAME, [(item, b"new") for item in items]))


def test_a_raw_ciphertext_is_moved_and_its_plaintext_cannot_be_had_otherwise(ready: Kms) -> None:
    made = raw(ready, aad=b"old")
    [(source, moved)] = move(ready, Sealed(b"".join(made.value), b"old", 2))
    assert (source, moved.name) == (f"{FOREIGN}/versions/2", f"{NAME}/versions/1")
    assert one(ready, "decrypt", Sealed(moved.data, b"new")).data == b"secret"
    with pytest.raises(Denied):
        one(ready, "raw_decrypt", RawSealed(made.value, b"old"), key=FOREIGN)


def test_the_largest_and_the_empty_plaintext_are_moved(ready: Kms) -> None:
    for size in (0, MAX_PLAINTEXT):
        made = raw(ready, bytes(size))
        [(_, moved)] = move(ready, Sealed(b"".join(made.value), version=2))
        assert one(ready, "decrypt", Sealed(moved.data, b"new")).data == bytes(size)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda item: item._replace(version=1), DecryptionFailed),
        (lambda item: item._replace(aad=b"other"), DecryptionFailed),
        (lambda item: item._replace(ciphertext=item.ciphertext[:-1]), DecryptionFailed),
        (lambda item: item._replace(ciphertext=item.ciphertext[:27]), InvalidField),
        (lambda item: item._replace(ciphertext=b""), InvalidField),
        (lambda item: item._replace(ciphertext=bytes(MAX_PLAINTEXT + 29)), LimitExceeded),
        (lambda item: item._replace(version=3), WrongState),
    ],
)
def test_what_the_version_did_not_make_is_refused_alone(
    ready: Kms, change: Any, error: type[KmsError]
) -> None:
    made = raw(ready)
    good = Sealed(b"".join(made.value), version=2)
    moved, refused = move(ready, good, change(good))
    assert not isinstance(moved, KmsError)
    assert isinstance(refused, error)


def test_a_raw_ciphertext_without_a_version_is_not_taken_for_another(ready: Kms) -> None:
    """Even where its nonce begins as a self-describing ciphertext does."""
    made = raw(ready)
    for data in (b"".join(made.value), b"\x01" + bytes(60)):
        [refused] = move(ready, Sealed(data))
        assert isinstance(refused, WrongState)


def test_a_self_describing_ciphertext_says_its_version_itself(ready: Kms) -> None:
    made = one(ready, "encrypt", Plain(b"secret", b""))
    [refused] = move(ready, Sealed(made.data, version=1), source=NAME)
    assert isinstance(refused, WrongState)


def test_versions_are_named_of_all_items_or_of_none(ready: Kms) -> None:
    made = raw(ready)
    good = Sealed(b"".join(made.value), version=2)
    moved, refused = move(ready, good, good._replace(version=0))
    assert not isinstance(moved, KmsError)
    assert isinstance(refused, InvalidField)


def test_nothing_is_moved_to_a_raw_key(ready: Kms) -> None:
    made = one(ready, "encrypt", Plain(b"secret", b""))
    moving = ready.parts.cryptography.re_encrypt
    [refused] = ready.run(moving(ready.call(USER), NAME, FOREIGN, [(Sealed(made.data), b"")]))
    assert isinstance(refused, KmsError)
