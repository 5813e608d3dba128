"""A ciphertext decrypts where it was made, with the AAD it was made with, or not at all."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.crypto.aead import AeadKey, RawCiphertext
from kms.crypto.ciphertext import MAX_CIPHERTEXT, OVERHEAD, VersionCipher, parse
from kms.errors import DecryptionFailed, InvalidField, LimitExceeded
from kms.model.algorithms import ALGORITHMS, MAX_AAD, MAX_PLAINTEXT
from kms.model.names import KeyVersionName

AES_256, AES_128 = ALGORITHMS["AES_256_GCM"], ALGORITHMS["AES_128_GCM"]
KEY = AeadKey(AES_256, SecretBytes(b"k" * 32))
NAME = KeyVersionName("acme", "prod", "orders", 3)
UID = b"u" * 16
HERE = VersionCipher(KEY, NAME, UID)

OTHERS = {
    "tenant": VersionCipher(KEY, KeyVersionName("acme2", "prod", "orders", 3), UID),
    "namespace": VersionCipher(KEY, KeyVersionName("acme", "test", "orders", 3), UID),
    "key name": VersionCipher(KEY, KeyVersionName("acme", "prod", "order", 3), UID),
    "version": VersionCipher(KEY, KeyVersionName("acme", "prod", "orders", 4), UID),
    "uid": VersionCipher(KEY, NAME, b"v" * 16),
    "key": VersionCipher(AeadKey(AES_256, SecretBytes(b"K" * 32)), NAME, UID),
    "algorithm": VersionCipher(AeadKey(AES_128, SecretBytes(b"k" * 16)), NAME, UID),
}


@given(plaintext=st.binary(max_size=500), aad=st.binary(max_size=200))
def test_decrypt_gives_what_was_encrypted(plaintext: bytes, aad: bytes) -> None:
    ciphertext = HERE.encrypt(plaintext, aad)
    assert HERE.decrypt(parse(ciphertext), aad) == plaintext
    assert len(ciphertext) == len(plaintext) + OVERHEAD


def test_a_ciphertext_names_its_key_and_version() -> None:
    parsed = parse(HERE.encrypt(b"secret", b"aad"))
    assert (parsed.uid, parsed.version, len(parsed.nonce)) == (UID, 3, 12)


def test_the_nonce_is_new_each_time() -> None:
    assert len({parse(HERE.encrypt(b"same")).nonce for _ in range(200)}) == 200


def test_many_are_encrypted_each_under_a_nonce_of_its_own_and_no_more_than_were_asked_for() -> None:
    for _ in range(2):
        encrypt = HERE.encrypting(200)
        made = [parse(encrypt(b"same", b"aad")) for _ in range(200)]
        assert {HERE.decrypt(ciphertext, b"aad") for ciphertext in made} == {b"same"}
        assert len({ciphertext.nonce for ciphertext in made}) == 200
        with pytest.raises(StopIteration):
            encrypt(b"same", b"aad")


@pytest.mark.parametrize("other", OTHERS)
def test_a_ciphertext_does_not_decrypt_in_another_place(other: str) -> None:
    ciphertext = HERE.encrypt(b"secret", b"aad")
    with pytest.raises(DecryptionFailed):
        OTHERS[other].decrypt(parse(ciphertext), b"aad")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_ciphertext_does_not_decrypt_with_another_aad(aad: bytes, other: bytes) -> None:
    ciphertext = HERE.encrypt(b"secret", aad)
    if aad != other:
        with pytest.raises(DecryptionFailed):
            HERE.decrypt(parse(ciphertext), other)


def test_every_flipped_bit_is_refused_and_behind_the_header_by_the_same_error() -> None:
    ciphertext = HERE.encrypt(b"secret", b"aad")
    texts = set()
    for position in range(len(ciphertext) * 8):
        changed = bytearray(ciphertext)
        changed[position // 8] ^= 1 << position % 8
        expected = InvalidField if position < 8 else DecryptionFailed
        with pytest.raises(expected) as caught:
            HERE.decrypt(parse(bytes(changed)), b"aad")
        assert caught.value.__context__ is None
        texts |= {str(caught.value)} if position >= 8 else set()
    assert texts == {"decryption failed"}


def test_every_truncation_is_refused() -> None:
    ciphertext = HERE.encrypt(b"secret", b"aad")
    for length in range(len(ciphertext)):
        with pytest.raises(DecryptionFailed if length >= OVERHEAD else InvalidField):
            HERE.decrypt(parse(ciphertext[:length]), b"aad")


@given(st.binary(max_size=200))
def test_parsing_takes_apart_or_refuses(data: bytes) -> None:
    try:
        parsed = parse(data)
    except InvalidField:
        return
    whole = b"\x01" + parsed.uid + parsed.version.to_bytes(4, "big") + parsed.nonce + parsed.body
    assert whole == data
    assert parsed.version >= 1


@pytest.mark.parametrize("aad", [b"", b"a" * MAX_AAD], ids=len)
@pytest.mark.parametrize("plaintext", [b"", b"p" * (MAX_PLAINTEXT - 1), b"p" * MAX_PLAINTEXT], ids=len)
def test_up_to_the_limits(plaintext: bytes, aad: bytes) -> None:
    ciphertext = HERE.encrypt(plaintext, aad)
    assert HERE.decrypt(parse(ciphertext), aad) == plaintext
    raw = KEY.raw_encrypt(plaintext, aad)
    assert KEY.raw_decrypt(raw.nonce, raw.ciphertext, raw.tag, aad) == plaintext


def test_above_the_limits_the_field_is_named() -> None:
    long, aad = b"p" * (MAX_PLAINTEXT + 1), b"a" * (MAX_AAD + 1)
    good, raw = parse(HERE.encrypt(b"")), KEY.raw_encrypt(b"")
    for field, attempt in (
        ("plaintext", lambda: HERE.encrypt(long)),
        ("plaintext", lambda: KEY.raw_encrypt(long)),
        ("ciphertext", lambda: parse(bytes(MAX_CIPHERTEXT + 1))),
        ("ciphertext", lambda: KEY.raw_decrypt(raw.nonce, long, raw.tag)),
        ("additional_authenticated_data", lambda: HERE.encrypt(b"", aad)),
        ("additional_authenticated_data", lambda: HERE.decrypt(good, aad)),
        ("additional_authenticated_data", lambda: KEY.raw_encrypt(b"", aad)),
        ("additional_authenticated_data", lambda: KEY.raw_decrypt(raw.nonce, b"", raw.tag, aad)),
    ):
        with pytest.raises(LimitExceeded) as caught:
            attempt()
        assert caught.value.field == field


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_uid_of_another_length_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        VersionCipher(KEY, NAME, b"u" * length)


@given(plaintext=st.binary(max_size=100), aad=st.binary(max_size=50))
def test_raw_decrypt_gives_what_was_raw_encrypted(plaintext: bytes, aad: bytes) -> None:
    nonce, ciphertext, tag = KEY.raw_encrypt(plaintext, aad)
    assert (len(nonce), len(ciphertext), len(tag)) == (12, len(plaintext), 16)
    assert KEY.raw_decrypt(nonce, ciphertext, tag, aad) == plaintext


@pytest.mark.parametrize("field", RawCiphertext._fields)
def test_a_raw_ciphertext_with_a_changed_part_is_refused(field: str) -> None:
    raw = KEY.raw_encrypt(b"secret", b"aad")
    changed = raw._replace(**{field: bytes([getattr(raw, field)[0] ^ 1]) + getattr(raw, field)[1:]})
    with pytest.raises(DecryptionFailed):
        KEY.raw_decrypt(*changed, b"aad")
    with pytest.raises(DecryptionFailed):
        KEY.raw_decrypt(*raw, b"other")


@pytest.mark.parametrize("length", [0, 11, 13, 16])
def test_a_raw_nonce_has_12_bytes(length: int) -> None:
    with pytest.raises(InvalidField, match="nonce"):
        KEY.raw_decrypt(b"n" * length, b"", b"t" * 16)


@pytest.mark.parametrize("length", [0, 4, 12, 15, 17])
def test_a_raw_tag_has_16_bytes(length: int) -> None:
    """A shorter one would be guessed sooner."""
    raw = KEY.raw_encrypt(b"secret")
    with pytest.raises(InvalidField, match="tag"):
        KEY.raw_decrypt(raw.nonce, raw.ciphertext, (raw.tag + b"\x00")[:length])


def test_a_self_describing_ciphertext_does_not_open_as_a_raw_one() -> None:
    parsed = parse(HERE.encrypt(b"secret"))
    with pytest.raises(DecryptionFailed):
        KEY.raw_decrypt(parsed.nonce, parsed.body[:-16], parsed.body[-16:])


@pytest.mark.parametrize("steal", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda item: item.__name__)
def test_a_loaded_key_is_neither_copied_nor_pickled_and_does_not_print(steal) -> None:
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        steal(KEY)
    assert repr(KEY) == "AeadKey(AES_256_GCM)"
