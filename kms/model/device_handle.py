"""Where a HIGH key is: a device, and the key's place in it."""

import re
from dataclasses import dataclass
from typing import Self

ID_SIZE = 16

_SERIAL = re.compile(r"[A-Za-z0-9._-]{1,16}", re.ASCII)
_TEXT = re.compile(rf"pkcs11:serial=({_SERIAL.pattern});id=((?:%[0-9A-F]{{2}}){{{ID_SIZE}}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeviceHandle:
    """A key inside a PKCS 11 token: the token's serial number and the key's CKA_ID of 16 bytes.

    Its text is a PKCS 11 URI (RFC 7512, section 2.3) of exactly these two attributes, with every byte of the
    id percent-encoded. It tells where a key is and nothing of the key. Raises `ValueError` for anything else.
    """

    serial: str
    id: bytes

    def __post_init__(self) -> None:
        if not _SERIAL.fullmatch(self.serial) or len(self.id) != ID_SIZE:
            raise ValueError("not the place of a key in a device")

    def __str__(self) -> str:
        return f"pkcs11:serial={self.serial};id={''.join(f'%{byte:02X}' for byte in self.id)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError("not the place of a key in a device")
        return cls(match[1], bytes.fromhex(match[2].replace("%", "")))
