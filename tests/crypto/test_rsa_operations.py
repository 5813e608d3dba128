"""OAEP and PSS keys: what they accept, what they refuse, and what a public half may do."""

import hashlib

import pytest

from blindfold.secret import SecretBytes
from kms.crypto.key_handle import expect, load, load_public
from kms.crypto.rsa_oaep import OaepKey
from kms.crypto.rsa_pss import PssKey
from kms.errors import (
    DecryptionFailed,
    InvalidField,
    LimitExceeded,
    PublicOnly,
    SignatureInvalid,
    StoreTampered,
)
from kms.model.algorithms import ALGORITHMS, MAX_AAD, MAX_PLAINTEXT, Algorithm, Family
from testvectors.kms_material import RsaKey, pkcs1_v15

KEYS = {2048: RsaKey.fixed("imported"), 3072: RsaKey.fixed("recipient")}
OTHER = RsaKey.fixed("close")


def algorithms(family: Family) -> list[Algorithm]:
    """Those with a key at hand; 4096 bits are of the slow test of generation."""
    return [item for item in ALGORITHMS.values() if item.family is family and item.key_bits in KEYS]


def oaep(algorithm: Algorithm | None = None) -> OaepKey:
    algorithm = algorithm or ALGORITHMS["RSA_OAEP_2048_SHA256"]
    return expect(load(algorithm, SecretBytes(KEYS[algorithm.key_bits].pkcs8())), OaepKey)


def pss(algorithm: Algorithm | None = None) -> PssKey:
    algorithm = algorithm or ALGORITHMS["RSA_PSS_2048_SHA256"]
    return expect(load(algorithm, SecretBytes(KEYS[algorithm.key_bits].pkcs8())), PssKey)


@pytest.mark.parametrize("label", [b"", b"order 1729", b"l" * MAX_AAD], ids=len)
@pytest.mark.parametrize("algorithm", algorithms(Family.RSA_OAEP), ids=lambda item: item.name)
def test_what_the_public_half_encrypts_the_private_half_decrypts(algorithm: Algorithm, label: bytes) -> None:
    key = oaep(algorithm)
    public = expect(load_public(algorithm, key.public_key), OaepKey)
    plaintext = b"p" * public.max_plaintext
    ciphertext = public.encrypt(plaintext, label)
    assert len(ciphertext) == algorithm.key_bits // 8
    assert key.decrypt(ciphertext, label) == plaintext


def test_oaep_has_room_for_the_modulus_less_two_hashes_and_two_bytes() -> None:
    key = oaep()
    assert key.max_plaintext == 256 - 2 * 32 - 2
    assert key.decrypt(key.encrypt(b"")) == b""
    with pytest.raises(LimitExceeded, match="at most 190 bytes"):
        key.encrypt(b"p" * 191)


def test_a_label_above_its_limit_is_refused_both_ways() -> None:
    key, label = oaep(), b"l" * (MAX_AAD + 1)
    for attempt in (lambda: key.encrypt(b"", label), lambda: key.decrypt(bytes(256), label)):
        with pytest.raises(LimitExceeded, match="label"):
            attempt()


OAEP_ALTERATIONS = {
    "another label": lambda ciphertext: (ciphertext, b"other"),
    "no label": lambda ciphertext: (ciphertext, b""),
    "the first bit": lambda ciphertext: (bytes([ciphertext[0] ^ 1]) + ciphertext[1:], b"label"),
    "the last bit": lambda ciphertext: (ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]), b"label"),
    "zero": lambda ciphertext: (bytes(256), b"label"),
    "one": lambda ciphertext: (bytes(255) + b"\x01", b"label"),
    "n": lambda ciphertext: (KEYS[2048].n.to_bytes(256, "big"), b"label"),
    "above n": lambda ciphertext: (b"\xff" * 256, b"label"),
    "PKCS#1 v1.5": lambda ciphertext: (pkcs1_v15(KEYS[2048], b"secret", b"\x7f"), b""),
}


@pytest.mark.parametrize("alteration", OAEP_ALTERATIONS)
def test_whatever_is_wrong_decryption_fails_with_one_error(alteration: str) -> None:
    key = oaep()
    ciphertext, label = OAEP_ALTERATIONS[alteration](key.encrypt(b"secret", b"label"))
    with pytest.raises(DecryptionFailed, match=r"^decryption failed$") as caught:
        key.decrypt(ciphertext, label)
    assert caught.value.__context__ is None


def test_another_hash_does_not_decrypt() -> None:
    ciphertext = oaep().encrypt(b"secret")
    with pytest.raises(DecryptionFailed):
        oaep(ALGORITHMS["RSA_OAEP_2048_SHA384"]).decrypt(ciphertext)


