"""Binary, text and location: one spelling each."""

import base64

import pytest

from blindfold.envelope import MAGIC
from blindfold.errors import BlindfoldError, Corrupt, InputInvalid, NotSealed
from blindfold.forms import MAX_TEXT, from_any, from_location, from_text, to_location, to_text
from testvectors import material

SEALED = material.sealed()
TEXT, LOCATION = to_text(SEALED), to_location(SEALED)


def test_text_is_one_line_of_base64url_without_padding() -> None:
    assert "blindfold:v1:" + base64.urlsafe_b64encode(SEALED).decode().rstrip("=") == TEXT
    assert from_text(TEXT) == SEALED


def test_location_is_standard_base64_with_padding() -> None:
    assert "string:///" + base64.b64encode(SEALED).decode() == LOCATION
    assert from_location(LOCATION) == SEALED


@pytest.mark.parametrize(
    "data",
    [
        SEALED,
        TEXT.encode(),
        LOCATION.encode(),
        TEXT.encode() + b"\n",
        TEXT.encode() + b"\r\n",
        LOCATION.encode() + b"\n",
        LOCATION.encode() + b"\r\n",
    ],
    ids=["binary", "text", "location", "text LF", "text CR LF", "location LF", "location CR LF"],
)
def test_any_form_gives_the_same_bytes(data: bytes) -> None:
    assert from_any(data) == SEALED


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", NotSealed),
        ("blindfold:v2:AAAA", NotSealed),
        ("BLINDFOLD:V1:AAAA", NotSealed),
        (" " + TEXT, NotSealed),
        (TEXT + "=", Corrupt),
        (TEXT + "\n", Corrupt),
        (TEXT[:20] + "\n" + TEXT[20:], Corrupt),
        (TEXT[:20] + " " + TEXT[20:], Corrupt),
        ("blindfold:v1:A", Corrupt),
        ("blindfold:v1:AB", Corrupt),
        ("blindfold:v1:+/+/", Corrupt),
        ("blindfold:v1:AAA\u0410", Corrupt),
    ],
)
def test_text_of_another_spelling_is_refused(text: str, error: type[BlindfoldError]) -> None:
    with pytest.raises(error) as caught:
        from_text(text)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("", NotSealed),
        ("string://AAAA", NotSealed),
        ("file:///AAAA", NotSealed),
        (LOCATION + "\n", Corrupt),
        ("string:///AA", Corrupt),
        ("string:///AB==", Corrupt),
        ("string:///AAAA====", Corrupt),
        ("string:///-_-_", Corrupt),
        ("string:///AA AA", Corrupt),
        ("string:///AAA\u0410", Corrupt),
    ],
)
def test_location_of_another_spelling_is_refused(location: str, error: type[BlindfoldError]) -> None:
    with pytest.raises(error) as caught:
        from_location(location)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("ending", [b"\n\n", b"\r", b"\n\r", b"\r\n\r\n", b"\r\r\n", b" ", b"\x00", b"\xff"])
def test_text_ends_in_one_newline_at_most(ending: bytes) -> None:
    for text in (TEXT, LOCATION):
        with pytest.raises(Corrupt):
            from_any(text.encode() + ending)


def test_what_is_printed_as_text_can_be_read_again_up_to_the_limit() -> None:
    for printer, size in ((to_text, (MAX_TEXT - 15) // 4 * 3), (to_location, (MAX_TEXT - 12) // 4 * 3)):
        largest = bytes(size)
        assert from_any(printer(largest).encode() + b"\r\n") == largest
        with pytest.raises(InputInvalid, match="16 MiB"):
            printer(largest + bytes(3))


def test_large_input_that_is_no_binary_form_is_not_decoded() -> None:
    with pytest.raises(NotSealed):
        from_any(b"blindfold:v1:" + b"A" * MAX_TEXT)
    large = MAGIC + bytes(MAX_TEXT)
    assert from_any(large) is large
