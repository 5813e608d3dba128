"""The audit chain's arithmetic: event bodies, links and checkpoints, without I/O and without keys.

See `docs/spec/audit.md`. The store writes with it, the offline verifier reads with it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

import rfc8785

from blindfold._encoding import b64url, u64, unb64url
from blindfold.errors import Corrupt
from kms.errors import InvalidField
from kms.model.audit_event import AuditEvent

HASH_SIZE = 32
SIGNATURE_SIZE = 64
STORE_ID_SIZE = 16
_GENESIS = b"kms/v1 audit genesis\x00"
_LINK = b"kms/v1 audit\x00"
_SIGNED = b"kms/v1 checkpoint\x00"
# An event's fields in the order of RFC 8785, section 3.2.3.
_EVENT = (
    b'{"action":%b,"caller":%b,"decision":%b,"details":%b,"event_id":%b,"reason":%b,"request_id":%b,'
    b'"resource":%b,"sequence":%d,%b"tenant":%b,"time":%b}'
)
# Texts of events that are kept printed, and the characters of the longest: callers have a part in them.
REMEMBERED = 4096
REMEMBERED_LENGTH = 256


class Malformed(Exception):
    """Bytes that are no event body or checkpoint. The text speaks of public bytes only."""


def timestamp(now: datetime) -> str:
    """RFC 3339 in UTC with microseconds, always 27 characters, so that text order is time order."""
    return now.astimezone(UTC).isoformat("T", "microseconds").removesuffix("+00:00") + "Z"


def genesis(store_id: bytes) -> bytes:
    """The hash before event 1. It is bound to the store, so that two stores' chains share no link."""
    return hashlib.sha256(_GENESIS + store_id).digest()


def body_digest(body: bytes) -> bytes:
    """SHA-256. What a reader gets of an event that is not his; its random event id keeps it from guesses."""
    return hashlib.sha256(body).digest()


def link(previous: bytes, sequence: int, digest: bytes) -> bytes:
    """The chain hash of an event, given its body's digest, so that the chain goes on where a body is hidden.

    SHA-256("kms/v1 audit" || 0x00 || previous || u64 sequence || digest)
    """
    return hashlib.sha256(_LINK + previous + u64(sequence) + digest).digest()


def event_body(event: AuditEvent, *, sequence: int, event_id: str, state_digest: bytes | None) -> bytes:
    """The canonical bytes (RFC 8785) under which an event is chained.

    `state_digest` is given for the last event of a unit that changed rows. Raises `InvalidField` for text
    that has no canonical form, such as a lone surrogate.
    """
    digest = b"" if state_digest is None else b'"state_digest":%b,' % _canonical(state_digest.hex())
    return _EVENT % (
        _repeated_text(event.action),
        _repeated_text(event.caller),
        _repeated_text(event.decision),
        _details(event.details),
        _canonical(event_id),
        _repeated_text(event.reason),
        _canonical(event.request_id),
        _repeated_text(event.resource),
        sequence,
        digest,
        _repeated_text(event.tenant),
        _canonical(event.time),
    )


def _repeated_text(value: str) -> bytes:
    """As `_canonical`, for what many events have in common: to print it once makes an event cost a third."""
    return _canonical(value) if len(value) > REMEMBERED_LENGTH else _remembered_text(value)


@lru_cache(REMEMBERED)
def _remembered_text(value: str) -> bytes:
    return _canonical(value)


def _details(details: Mapping[str, str]) -> bytes:
    if max(map(len, details.values()), default=0) > REMEMBERED_LENGTH:
        return _canonical(dict(details))
    return _remembered_details(tuple(details.items()))


@lru_cache(REMEMBERED)
def _remembered_details(items: tuple[tuple[str, str], ...]) -> bytes:
    return _canonical(dict(items))


def canonical(value: Mapping[str, Any]) -> bytes:
    """The canonical bytes (RFC 8785). Raises `InvalidField` where there are none."""
    return _canonical(dict(value))


def _canonical(value: Any) -> bytes:
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        problem = "holds a value that has no canonical JSON form"
    raise InvalidField("event", problem)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object whose canonical bytes are exactly `body`. Raises `Malformed`."""
    try:
        value = json.loads(body)
        same = isinstance(value, dict) and rfc8785.dumps(value) == body
    except (ValueError, RecursionError, rfc8785.CanonicalizationError):
        same = False
    if not same:
        raise Malformed("not a canonical JSON object")
    return dict(value)


def state_digest_of(body: bytes) -> bytes | None:
    """The state digest that an event's body carries, or None. Raises `Malformed`."""
    if b'"state_digest":' not in body:
        return None
    text = parse_object(body).get("state_digest")
    return None if text is None else unhex(text, "state_digest", HASH_SIZE)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a chain had come: `state_digest` is that of the live rows, taken at `sequence`."""

    store_id: bytes
    sequence: int
    chain_hash: bytes
    state_digest: bytes
    time: str

    def __post_init__(self) -> None:
        sizes = (len(self.store_id), len(self.chain_hash), len(self.state_digest))
        if sizes != (STORE_ID_SIZE, HASH_SIZE, HASH_SIZE) or not 1 <= self.sequence < 2**53:
            raise Malformed("a checkpoint's field is out of range")

    def fields(self) -> dict[str, Any]:
        return {
            "chain_hash": self.chain_hash.hex(),
            "sequence": self.sequence,
            "state_digest": self.state_digest.hex(),
            "store_id": self.store_id.hex(),
            "time": self.time,
        }

    def signed_bytes(self) -> bytes:
        """What the audit key signs: "kms/v1 checkpoint" || 0x00 || canonical fields."""
        return _SIGNED + rfc8785.dumps(self.fields())


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and an Ed25519 signature over `signed_bytes()`, which nobody has verified yet."""

    checkpoint: Checkpoint
    signature: bytes

    def to_line(self) -> bytes:
        """One line of canonical JSON, without the newline."""
        fields: dict[str, Any] = {"checkpoint": self.checkpoint.fields(), "signature": b64url(self.signature)}
        return rfc8785.dumps(fields)

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """The inverse of `to_line`. Raises `Malformed` for anything it would not have written."""
        try:
            value = json.loads(line)
            fields = value["checkpoint"]
            parsed = cls(
                Checkpoint(
                    unhex(fields["store_id"], "store_id", STORE_ID_SIZE),
                    int(fields["sequence"]),
                    unhex(fields["chain_hash"], "chain_hash", HASH_SIZE),
                    unhex(fields["state_digest"], "state_digest", HASH_SIZE),
                    str(fields["time"]),
                ),
                unb64url(value["signature"]),
            )
            same = len(parsed.signature) == SIGNATURE_SIZE and parsed.to_line() == line
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Malformed, Corrupt):
            same = False
        if not same:
            raise Malformed("not a checkpoint")
        return parsed


def unhex(text: object, field: str, size: int) -> bytes:
    """The bytes of lower-case hex of exactly `size` bytes. Raises `Malformed`."""
    try:
        value = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        value = b""
    if len(value) != size or value.hex() != text:
        raise Malformed(f"{field} is not {size} bytes in lower-case hex")
    return value