@pytest.mark.parametrize("length", [0, 255, 257, 384])
def test_a_ciphertext_is_as_long_as_the_modulus(length: int) -> None:
    with pytest.raises(InvalidField, match="must have 256 bytes"):
        oaep().decrypt(bytes(length))


@pytest.mark.parametrize("algorithm", algorithms(Family.RSA_PSS), ids=lambda item: item.name)
def test_message_and_digest_are_signed_alike(algorithm: Algorithm) -> None:
    key, message = pss(algorithm), b"a message"
    public = expect(load_public(algorithm, key.public_key), PssKey)
    digest = hashlib.new(algorithm.hash_name, message).digest()
    for signature in (key.sign(message), key.sign_digest(digest)):
        assert len(signature) == algorithm.key_bits // 8
        assert public.verify(message, signature) == message
        assert public.verify_digest(digest, signature) == digest


def test_signatures_are_salted() -> None:
    key = pss()
    assert key.sign(b"message") != key.sign(b"message")


PSS_ALTERATIONS = {
    "another message": lambda signature: (b"massage", signature),
    "an empty message": lambda signature: (b"", signature),
    "the first bit": lambda signature: (b"message", bytes([signature[0] ^ 1]) + signature[1:]),
    "the last bit": lambda signature: (b"message", signature[:-1] + bytes([signature[-1] ^ 1])),
    "a byte short": lambda signature: (b"message", signature[1:]),
    "a byte long": lambda signature: (b"message", b"\x00" + signature),
    "empty": lambda signature: (b"message", b""),
    "zero": lambda signature: (b"message", bytes(256)),
    "plus n": lambda signature: (
        b"message",
        (int.from_bytes(signature, "big") + KEYS[2048].n).to_bytes(257, "big"),
    ),
}


@pytest.mark.parametrize("alteration", PSS_ALTERATIONS)
def test_whatever_is_wrong_verification_fails_with_one_error(alteration: str) -> None:
    key = pss()
    message, signature = PSS_ALTERATIONS[alteration](key.sign(b"message"))
    for attempt in (
        lambda: key.verify(message, signature),
        lambda: key.verify_digest(hashlib.sha256(message).digest(), signature),
    ):
        with pytest.raises(SignatureInvalid, match=r"^the signature does not verify$") as caught:
            attempt()
        assert caught.value.__context__ is None


def test_another_key_and_another_hash_do_not_verify() -> None:
    signature = pss().sign(b"message")
    other = load_public(ALGORITHMS["RSA_PSS_2048_SHA256"], OTHER.spki())
    for key in (expect(other, PssKey), pss(ALGORITHMS["RSA_PSS_2048_SHA512"])):
        with pytest.raises(SignatureInvalid):
            key.verify(b"message", signature)


@pytest.mark.parametrize("length", [0, 20, 31, 33, 64])
def test_a_digest_is_as_long_as_its_hash(length: int) -> None:
    key = pss()
    for attempt in (lambda: key.sign_digest(bytes(length)), lambda: key.verify_digest(bytes(length), b"")):
        with pytest.raises(InvalidField, match="a sha256 digest has 32 bytes"):
            attempt()


def test_messages_are_limited_and_digests_are_not_theirs() -> None:
    key, limit = pss(), b"m" * MAX_PLAINTEXT
    assert key.verify(limit, key.sign(limit)) == limit
    for attempt in (lambda: key.sign(limit + b"m"), lambda: key.verify(limit + b"m", b"")):
        with pytest.raises(LimitExceeded, match="message"):
            attempt()


def test_a_public_half_refuses_private_operations() -> None:
    encrypts = expect(load_public(ALGORITHMS["RSA_OAEP_2048_SHA256"], KEYS[2048].spki()), OaepKey)
    verifies = expect(load_public(ALGORITHMS["RSA_PSS_2048_SHA256"], KEYS[2048].spki()), PssKey)
    for attempt in (
        lambda: encrypts.decrypt(bytes(256)),
        lambda: verifies.sign(b"message"),
        lambda: verifies.sign_digest(bytes(32)),
    ):
        with pytest.raises(PublicOnly):
            attempt()


def test_signing_and_decrypting_do_not_mix() -> None:
    """One pair of primes under two algorithms gives two kinds of key."""
    assert not hasattr(oaep(), "sign")
    assert not hasattr(pss(), "decrypt")


@pytest.mark.parametrize("stored", [b"", b"not a key", RsaKey.fixed("imported").spki()], ids=len)
def test_a_stored_key_that_does_not_load_is_tampering(stored: bytes) -> None:
    with pytest.raises(StoreTampered, match="does not load") as caught:
        load(ALGORITHMS["RSA_PSS_2048_SHA256"], SecretBytes(stored))
    assert caught.value.__context__ is None
