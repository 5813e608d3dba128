"""What a vault's transit engine encrypted (docs/external.md, "Moving from transit")."""

import base64
import binascii
import re
from dataclasses import dataclass

from kms.errors import InvalidField

MAX_TEXT = 128 << 10

_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TransitCiphertext:
    """What transit encrypted: with AES, nonce (12 bytes) || ciphertext || tag (16); with RSA, OAEP's."""

    version: int
    data: bytes

    @property
    def text(self) -> str:
        """As the vault wrote it."""
        return f"vault:v{self.version}:{base64.b64encode(self.data).decode('ascii')}"

    @classmethod
    def parse(cls, text: str) -> "TransitCiphertext":
        """Of `vault:v3:...`, in standard base64. Raises `InvalidField`."""
        found = _CIPHERTEXT.fullmatch(text) if len(text) <= MAX_TEXT else None
        try:
            data = base64.b64decode(found[2], validate=True) if found is not None else b""
        except binascii.Error:
            data = b""
        made = cls(int(found[1]), data) if found is not None else None
        if made is None or made.text != text:
            raise InvalidField("ciphertext", "must be vault:v, a version, a colon and standard base64")
        return made
