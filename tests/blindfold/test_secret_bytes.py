"""Secrets have a type and one loud exit."""

import copy
import json
import operator
import pickle
from collections.abc import Callable

import pytest

from blindfold import SecretBytes

SECRET = b"\x01never print me\xff"


def test_reveal_is_the_way_out() -> None:
    assert SecretBytes(SECRET).reveal() == SECRET
    assert SecretBytes(bytearray(SECRET)).reveal() == SECRET
    assert SecretBytes(memoryview(SECRET)).reveal() == SECRET
    assert SecretBytes(b"").reveal() == b""


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, lambda s: "%s" % s])  # noqa: UP031
def test_text_shows_the_length_alone(show: Callable[[object], str]) -> None:
    assert show(SecretBytes(SECRET)) == f"SecretBytes({len(SECRET)} bytes)"
    assert show([SecretBytes(SECRET)]) == f"[SecretBytes({len(SECRET)} bytes)]"


ATTEMPTS: dict[str, Callable[[SecretBytes], object]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "old pickle": lambda secret: pickle.dumps(secret, protocol=0),
    "hash": hash,
    "set": lambda secret: {secret},
    "equal to itself": lambda secret: secret == secret,
    "equal to bytes": lambda secret: secret == SECRET,
    "bytes equal to it": lambda secret: operator.eq(SECRET, secret),
    "not equal": lambda secret: secret != SECRET,
    "less": lambda secret: secret < secret,  # type: ignore[operator]
    "bytes()": bytes,  # type: ignore[dict-item]
    "index": lambda secret: secret[0],  # type: ignore[index]
    "iterate": lambda secret: list(secret),  # type: ignore[call-overload]
    "add": lambda secret: secret + b"",  # type: ignore[operator]
    "json": json.dumps,
    "memoryview": memoryview,  # type: ignore[dict-item]
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_no_other_way_out(attempt: Callable[[SecretBytes], object]) -> None:
    with pytest.raises(TypeError) as caught:
        attempt(SecretBytes(SECRET))
    assert "never print me" not in str(caught.value)


def test_no_attribute_can_be_added() -> None:
    with pytest.raises(AttributeError):
        SecretBytes(SECRET).note = 1  # type: ignore[attr-defined]


def test_wipe_zeroes_the_buffer_and_keeps_the_length() -> None:
    secret = SecretBytes(SECRET)
    buffer = secret._buffer
    secret.wipe()
    assert secret.reveal() == bytes(len(SECRET)) == bytes(buffer)
    assert len(secret) == len(SECRET)


def test_leaving_the_context_wipes() -> None:
    with SecretBytes(SECRET) as secret:
        buffer = secret._buffer
        assert secret.reveal() == SECRET
    assert bytes(buffer) == bytes(len(SECRET))


def test_end_of_life_wipes() -> None:
    secret = SecretBytes(SECRET)
    buffer = secret._buffer
    del secret
    assert bytes(buffer) == bytes(len(SECRET))


def test_source_is_copied_not_shared() -> None:
    source = bytearray(SECRET)
    secret = SecretBytes(source)
    source[:] = bytes(len(source))
    assert secret.reveal() == SECRET


def test_construction_that_fails_raises_no_second_error() -> None:
    with pytest.raises(TypeError):
        SecretBytes("text")  # type: ignore[arg-type]
