"""The byte encodings that every structure of the specification is built from. Public bytes only."""

import base64
import binascii

from blindfold.errors import Corrupt

MAX_LP = 0xFFFF


def lp(value: bytes) -> bytes:
    """Length prefix: u16be(len(value)) || value. Raises `ValueError` above 65,535 bytes."""
    if len(value) > MAX_LP:
        raise ValueError(f"{len(value)} bytes do not fit a 16-bit length prefix")
    return len(value).to_bytes(2, "big") + value


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def b64url(value: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def unb64url(text: str) -> bytes:
    """The inverse of `b64url`. Raises `Corrupt` for anything `b64url` would not have written."""
    try:
        value = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError):
        value = None
    if value is None or b64url(value) != text:
        raise Corrupt("not canonical base64url without padding")
    return value


class Reader:
    """Takes fields off the front of public bytes. Raises `Corrupt`, naming the field, when they run out."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def take(self, size: int, field: str) -> bytes:
        end = self.offset + size
        if end > len(self._data):
            raise Corrupt(
                f"{field}: cut off at byte {len(self._data)}, {size} bytes expected at {self.offset}"
            )
        value = self._data[self.offset : end]
        self.offset = end
        return value

    def integer(self, size: int, field: str) -> int:
        return int.from_bytes(self.take(size, field), "big")

    def lp(self, field: str) -> bytes:
        return self.take(self.integer(2, f"length of {field}"), field)

    def at_end(self) -> bool:
        return self.offset == len(self._data)

    def finish(self, field: str) -> None:
        if not self.at_end():
            raise Corrupt(f"{field}: {len(self._data) - self.offset} trailing bytes")
