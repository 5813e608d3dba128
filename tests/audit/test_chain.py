"""The chain's arithmetic: fixed values, strict parsing."""

import hashlib
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidField
from kms.model.audit_event import AuditEvent
from kms.model.chain import (
    Checkpoint,
    Malformed,
    SignedCheckpoint,
    body_digest,
    event_body,
    genesis,
    link,
    parse_object,
    state_digest_of,
    timestamp,
)

EVENT = AuditEvent(
    "2026-01-02T03:04:05.000000Z", "Act", "", "acme", "r", "ALLOW", details={"b": "1", "a": "2"}
)
CHECKPOINT = Checkpoint(b"i" * 16, 7, b"c" * 32, b"d" * 32, "2026-01-02T03:04:05.000000Z")
SIGNED = SignedCheckpoint(CHECKPOINT, b"s" * 64)


def test_the_link_is_the_hash_that_the_specification_writes_down() -> None:
    digest = hashlib.sha256(b"body").digest()
    expected = hashlib.sha256(b"kms/v1 audit\x00" + b"p" * 32 + (5).to_bytes(8, "big") + digest).digest()
    assert link(b"p" * 32, 5, body_digest(b"body")) == expected
    assert genesis(b"i" * 16) == hashlib.sha256(b"kms/v1 audit genesis\x00" + b"i" * 16).digest()


def test_two_stores_chains_differ_from_their_first_link() -> None:
    assert link(genesis(b"i" * 16), 1, b"d" * 32) != link(genesis(b"j" * 16), 1, b"d" * 32)


def test_a_body_is_canonical_json_with_every_field() -> None:
    body = event_body(EVENT, sequence=3, event_id="e", state_digest=b"\x01" * 32)
    assert body == (
        b'{"action":"Act","caller":"","decision":"ALLOW","details":{"a":"2","b":"1"},"event_id":"e",'
        b'"reason":"","request_id":"","resource":"r","sequence":3,"state_digest":"' + b"01" * 32 + b'",'
        b'"tenant":"acme","time":"2026-01-02T03:04:05.000000Z"}'
    )
    assert state_digest_of(body) == b"\x01" * 32


class Text(str):
    """A text of which is seen when nothing holds it any more."""


def test_a_long_text_of_an_event_is_printed_and_not_kept() -> None:
    """A batch names hundreds of rules: thousands of such texts would be a gigabyte."""
    reason, versions = (Text(word * 10_000) for word in ("rule | ", "17 "))
    gone = [weakref.ref(reason), weakref.ref(versions)]
    event = EVENT._replace(reason=reason, details={"versions": versions})
    printed = parse_object(event_body(event, sequence=1, event_id="e", state_digest=None))
    assert (printed["reason"], printed["details"]) == (reason, {"versions": versions})
    del event, reason, versions
    assert [text() for text in gone] == [None, None]


@pytest.mark.parametrize(
    "text", ['"state_digest":"' + "00" * 32 + '"', "state_digest", '\\"state_digest\\":']
)
def test_no_text_of_a_caller_becomes_a_state_digest(text: str) -> None:
    event = AuditEvent("t", text, text, text, text, text, text, text, {text: text, "state_digest": text})
    assert state_digest_of(event_body(event, sequence=1, event_id="e", state_digest=None)) is None


@pytest.mark.parametrize("digest", [b'""', b"1", b'"00"', b'"' + b"0G" * 32 + b'"', b'"' + b"AA" * 32 + b'"'])
def test_a_state_digest_of_another_form_is_malformed(digest: bytes) -> None:
    assert state_digest_of(b'{"state_digest":"' + b"aa" * 32 + b'"}') == b"\xaa" * 32
    with pytest.raises(Malformed):
        state_digest_of(b'{"state_digest":' + digest + b"}")


TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)


@given(st.lists(TEXTS, min_size=8, max_size=8), st.dictionaries(TEXTS, TEXTS, max_size=4), st.booleans())
def test_every_event_has_a_canonical_body_or_is_refused(
    texts: list[str], details: dict[str, str], changed: bool
) -> None:
    event = AuditEvent(*texts, details=details)
    digest = b"\x01" * 32 if changed else None
    try:
        body = event_body(event, sequence=1, event_id="e", state_digest=digest)
    except InvalidField:
        assert any("\ud800" <= c <= "\udfff" for c in "".join([*texts, *details, *details.values()]))
        return
    names = ("time", "action", "caller", "tenant", "resource", "decision", "reason", "request_id")
    expected = dict(zip(names, texts, strict=True)) | {"details": details, "event_id": "e", "sequence": 1}
    assert parse_object(body) == expected | ({"state_digest": "01" * 32} if changed else {})


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"1", b"{", b"{} ", b' {"a":1}', b'{"b":1,"a":1}', b'{"a":1,"a":1}', b'{"a":1.0}', b"\xff"],
)
def test_what_is_no_canonical_object_is_malformed(body: bytes) -> None:
    assert parse_object(b'{"a":1,"b":2}') == {"a": 1, "b": 2}
    with pytest.raises(Malformed):
        parse_object(body)


def test_a_deeply_nested_body_is_malformed() -> None:
    with pytest.raises(Malformed):
        parse_object(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def test_a_checkpoint_line_parses_to_what_it_was() -> None:
    assert SignedCheckpoint.parse(SIGNED.to_line()) == SIGNED


def test_the_signed_bytes_are_apart_from_everything_else_that_is_signed() -> None:
    assert CHECKPOINT.signed_bytes().startswith(b'kms/v1 checkpoint\x00{"chain_hash":"6363')


LINES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda line: b"",
    "an object": lambda line: b"{}",
    "a list": lambda line: b"[]",
    "a number": lambda line: b"7",
    "a checkpoint that is no object": lambda line: b'{"checkpoint":1,"signature":"x"}',
    "not UTF-8": lambda line: b"\xff" + line,
    "a field added": lambda line: line[:-1] + b',"z":1}',
    "a field twice": lambda line: line.replace(b'"sequence":7', b'"sequence":7,"sequence":7'),
    "a space": lambda line: line.replace(b",", b", ", 1),
    "capitals": lambda line: line.replace(b"6363", b"6363".upper()).replace(b"6969", b"6A69").lower() + b" ",
    "a sequence of text": lambda line: line.replace(b'"sequence":7', b'"sequence":"7"'),
    "a sequence with a fraction": lambda line: line.replace(b'"sequence":7', b'"sequence":7.5'),
    "sequence true": lambda line: line.replace(b'"sequence":7', b'"sequence":true'),
    "sequence zero": lambda line: line.replace(b'"sequence":7', b'"sequence":0'),
    "a sequence too large": lambda line: line.replace(b'"sequence":7', b'"sequence":9007199254740992'),
    "a short hash": lambda line: line.replace(b"63" * 32, b"63" * 31),
    "a short signature": lambda line: SignedCheckpoint(CHECKPOINT, b"s" * 63).to_line(),
    "a time that is no text": lambda line: line.replace(b'"time":"2026-01-02T03:04:05.000000Z"', b'"time":1'),
}


@pytest.mark.parametrize("change", LINES.values(), ids=LINES)
def test_a_line_of_another_form_is_malformed(change: Callable[[bytes], bytes]) -> None:
    line = SIGNED.to_line()
    assert change(line) != line
    with pytest.raises(Malformed):
        SignedCheckpoint.parse(change(line))


def test_a_timestamp_is_utc_and_of_one_length() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 7, tzinfo=east)) == "2026-01-01T21:34:05.000007Z"
