"""Verifying an exported chain with nothing but the audit public key, and checkpoints kept elsewhere.

What a checkpoint signs is proven complete and untouched, from the first line to the checkpoint's event; what
lies behind the last checkpoint is only consistent in itself, and the report says so. Events whose body is
hidden, being another tenant's, count like the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import rfc8785

from kms.audit.signing import verify_checkpoint
from kms.errors import StoreTampered
from kms.model.chain import (
    HASH_SIZE,
    Malformed,
    SignedCheckpoint,
    body_digest,
    genesis,
    link,
    parse_object,
    unhex,
)
from kms.model.receipt import Receipt

JsonObject = Mapping[str, Any]


class Finding(Enum):
    """What is wrong with the event at fault."""

    MALFORMED = "is not an event or checkpoint in canonical form"
    CHANGED = "was changed"
    REMOVED = "is missing"
    REORDERED = "is not in its place"
    TRUNCATED = "is missing, and all that followed it"
    REWRITTEN = "or one before it, back to the previous checkpoint, was rewritten"
    FORGED_CHECKPOINT = "has a checkpoint that this store's audit key did not sign"
    NOT_AS_RECEIPT = "or one before it was rewritten after its receipt was given"
    NOT_IN_COPY = "is before the first of the copy: give an earlier one"
    UNSIGNED = "and all that follow it are covered by no checkpoint: give one that was kept"


class ChainBroken(StoreTampered):
    """A copy does not verify. `sequence` is the first event at fault, `line` where that shows, or 0."""

    reason = "AUDIT_CHAIN_BROKEN"
    hint = "Keep the copy as it is; compare it with other copies and with the checkpoints kept outside."

    def __init__(self, finding: Finding, sequence: int, line: int = 0) -> None:
        where = f"line {line}: " if line else ""
        super().__init__(f"{where}event {sequence} {finding.value}")
        self.finding = finding
        self.sequence = sequence
        self.line = line


@dataclass(frozen=True, slots=True)
class Report:
    """Events `first` to `signed_through` are complete and untouched; those up to `last` are unsigned."""

    store_id: bytes
    first: int
    signed_through: int
    last: int
    checkpoints: int


def verify(
    lines: Iterable[str],
    public_key: bytes,
    outside: Sequence[SignedCheckpoint] = (),
    receipts: Sequence[Receipt] = (),
    found: Callable[[Receipt, JsonObject | None], None] = lambda receipt, event: None,
) -> Report:
    """Verify an export, given as lines, against its own checkpoints, and what was kept outside.

    An export from event 1 stands on its own; a later part needs the checkpoint before it, as its first line
    or outside. A receipt must be of an event in it; `found` is given that event, or None where it is hidden.
    Raises `ChainBroken`.
    """
    return _Verification(lines, public_key, outside, receipts, found).run()


@dataclass(frozen=True, slots=True)
class _Event:
    sequence: int
    digest: bytes
    chain_hash: bytes
    body: JsonObject | None


class _Verification:
    """One pass over the lines. `_previous` is the hash that the next event continues, None before any."""

    def __init__(
        self,
        lines: Iterable[str],
        public_key: bytes,
        outside: Sequence[SignedCheckpoint],
        receipts: Sequence[Receipt],
        found: Callable[[Receipt, JsonObject | None], None],
    ) -> None:
        self._lines = enumerate(lines, 1)
        self._line = 0
        self._public_key = public_key
        self._store_id: bytes | None = None
        self._previous: bytes | None = None
        self._first: _Event | None = None
        self._next = 1
        self._signed_through = 0
        self._checkpoints = 0
        self._receipts: dict[int, list[Receipt]] = {}
        for receipt in receipts:
            self._receipts.setdefault(receipt.sequence, []).append(receipt)
        self._found = found
        self._outside: dict[int, SignedCheckpoint] = {}
        for signed in outside:
            self._authenticate(signed)
            self._outside[signed.checkpoint.sequence] = signed

    def run(self) -> Report:
        for item in self._parsed():
            if isinstance(item, _Event):
                self._event(item)
            else:
                self._checkpoint(item)
        first = self._first.sequence if self._first else self._next
        if max((*self._outside, *self._receipts), default=0) >= self._next:
            raise ChainBroken(Finding.TRUNCATED, self._next)
        if min(self._receipts, default=first) < first:
            raise ChainBroken(Finding.NOT_IN_COPY, min(self._receipts))
        if self._store_id is None or self._signed_through < first:
            raise ChainBroken(Finding.UNSIGNED, first)
        return Report(self._store_id, first, self._signed_through, self._next - 1, self._checkpoints)

    def _parsed(self) -> Iterator[_Event | SignedCheckpoint]:
        for number, line in self._lines:
            self._line = number
            try:
                item = _parse(line.removesuffix("\n").encode())
            except (Malformed, UnicodeEncodeError):
                item = None
            if item is None:
                raise ChainBroken(Finding.MALFORMED, self._next, self._line)
            yield item

    def _authenticate(self, signed: SignedCheckpoint) -> None:
        """A checkpoint of this store's audit key, and of one store with the others."""
        try:
            verify_checkpoint(self._public_key, signed)
            known = self._store_id in (None, signed.checkpoint.store_id)
        except StoreTampered:
            known = False
        if not known:
            raise ChainBroken(Finding.FORGED_CHECKPOINT, signed.checkpoint.sequence, self._line)
        self._store_id = signed.checkpoint.store_id

    def _checkpoint(self, signed: SignedCheckpoint) -> None:
        self._authenticate(signed)
        sequence = signed.checkpoint.sequence
        if self._first is None and self._previous is None:
            self._begin_behind(signed)
        elif sequence >= self._next:
            raise self._gap()
        elif sequence < self._next - 1:
            raise ChainBroken(Finding.REORDERED, sequence, self._line)
        else:
            self._meet(signed)

    def _begin_behind(self, anchor: SignedCheckpoint) -> None:
        self._previous = anchor.checkpoint.chain_hash
        self._next = anchor.checkpoint.sequence + 1
        self._signed_through = anchor.checkpoint.sequence
        self._checkpoints += 1

    def _event(self, event: _Event) -> None:
        anchor = self._outside.get(event.sequence - 1)
        if self._first is None and self._previous is None and anchor is not None:
            self._begin_behind(anchor)
        if event.sequence > self._next:
            raise self._gap(event)
        if event.sequence < self._next:
            raise ChainBroken(Finding.REORDERED, event.sequence, self._line)
        if self._previous is not None and not _continues(self._previous, event):
            raise ChainBroken(Finding.CHANGED, event.sequence, self._line)
        self._first = self._first or event
        self._previous = event.chain_hash
        self._next += 1
        for receipt in self._receipts.get(event.sequence, ()):
            self._look_for(receipt, event)
        if event.sequence in self._outside:
            self._meet(self._outside[event.sequence])

    def _look_for(self, receipt: Receipt, event: _Event) -> None:
        same_id = event.body is None or event.body.get("event_id") == receipt.event_id
        if event.chain_hash != receipt.chain_hash or not same_id:
            raise ChainBroken(Finding.NOT_AS_RECEIPT, event.sequence, self._line)
        self._found(receipt, event.body)

    def _meet(self, signed: SignedCheckpoint) -> None:
        """The last event is at a checkpoint. Only now is the store known to which event 1 must be bound."""
        first, checkpoint = self._first, signed.checkpoint
        if first is not None and first.sequence == 1 and not _continues(genesis(checkpoint.store_id), first):
            raise ChainBroken(Finding.CHANGED, 1)
        if self._previous != checkpoint.chain_hash:
            raise ChainBroken(Finding.REWRITTEN, checkpoint.sequence, self._line)
        self._signed_through = checkpoint.sequence
        self._checkpoints += 1

    def _gap(self, event: _Event | None = None) -> ChainBroken:
        """What happened to the next event: the lines that are left tell."""
        missing, line = self._next, self._line
        later = [event] if event else []
        for item in self._parsed():
            if isinstance(item, _Event):
                if item.sequence == missing:
                    return ChainBroken(Finding.REORDERED, missing, self._line)
                later = later or [item]
        return ChainBroken(Finding.REMOVED if later else Finding.TRUNCATED, missing, line)


def _continues(previous: bytes, event: _Event) -> bool:
    return link(previous, event.sequence, event.digest) == event.chain_hash


def _parse(line: bytes) -> _Event | SignedCheckpoint | None:
    """One line in canonical form. Raises `Malformed`; None is another way to say so."""
    fields = parse_object(line)
    if fields.keys() == {"checkpoint", "signature"}:
        return SignedCheckpoint.parse(line)
    sequence = fields.get("sequence")
    if type(sequence) is not int or not 1 <= sequence < 2**53:
        return None
    chain_hash = unhex(fields.get("chain_hash"), "chain_hash", HASH_SIZE)
    if fields.keys() == {"body_digest", "chain_hash", "sequence"}:
        return _Event(sequence, unhex(fields["body_digest"], "body_digest", HASH_SIZE), chain_hash, None)
    body = fields.get("body")
    if len(fields) != 3 or not isinstance(body, dict) or body.get("sequence") != sequence:
        return None
    return _Event(sequence, body_digest(rfc8785.dumps(body)), chain_hash, body)
