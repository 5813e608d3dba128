"""Join tokens: one-use, short-lived permits to enrol as one identity (docs/spec/identity.md, "Join tokens").

Pure functions: that a token is redeemed once although two clients race is the store's compare-and-swap,
with the record's `spent` form as the new body.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self

from blindfold import _canonical
from blindfold.errors import DocumentInvalid
from blindfold.secret import SecretBytes
from kms.errors import InvalidField, StoreTampered, Unauthenticated
from kms.identity.grant import Grant
from kms.model.join_token import ID_SIZE, SECRET_SIZE, JoinToken
from kms.model.row import dump_row, load_row
from kms.model.validity import whole_seconds

DEFAULT_LIFE = timedelta(minutes=10)
MAX_LIFE = timedelta(hours=24)
TOKEN_REFUSED = "the join token is unknown, used or expired; ask for a new one"  # noqa: S105

_FIELDS = frozenset(
    {
        "created_at",
        "dns_names",
        "expires_at",
        "identity",
        "labels",
        "roles",
        "secret_hash",
        "token_id",
        "used_at",
    }
)


@dataclass(frozen=True, slots=True)
class JoinTokenRecord:
    """What is stored of a token: SHA-256 of its secret, never the secret. Times are whole seconds in UTC."""

    KIND: ClassVar[str] = "joinTokens"

    token_id: bytes
    secret_hash: bytes
    grant: Grant
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None

    def spent(self, now: datetime) -> "JoinTokenRecord":
        """The record to write when the token is redeemed."""
        return replace(self, used_at=whole_seconds(now))

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785), times as seconds since 1970. Raises `LimitExceeded` above 8 MiB."""
        return dump_row(
            {
                **self.grant.to_json(),
                "token_id": self.token_id.hex(),
                "secret_hash": self.secret_hash.hex(),
                "created_at": int(self.created_at.timestamp()),
                "expires_at": int(self.expires_at.timestamp()),
                "used_at": int(self.used_at.timestamp()) if self.used_at is not None else None,
            },
            self.KIND,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `StoreTampered` for anything `to_bytes` would not have written."""
        try:
            value = load_row(data, "join token")
            _canonical.expect_fields(value, _FIELDS, "join token")
            used_at = value["used_at"]
            record = cls(
                bytes.fromhex(value["token_id"]),
                bytes.fromhex(value["secret_hash"]),
                Grant.from_json(value),
                datetime.fromtimestamp(value["created_at"], UTC),
                datetime.fromtimestamp(value["expires_at"], UTC),
                datetime.fromtimestamp(used_at, UTC) if used_at is not None else None,
            )
        except (DocumentInvalid, InvalidField, ValueError, TypeError, OverflowError, OSError):
            raise StoreTampered("a stored join token cannot be read") from None
        if record.to_bytes() != data:
            raise StoreTampered("a stored join token is not in its canonical form")
        return record


def create_join_token(
    grant: Grant, ca_fingerprint: bytes, now: datetime, life: timedelta = DEFAULT_LIFE
) -> tuple[JoinToken, JoinTokenRecord]:
    """A new token, shown once to whoever asked for it, and the record to store.

    `ca_fingerprint` is that of the root CA. Raises `InvalidField` for a life outside 1 s to 24 h.
    """
    token_id, secret = secrets.token_bytes(ID_SIZE), SecretBytes(secrets.token_bytes(SECRET_SIZE))
    return _create_with(grant, JoinToken(token_id, secret, ca_fingerprint), now, life)


def _create_with(
    grant: Grant, token: JoinToken, now: datetime, life: timedelta
) -> tuple[JoinToken, JoinTokenRecord]:
    if not timedelta(seconds=1) <= life <= MAX_LIFE:
        raise InvalidField("life", "must be from 1 second to 24 hours")
    start = whole_seconds(now)
    return token, JoinTokenRecord(token.token_id, _hash(token), grant, start, start + life)


def redeem(record: JoinTokenRecord | None, token: JoinToken, now: datetime) -> Grant:
    """What the token grants. `record` is the one stored under its id, None if there is none.

    Raises `Unauthenticated`, with one text for a token unknown, wrong, used or expired.
    """
    stored = record.secret_hash if record is not None else bytes(SECRET_SIZE)
    is_right = hmac.compare_digest(_hash(token), stored)
    if (
        record is None
        or not is_right
        or record.token_id != token.token_id
        or record.used_at is not None
        or now >= record.expires_at
    ):
        raise Unauthenticated(TOKEN_REFUSED)
    return record.grant


def _hash(token: JoinToken) -> bytes:
    return hashlib.sha256(token.secret.reveal()).digest()
