"""The three forms of a sealed secret: binary, one-line text, and the location that sidecar clients send.

Each has one spelling; every other is refused (docs/spec/blindfold.md, "Forms").
"""

import base64
import binascii

from blindfold._encoding import b64url, unb64url
from blindfold.envelope import MAGIC
from blindfold.errors import Corrupt, InputInvalid, NotSealed

TEXT_PREFIX = "blindfold:v1:"
LOCATION_PREFIX = "string:///"
# Text and locations are for secrets that fit a configuration file; anything larger is a file.
MAX_TEXT = 16 << 20
_LINE_END = 2


def to_text(sealed: bytes) -> str:
    """`blindfold:v1:` and base64url without padding, one line, no newline.

    Raises `InputInvalid` where the text would be larger than `from_any` reads.
    """
    return _limited(TEXT_PREFIX + b64url(sealed))


def from_text(text: str) -> bytes:
    """The inverse of `to_text`. Raises `NotSealed` or `Corrupt`."""
    if not text.startswith(TEXT_PREFIX):
        raise NotSealed(f"not a sealed secret: it does not begin with {TEXT_PREFIX}")
    return unb64url(text[len(TEXT_PREFIX) :])


def to_location(sealed: bytes) -> str:
    """`string:///` and standard base64 with padding. Raises as `to_text`."""
    return _limited(LOCATION_PREFIX + base64.b64encode(sealed).decode("ascii"))


def from_location(location: str) -> bytes:
    """The inverse of `to_location`. Raises `NotSealed` or `Corrupt`."""
    if not location.startswith(LOCATION_PREFIX):
        raise NotSealed(f"not a location: it does not begin with {LOCATION_PREFIX}")
    text = location[len(LOCATION_PREFIX) :]
    try:
        sealed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        sealed = None
    if sealed is None or base64.b64encode(sealed).decode("ascii") != text:
        raise Corrupt("not canonical base64")
    return sealed


def from_any(data: bytes) -> bytes:
    """The binary form of whichever form data is in; a text may end in one newline.

    Raises `NotSealed` or `Corrupt`.
    """
    if data.startswith(MAGIC):
        return data
    if len(data) > MAX_TEXT:
        raise NotSealed("not a sealed secret: neither its magic bytes nor a text of at most 16 MiB")
    text = data.decode("ascii", "replace")
    text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    return from_location(text) if text.startswith(LOCATION_PREFIX) else from_text(text)


def _limited(text: str) -> str:
    if len(text) > MAX_TEXT - _LINE_END:
        raise InputInvalid("too large for a text of at most 16 MiB; keep it as a file")
    return text
