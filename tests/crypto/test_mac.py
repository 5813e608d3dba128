"""Codes of messages: made, compared in whole, and keys of every allowed length."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.crypto.key_handle import accept_private, generate
from kms.crypto.mac import MacKey
from kms.errors import InvalidField, LimitExceeded, MacInvalid
from kms.model.algorithms import ALGORITHMS, MAX_PLAINTEXT

HMAC = ALGORITHMS["HMAC_SHA256"]
KEY = MacKey(HMAC, SecretBytes(b"k" * 32))


@given(st.binary(min_size=16, max_size=128), st.binary(max_size=200))
def test_a_code_is_hmac_and_verifies(key: bytes, message: bytes) -> None:
    handle = MacKey(HMAC, SecretBytes(key))
    code = handle.mac(message)
    assert code == hmac.new(key, message, "sha256").digest()
    assert handle.verify(message, code) == message


def test_every_flipped_bit_and_every_truncation_is_refused() -> None:
    code = KEY.mac(b"message")
    flips = [
        bytes(a ^ (bit >> 8 * i & 255) for i, a in enumerate(code)) for bit in (1 << n for n in range(256))
    ]
    for wrong in [*flips, *(code[:length] for length in range(32)), code + b"\x00", code + code]:
        with pytest.raises(MacInvalid, match=r"^the message authentication code does not verify$"):
            KEY.verify(b"message", wrong)


def test_a_code_is_of_one_message_and_one_key() -> None:
    code = KEY.mac(b"message")
    with pytest.raises(MacInvalid):
        KEY.verify(b"massage", code)
    with pytest.raises(MacInvalid):
        MacKey(HMAC, SecretBytes(b"K" * 32)).verify(b"message", code)


def test_messages_up_to_the_limit() -> None:
    limit = b"m" * MAX_PLAINTEXT
    assert KEY.verify(limit, KEY.mac(limit)) == limit
    for attempt in (lambda: KEY.mac(limit + b"m"), lambda: KEY.verify(limit + b"m", b"")):
        with pytest.raises(LimitExceeded, match="message"):
            attempt()


def test_generated_keys_have_32_bytes() -> None:
    assert len(generate(HMAC).material) == 32


@pytest.mark.parametrize("length", [16, 17, 32, 64, 65, 128])
def test_keys_of_allowed_lengths_are_accepted(length: int) -> None:
    assert accept_private(HMAC, SecretBytes(b"k" * length)).material.reveal() == b"k" * length


@pytest.mark.parametrize("length", [0, 1, 14, 15, 129, 1000])
def test_keys_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(InvalidField, match=f"not {length}"):
        accept_private(HMAC, SecretBytes(b"k" * length))
