"""Material comes out as it went in, for whoever holds the recipient's private key."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.crypto import key_wrapping
from kms.crypto.key_handle import accept_private
from kms.crypto.key_wrapping import MAX_MATERIAL, Recipient, Unwrapper, proof_message
from kms.errors import DecryptionFailed, InvalidField, LimitExceeded, SignatureInvalid
from kms.model.algorithms import ALGORITHMS
from testvectors.kms_material import RsaKey

KEY = RsaKey.fixed("recipient")
RECIPIENT = Recipient(KEY.spki())
UNWRAPPER = Unwrapper(SecretBytes(KEY.pkcs8()))
NAME = "tenants/acme/namespaces/prod/keys/orders/versions/3"


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_unwrap_gives_what_was_wrapped(material: bytes) -> None:
    wrapped = RECIPIENT.wrap(SecretBytes(material))
    assert UNWRAPPER.unwrap(wrapped).reveal() == material
    assert len(wrapped) == 384 + 8 + -(-len(material) // 8) * 8


def test_wrapping_twice_gives_other_bytes() -> None:
    material = SecretBytes(b"m" * 32)
    first, second = RECIPIENT.wrap(material), RECIPIENT.wrap(material)
    assert first[:384] != second[:384]
    assert first[384:] != second[384:]


@pytest.mark.parametrize("length", [1, 7, 8, 9, MAX_MATERIAL - 1, MAX_MATERIAL])
def test_material_up_to_the_limit_is_wrapped(length: int) -> None:
    material = b"m" * length
    assert UNWRAPPER.unwrap(RECIPIENT.wrap(SecretBytes(material))).reveal() == material


@pytest.mark.parametrize("length", [0, MAX_MATERIAL + 1])
def test_other_lengths_are_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="1 to 4096"):
        RECIPIENT.wrap(SecretBytes(b"m" * length))


def test_longer_wrapped_material_is_refused_before_any_decryption() -> None:
    with pytest.raises(LimitExceeded):
        UNWRAPPER.unwrap(bytes(384 + MAX_MATERIAL + 16))


@pytest.mark.parametrize("length", [0, 383, 384, 392, 399, 401, 423])
def test_impossible_lengths_are_refused_as_such(length: int) -> None:
    with pytest.raises(InvalidField, match=f"it has {length}"):
        UNWRAPPER.unwrap(bytes(length))


def test_another_recipient_does_not_unwrap() -> None:
    other = Unwrapper(key_wrapping.generate().material)
    with pytest.raises(DecryptionFailed):
        other.unwrap(RECIPIENT.wrap(SecretBytes(b"m" * 32)))


def test_every_changed_byte_is_refused_by_the_same_error() -> None:
    wrapped = RECIPIENT.wrap(SecretBytes(b"m" * 32))
    texts = set()
    for position in [*range(0, 384, 48), *range(384, len(wrapped))]:
        changed = bytearray(wrapped)
        changed[position] ^= 1
        with pytest.raises(DecryptionFailed) as caught:
            UNWRAPPER.unwrap(bytes(changed))
        assert caught.value.__context__ is None
        texts.add(str(caught.value))
    assert texts == {"decryption failed"}


def test_parts_of_two_wrappings_do_not_go_together() -> None:
    first, second = (RECIPIENT.wrap(SecretBytes(b"m" * 32)) for _ in range(2))
    with pytest.raises(DecryptionFailed):
        UNWRAPPER.unwrap(first[:384] + second[384:])


@pytest.mark.parametrize("label", ["short", "imported"])
def test_a_recipient_of_another_size_is_refused(label: str) -> None:
    with pytest.raises(InvalidField, match="3072 or 4096 are expected"):
        Recipient(RsaKey.fixed(label).spki(), "recipient")
    with pytest.raises(ValueError, match="does not have"):
        Unwrapper(SecretBytes(RsaKey.fixed(label).pkcs8()))


def test_a_recipient_is_a_public_key_in_der() -> None:
    for wrong in (b"", KEY.pkcs8(), KEY.spki() + b"\x00"):
        with pytest.raises(InvalidField, match="SubjectPublicKeyInfo"):
            Recipient(wrong)


def test_generated_recipients_have_an_allowed_size() -> None:
    made = key_wrapping.generate()
    accept_private(ALGORITHMS["RSA_OAEP_3072_SHA256"], made.material)
    assert (
        Unwrapper(made.material).unwrap(Recipient(made.public_key).wrap(SecretBytes(b"m"))).reveal() == b"m"
    )
    with pytest.raises(ValueError, match="3072 or 4096"):
        key_wrapping.generate(2048)


NONCE, REQUEST = b"n" * 32, hashlib.sha256(b"request").digest()
OTHER_PROOFS = {
    "another nonce": proof_message(b"N" * 32, NAME, REQUEST),
    "another key": proof_message(NONCE, NAME[:-1] + "4", REQUEST),
    "another request": proof_message(NONCE, NAME, hashlib.sha256(b"other").digest()),
    "no domain": proof_message(NONCE, NAME, REQUEST)[14:],
}


def test_a_recipient_proves_that_it_holds_its_key() -> None:
    message = proof_message(NONCE, NAME, REQUEST)
    assert RECIPIENT.verify_proof(message, UNWRAPPER.prove(message)) == message


@pytest.mark.parametrize("other", OTHER_PROOFS)
def test_a_proof_is_of_one_nonce_one_key_and_one_request(other: str) -> None:
    signature = UNWRAPPER.prove(OTHER_PROOFS[other])
    with pytest.raises(SignatureInvalid):
        RECIPIENT.verify_proof(proof_message(NONCE, NAME, REQUEST), signature)


def test_the_proof_has_the_form_of_the_specification() -> None:
    name = NAME.encode()
    expected = (
        b"kms/v1 export\x00" + b"\x00\x20" + NONCE + bytes([0, len(name)]) + name + b"\x00\x20" + REQUEST
    )
    assert proof_message(NONCE, NAME, REQUEST) == expected


@pytest.mark.parametrize(("nonce", "digest"), [(31, 32), (33, 32), (32, 31), (32, 0)])
def test_a_proof_of_other_sizes_is_a_mistake(nonce: int, digest: int) -> None:
    with pytest.raises(ValueError, match="32 bytes each"):
        proof_message(bytes(nonce), NAME, bytes(digest))
