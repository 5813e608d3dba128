"""The header of an envelope, and the keys that come from it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.crypto.aead import AeadKey
from kms.crypto.ciphertext import VersionCipher
from kms.crypto.envelope import (
    DATA_KEY_SIZE,
    Header,
    message_key,
    new_salt,
    read_commitment,
    verify_message_key,
)
from kms.errors import DecryptionFailed, InvalidField
from kms.model.algorithms import ALGORITHMS
from kms.model.names import KeyVersionName

NAME = KeyVersionName("acme", "prod", "orders", 3)
KEY = AeadKey(ALGORITHMS["AES_256_GCM"], SecretBytes(b"k" * 32))
WRAPPED = VersionCipher(KEY, NAME, b"u" * 16).encrypt(bytes(DATA_KEY_SIZE))
HEADER = Header(NAME, WRAPPED, bytes(32))
DATA_KEY = SecretBytes(b"d" * DATA_KEY_SIZE)


@given(salt=st.binary(min_size=32, max_size=32), rest=st.binary(max_size=40))
def test_header_is_read_as_it_was_written_and_no_further(salt: bytes, rest: bytes) -> None:
    header = Header(NAME, WRAPPED, salt)
    source = io.BytesIO(header.to_bytes() + rest)
    assert Header.read(source) == header
    assert source.read() == rest


@given(data=st.binary(max_size=300))
def test_whatever_is_read_as_a_header_is_printed_so(data: bytes) -> None:
    _reads_or_refuses(data)


@given(at=st.integers(0, len(HEADER.to_bytes()) - 1), value=st.integers(0, 255))
def test_header_with_a_changed_byte_is_read_as_another_or_refused(at: int, value: int) -> None:
    changed = bytearray(HEADER.to_bytes())
    changed[at] = value
    _reads_or_refuses(bytes(changed))


def _reads_or_refuses(data: bytes) -> None:
    try:
        header = Header.read(io.BytesIO(data))
    except InvalidField:
        return
    assert data.startswith(header.to_bytes())


@pytest.mark.parametrize("size", range(len(HEADER.to_bytes())))
def test_header_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(InvalidField):
        Header.read(io.BytesIO(HEADER.to_bytes()[:size]))


def test_commitment_that_is_cut_off_is_refused() -> None:
    assert read_commitment(io.BytesIO(bytes(33))) == bytes(32)
    with pytest.raises(InvalidField, match="cut off"):
        read_commitment(io.BytesIO(bytes(31)))


def test_message_key_is_given_only_for_its_own_commitment() -> None:
    commitment, key = message_key(DATA_KEY, HEADER, b"aad")
    assert verify_message_key(DATA_KEY, HEADER, b"aad", commitment) == key
    others = [
        (SecretBytes(b"e" * DATA_KEY_SIZE), HEADER, b"aad"),
        (DATA_KEY, Header(NAME, WRAPPED, b"s" * 32), b"aad"),
        (DATA_KEY, HEADER, b"aae"),
        (SecretBytes(b"d" * 16), HEADER, b"aad"),
    ]
    for data_key, header, aad in others:
        with pytest.raises(DecryptionFailed):
            verify_message_key(data_key, header, aad, commitment)


def test_every_envelope_has_a_salt_and_so_a_key_of_its_own() -> None:
    keys = {message_key(DATA_KEY, Header(NAME, WRAPPED, new_salt()), b"")[1] for _ in range(100)}
    assert len(keys) == 100


def test_data_key_moved_by_the_kms_keeps_the_message_key() -> None:
    moved = Header(KeyVersionName("acme", "prod", "archive", 3), WRAPPED, HEADER.salt)
    assert message_key(DATA_KEY, moved, b"a") == message_key(DATA_KEY, HEADER, b"a")
