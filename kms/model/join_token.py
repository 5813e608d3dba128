"""The text of a join token. Parsing and printing only: redeeming is the identity authority's.

kjt1_ || base64url(token id (16) || secret (32) || SHA-256 of the root CA certificate's DER (32))
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from blindfold._encoding import b64url, unb64url
from blindfold.errors import Corrupt
from blindfold.secret import SecretBytes
from kms.errors import InvalidField

ID_SIZE = 16
SECRET_SIZE = 32
FINGERPRINT_SIZE = 32


@dataclass(frozen=True, slots=True, eq=False)
class JoinToken:
    """A parsed token. Its holder pins the root CA by `ca_fingerprint` before it sends the token anywhere."""

    PREFIX: ClassVar[str] = "kjt1_"

    token_id: bytes
    secret: SecretBytes
    ca_fingerprint: bytes

    def __post_init__(self) -> None:
        sizes = (len(self.token_id), len(self.secret), len(self.ca_fingerprint))
        if sizes != (ID_SIZE, SECRET_SIZE, FINGERPRINT_SIZE):
            raise InvalidField("join_token", "is made of fields of the wrong size")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `InvalidField` for anything `reveal` would not have written; never quotes the text."""
        try:
            body = unb64url(text.removeprefix(cls.PREFIX))
        except Corrupt:
            body = b""
        size = ID_SIZE + SECRET_SIZE + FINGERPRINT_SIZE
        if not text.startswith(cls.PREFIX) or len(body) != size:
            raise InvalidField("join_token", f"is not a join token ({cls.PREFIX}...); was it cut off?")
        end = ID_SIZE + SECRET_SIZE
        return cls(body[:ID_SIZE], SecretBytes(body[ID_SIZE:end]), body[end:])

    def reveal(self) -> str:
        """The token's text: a secret until it is redeemed."""
        return self.PREFIX + b64url(self.token_id + self.secret.reveal() + self.ca_fingerprint)
