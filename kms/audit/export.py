"""The chain as JSON lines, for keeping and verifying elsewhere (`docs/spec/audit.md`, "Export")."""

from collections.abc import Iterator
from typing import Protocol

from kms.errors import InvalidField
from kms.model.chain import SignedCheckpoint, body_digest, parse_object
from kms.storage.interface import StoredEvent

_PAGE = 1000


class Chain(Protocol):
    """The part of `kms.storage.interface.Store` that is read here."""

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]: ...

    def checkpoints(self, after: int = 0, limit: int = 1000) -> list[SignedCheckpoint]: ...

    def dropped_through(self) -> int: ...


def export(store: Chain, after: int = 0, tenant: str | None = None) -> Iterator[str]:
    """The links as lines without newlines. With a tenant, the bodies of all other events are hidden."""
    for link in links(store, after):
        yield link.to_line().decode() if isinstance(link, SignedCheckpoint) else _line(link, tenant)


def links(
    store: Chain, after: int = 0, through: int | None = None
) -> Iterator[StoredEvent | SignedCheckpoint]:
    """Events above `after` in order, each checkpoint behind the event it is at.

    `after` is 0 or the sequence number of a checkpoint, such as the last of the previous export; that
    checkpoint then comes first. Ends with the newest checkpoint, or the one at `through`: what lies behind it
    nothing signs yet; `Store.checkpoint` makes one. Where the first events were dropped, 0 is the checkpoint
    at the last of them. Raises `InvalidField` and `StoreTampered`.
    """
    dropped = store.dropped_through()
    if 0 < after < dropped:
        raise InvalidField("after", f"the events up to {dropped} were dropped; older exports have them")
    after = after or dropped
    if after:
        anchor = store.checkpoints(after - 1, 1)
        if not anchor or anchor[0].checkpoint.sequence != after:
            raise InvalidField("after", f"there is no checkpoint at event {after}")
        yield anchor[0]
    while checkpoints := store.checkpoints(after, _PAGE):
        for signed in checkpoints:
            if through is not None and signed.checkpoint.sequence > through:
                return
            yield from _events(store, after, signed.checkpoint.sequence)
            yield signed
            after = signed.checkpoint.sequence


def is_visible(event: StoredEvent, tenant: str) -> bool:
    """Whether an event is that tenant's."""
    return parse_object(event.body).get("tenant") == tenant


def _events(store: Chain, after: int, through: int) -> Iterator[StoredEvent]:
    while after < through:
        for event in store.events(after, min(_PAGE, through - after)):
            if event.sequence != after + 1:
                raise InvalidField("after", f"event {after + 1} was dropped meanwhile; begin anew")
            yield event
            after = event.sequence


def _line(event: StoredEvent, tenant: str | None) -> str:
    if tenant is None or is_visible(event, tenant):
        return event_line(event.sequence, event.body, event.chain_hash)
    return hidden_line(event.sequence, body_digest(event.body), event.chain_hash)


def event_line(sequence: int, body: bytes, chain_hash: bytes) -> str:
    """{"body": the event, "chain_hash": hex, "sequence": number}, canonical (RFC 8785) as `body` is."""
    return f'{{"body":{body.decode()},"chain_hash":"{chain_hash.hex()}","sequence":{sequence}}}'


def hidden_line(sequence: int, digest: bytes, chain_hash: bytes) -> str:
    """{"body_digest": hex, "chain_hash": hex, "sequence": number}, canonical (RFC 8785)."""
    return f'{{"body_digest":"{digest.hex()}","chain_hash":"{chain_hash.hex()}","sequence":{sequence}}}'
