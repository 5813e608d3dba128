"""A wrapped key unwraps in its own place, under its own key, or not at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.crypto.wrapping import UnwrapFailed, _aad, _wrap_with, unwrap, wrap

KEK = SecretBytes(b"k" * 32)
PLACE: dict[str, Any] = {
    "resource": "tenants/acme",
    "version": 3,
    "algorithm": "AES_256_GCM",
    "purpose": "WRAP_KEY_VERSIONS",
}
OTHERS: list[dict[str, Any]] = [
    {"resource": "tenants/acm"},
    {"resource": "tenants/other"},
    {"version": 4},
    {"algorithm": "AES_128_GCM"},
    {"purpose": "ANYTHING"},
    {"resource": "tenants/acm", "algorithm": "eAES_256_GCM"},
]


@given(st.binary(max_size=2000))
def test_unwrap_gives_what_was_wrapped(plaintext: bytes) -> None:
    wrapped = wrap(KEK, SecretBytes(plaintext), **PLACE)
    assert unwrap(KEK, wrapped, **PLACE).reveal() == plaintext
    assert len(wrapped) == 1 + 12 + len(plaintext) + 16


def test_the_nonce_is_new_each_time() -> None:
    wrapped = {wrap(KEK, SecretBytes(b"same"), **PLACE)[1:13] for _ in range(100)}
    assert len(wrapped) == 100


@pytest.mark.parametrize("change", OTHERS, ids=str)
def test_a_wrapped_key_does_not_unwrap_in_another_place(change: dict[str, Any]) -> None:
    wrapped = wrap(KEK, SecretBytes(b"key"), **PLACE)
    with pytest.raises(UnwrapFailed):
        unwrap(KEK, wrapped, **{**PLACE, **change})


def test_a_wrapped_key_does_not_unwrap_under_another_key() -> None:
    wrapped = wrap(KEK, SecretBytes(b"key"), **PLACE)
    with pytest.raises(UnwrapFailed):
        unwrap(SecretBytes(b"K" * 32), wrapped, **PLACE)


def test_every_flipped_bit_is_refused_by_the_same_error() -> None:
    wrapped = wrap(KEK, SecretBytes(b"key"), **PLACE)
    errors = set()
    for position in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(UnwrapFailed) as caught:
            unwrap(KEK, bytes(changed), **PLACE)
        errors.add(str(caught.value))
        assert caught.value.__context__ is None
    assert len(errors) == 1


@pytest.mark.parametrize("length", [0, 1, 12, 28])
def test_what_is_too_short_is_refused(length: int) -> None:
    with pytest.raises(UnwrapFailed):
        unwrap(KEK, wrap(KEK, SecretBytes(b""), **PLACE)[:length], **PLACE)


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_a_wrapping_key_of_another_size_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        wrap(SecretBytes(b"k" * length), SecretBytes(b"key"), **PLACE)


def test_the_format_is_fixed() -> None:
    """A regression vector: stores already written depend on it."""
    aad = _aad("tenants/acme", 3, "AES_256_GCM", "WRAP_KEY_VERSIONS")
    assert aad.hex() == (
        "01000c74656e616e74732f61636d6500000003000b4145535f3235365f47434d0011575241505f4b45595f56455253494f4e53"
    )
    wrapped = _wrap_with(KEK, SecretBytes(b"\x00" * 16), aad, nonce=b"n" * 12)
    assert wrapped[:13] == b"\x01" + b"n" * 12
    assert unwrap(KEK, wrapped, **PLACE).reveal() == b"\x00" * 16
