"""A share is unwrapped by one key, under its own header, or not at all."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.crypto.wrapped_share import (
    ShareHeader,
    ShareNotUnwrapped,
    WrappedShare,
    fingerprint,
    new_key,
    unwrap_share,
    wrap_share,
)
from kms.errors import InvalidField

SHARE = SecretBytes(b"some thirty-three words")
HEADER = ShareHeader(b"0123456789abcdef", number=2, threshold=3, count=5)
PRIVATE, PUBLIC = new_key(None)
WRAPPED = wrap_share(SHARE, HEADER, PUBLIC)


def test_holder_unwraps_it() -> None:
    assert unwrap_share(WrappedShare.parse(WRAPPED.to_bytes()), PRIVATE, None).reveal() == SHARE.reveal()


def test_file_names_its_recipient_and_is_no_share_in_clear() -> None:
    assert WRAPPED.recipient == fingerprint(PUBLIC)
    assert SHARE.reveal() not in WRAPPED.to_bytes()
    assert wrap_share(SHARE, HEADER, PUBLIC).wrapped != WRAPPED.wrapped


CHANGES: dict[str, WrappedShare] = {
    "another store": replace(WRAPPED, header=replace(HEADER, store_id=b"fedcba9876543210")),
    "another number": replace(WRAPPED, header=replace(HEADER, number=1)),
    "another threshold": replace(WRAPPED, header=replace(HEADER, threshold=2)),
    "another count": replace(WRAPPED, header=replace(HEADER, count=6)),
    "another recipient": replace(WRAPPED, recipient=fingerprint(new_key(None)[1])),
    "a changed byte": replace(WRAPPED, wrapped=WRAPPED.wrapped[:-1] + bytes([WRAPPED.wrapped[-1] ^ 1])),
    "cut short": replace(WRAPPED, wrapped=WRAPPED.wrapped[:20]),
    "nothing": replace(WRAPPED, wrapped=b""),
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_does_not_unwrap(changed: WrappedShare) -> None:
    with pytest.raises(ShareNotUnwrapped) as caught:
        unwrap_share(WrappedShare.parse(changed.to_bytes()), PRIVATE, None)
    assert caught.value.__context__ is None


def test_another_key_does_not_unwrap_it() -> None:
    with pytest.raises(ShareNotUnwrapped):
        unwrap_share(WRAPPED, new_key(None)[0], None)


def test_private_key_may_have_a_passphrase() -> None:
    private, public = new_key(SecretBytes(b"correct horse"))
    assert b"ENCRYPTED" in private.reveal()
    wrapped = wrap_share(SHARE, HEADER, public)
    assert unwrap_share(wrapped, private, SecretBytes(b"correct horse")).reveal() == SHARE.reveal()
    for passphrase in (None, SecretBytes(b"battery staple")):
        with pytest.raises(InvalidField, match="passphrase is another one"):
            unwrap_share(wrapped, private, passphrase)


def x25519_pem(raw: bytes) -> bytes:
    return X25519PublicKey.from_public_bytes(raw).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


ED25519 = Ed25519PrivateKey.generate()
NO_KEYS: dict[str, bytes] = {
    "empty": b"",
    "a private key": PRIVATE.reveal(),
    "of a curve for signatures": ED25519.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ),
    "the point zero": x25519_pem(bytes(32)),
    "the point one": x25519_pem((1).to_bytes(32, "little")),
}


@pytest.mark.parametrize("key", NO_KEYS.values(), ids=NO_KEYS)
def test_nothing_is_wrapped_to_what_is_no_holders_key(key: bytes) -> None:
    with pytest.raises(InvalidField, match="share_key"):
        wrap_share(SHARE, HEADER, key)


def test_key_for_signatures_unwraps_nothing() -> None:
    pem = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidField, match="not an X25519 private key"):
        unwrap_share(WRAPPED, SecretBytes(pem), None)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a line end": lambda body: body + b"\n",
    "a list": lambda _: b"[]",
    "not canonical": lambda body: body.replace(b":", b": ", 1),
    "another schema": lambda body: body.replace(b"kms/v1", b"kms/v2"),
    "a number as text": lambda body: body.replace(b'"number":2', b'"number":"2"'),
    "a number that is true": lambda body: body.replace(b'"number":2', b'"number":true'),
    "a recipient that is no text": lambda body: body.replace(b'"sha256:', b'1,"x":"sha256:'),
    "a short store id": lambda body: body.replace(HEADER.store_id.hex().encode(), b"00"),
    "a field more": lambda body: body.replace(b'{"count"', b'{"also":1,"count"'),
    "very long": lambda body: body.replace(b'"wrapped":"', b'"wrapped":"' + b"A" * 8000),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_file_is_refused(damage: Callable[[bytes], bytes]) -> None:
    assert damage(WRAPPED.to_bytes()) != WRAPPED.to_bytes()
    with pytest.raises(InvalidField, match="is not a share"):
        WrappedShare.parse(damage(WRAPPED.to_bytes()))


@given(st.binary(max_size=300))
def test_whatever_is_read_is_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(InvalidField):
        WrappedShare.parse(data)
