"""The offline verifier against copies that somebody has worked on, each after the honest copy verified."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from blindfold.secret import SecretBytes
from kms.audit.export import event_line, export, hidden_line
from kms.audit.signing import AuditKey
from kms.audit.verify import ChainBroken, Finding, verify
from kms.errors import InvalidField
from kms.model.audit_event import AuditEvent
from kms.model.chain import Checkpoint, SignedCheckpoint, body_digest, event_body, genesis, link
from kms.model.receipt import Receipt
from kms.storage.interface import StoredEvent

KEY = AuditKey.from_seed(SecretBytes(b"s" * 32))
STORE_ID = b"0123456789abcdef"


def chain(count: int, store_id: bytes = STORE_ID) -> list[StoredEvent]:
    events, previous = [], genesis(store_id)
    for sequence in range(1, count + 1):
        tenant = "acme" if sequence % 2 else "other"
        event = AuditEvent("2026-01-02T03:04:05.000000Z", f"Act{sequence}", "", tenant, "", "ALLOW")
        body = event_body(event, sequence=sequence, event_id=f"{sequence:032x}", state_digest=None)
        previous = link(previous, sequence, body_digest(body))
        events.append(StoredEvent(sequence, body, previous))
    return events


def checkpoint(event: StoredEvent, key: AuditKey = KEY, store_id: bytes = STORE_ID) -> SignedCheckpoint:
    made = Checkpoint(store_id, event.sequence, event.chain_hash, b"d" * 32, "2026-01-02T03:04:05.000000Z")
    return SignedCheckpoint(made, key.sign(made.signed_bytes()))


class Copy:
    """The part of a store that `export` reads: ten events, checkpoints at 4, 7 and 10."""

    def __init__(self) -> None:
        self._events = chain(10)
        self._checkpoints = [checkpoint(self._events[at - 1]) for at in (4, 7, 10)]

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        return self._events[after : after + limit]

    def dropped_through(self) -> int:
        return 0

    def checkpoints(self, after: int = 0, limit: int = 1000) -> list[SignedCheckpoint]:
        return [made for made in self._checkpoints if made.checkpoint.sequence > after][:limit]


class Dropping(Copy):
    """Events up to 6 are dropped between two pages of an export."""

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        return super().events(after if after < 4 else max(after, 6), limit)


EVENTS = chain(10)
HONEST = list(export(Copy()))
# Where each event's line is, checkpoints being on lines 5, 9 and 13.
LINE = {1: 0, 2: 1, 3: 2, 4: 3, 5: 5, 6: 6, 7: 7, 8: 9, 9: 10, 10: 11}


def test_an_honest_copy_verifies_to_its_last_checkpoint() -> None:
    report = verify(HONEST, KEY.public_key)
    assert (report.store_id, report.first, report.signed_through, report.last) == (STORE_ID, 1, 10, 10)
    assert report.checkpoints == 3


def test_lines_may_end_in_newlines_as_a_file_gives_them(tmp_path: Path) -> None:
    (tmp_path / "export").write_text("".join(f"{line}\n" for line in HONEST))
    with (tmp_path / "export").open() as file:
        assert verify(file, KEY.public_key).signed_through == 10


def test_events_behind_the_last_checkpoint_are_reported_as_unsigned() -> None:
    report = verify(HONEST[:12], KEY.public_key)
    assert (report.signed_through, report.last) == (7, 10)


def test_a_checkpoint_kept_outside_signs_as_well() -> None:
    outside = [checkpoint(EVENTS[8]), checkpoint(EVENTS[1])]
    report = verify(HONEST[:12], KEY.public_key, outside)
    assert (report.signed_through, report.last) == (9, 10)


def test_every_event_line_is_what_the_format_says() -> None:
    value = json.loads(HONEST[0])
    assert set(value) == {"sequence", "body", "chain_hash"}
    assert rfc8785.dumps(value).decode() == HONEST[0]
    assert value["body"]["action"] == "Act1"


def test_a_later_part_begins_with_the_checkpoint_before_it() -> None:
    part = list(export(Copy(), after=4))
    assert part == HONEST[4:]
    report = verify(part, KEY.public_key)
    assert (report.first, report.signed_through) == (5, 10)


def test_a_later_part_verifies_against_a_checkpoint_kept_outside() -> None:
    report = verify(HONEST[5:], KEY.public_key, [checkpoint(EVENTS[3])])
    assert (report.first, report.signed_through) == (5, 10)


@pytest.mark.parametrize("after", [1, 3, 11])
def test_an_export_begins_at_a_checkpoint_or_at_the_beginning(after: int) -> None:
    with pytest.raises(InvalidField, match="no checkpoint"):
        list(export(Copy(), after=after))


HIDDEN = list(export(Copy(), tenant="acme"))


def test_a_tenants_export_hides_the_bodies_of_others_and_verifies_all_the_same() -> None:
    shown = [json.loads(line)["body"]["tenant"] for line in HIDDEN if '"body":' in line]
    assert shown == ["acme"] * 5
    assert not any("other" in line for line in HIDDEN)
    assert verify(HIDDEN, KEY.public_key) == verify(HONEST, KEY.public_key)


@pytest.mark.parametrize("line", [1, 3, 6])
def test_a_hidden_event_cannot_be_changed_or_removed(line: int) -> None:
    assert '"body_digest":' in HIDDEN[line]
    event = json.loads(HIDDEN[line])
    forged = hidden_line(event["sequence"], b"f" * 32, bytes.fromhex(event["chain_hash"]))
    for copy in ([*HIDDEN[:line], forged, *HIDDEN[line + 1 :]], HIDDEN[:line] + HIDDEN[line + 1 :]):
        with pytest.raises(ChainBroken) as caught:
            verify(copy, KEY.public_key)
        assert caught.value.sequence == event["sequence"]


def without(*sequences: int) -> Callable[[list[str]], list[str]]:
    gone = {LINE[sequence] for sequence in sequences}
    return lambda lines: [line for at, line in enumerate(lines) if at not in gone]


def changed(sequence: int, old: str, new: str) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        at = LINE[sequence]
        return [*lines[:at], lines[at].replace(old, new), *lines[at + 1 :]]

    return change


def moved(sequence: int, to_line: int) -> Callable[[list[str]], list[str]]:
    def move(lines: list[str]) -> list[str]:
        lines = list(lines)
        lines.insert(to_line, lines.pop(LINE[sequence]))
        return lines

    return move


def rewritten_from(sequence: int) -> Callable[[list[str]], list[str]]:
    """Another history, links and all, by somebody without the audit key."""

    def rewrite(lines: list[str]) -> list[str]:
        lines, previous = list(lines), EVENTS[sequence - 2].chain_hash
        for event in EVENTS[sequence - 1 :]:
            body = event.body.replace(b"ALLOW", b"DENY")
            previous = link(previous, event.sequence, body_digest(body))
            lines[LINE[event.sequence]] = event_line(event.sequence, body, previous)
        return lines

    return rewrite


def replaced(line: int, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[:line], new, *lines[line + 1 :]]


def capitals(line: str) -> str:
    chain_hash = json.loads(line)["chain_hash"]
    return line.replace(chain_hash, chain_hash.upper())


OTHER_KEY = AuditKey.from_seed(SecretBytes(b"o" * 32))


class Case(NamedTuple):
    why: str
    work: Callable[[list[str]], list[str]]
    finding: Finding
    sequence: int


CASES = [
    Case("a field changed", changed(6, "Act6", "Act7"), Finding.CHANGED, 6),
    Case("the first event changed", changed(1, "Act1", "Act9"), Finding.CHANGED, 1),
    Case("the last event changed", changed(10, "Act10", "Act11"), Finding.CHANGED, 10),
    Case("a hash changed", replaced(5, event_line(5, EVENTS[4].body, b"h" * 32)), Finding.CHANGED, 5),
    Case("a hash too long", changed(5, '"chain_hash":"', '"chain_hash":"00'), Finding.MALFORMED, 5),
    Case("a hash in capitals", replaced(5, capitals(HONEST[5])), Finding.MALFORMED, 5),
    Case("an event removed", without(6), Finding.REMOVED, 6),
    Case("the first event removed", without(1), Finding.REMOVED, 1),
    Case("the event at a checkpoint removed", without(7), Finding.REMOVED, 7),
    Case("several removed across a checkpoint", without(6, 7, 8), Finding.REMOVED, 6),
    Case("the last events removed before the checkpoint", without(9, 10), Finding.TRUNCATED, 9),
    Case("two events swapped", moved(6, LINE[5]), Finding.REORDERED, 5),
    Case("an event moved to the end", moved(2, 12), Finding.REORDERED, 2),
    Case("an event twice", lambda lines: [*lines[:3], *lines[2:]], Finding.REORDERED, 3),
    Case("history rewritten", rewritten_from(8), Finding.REWRITTEN, 10),
    Case("all history rewritten but the first event", rewritten_from(2), Finding.REWRITTEN, 4),
    Case("a checkpoint moved back", lambda lines: [*lines, lines[4]], Finding.REORDERED, 4),
    Case("no checkpoint left", lambda lines: lines[:4], Finding.UNSIGNED, 1),
    Case("nothing left", lambda lines: [], Finding.UNSIGNED, 1),
    Case("a later part without its checkpoint", lambda lines: lines[5:], Finding.REMOVED, 1),
    Case("a checkpoint alone", lambda lines: lines[-1:], Finding.UNSIGNED, 11),
    Case("not JSON", replaced(2, "{"), Finding.MALFORMED, 3),
    Case("an empty line", replaced(2, ""), Finding.MALFORMED, 3),
    Case("a space added", replaced(2, HONEST[2] + " "), Finding.MALFORMED, 3),
    Case("a field added", replaced(2, HONEST[2][:-1] + ',"x":1}'), Finding.MALFORMED, 3),
    Case("a field twice", replaced(2, HONEST[2][:-1] + ',"sequence":3}'), Finding.MALFORMED, 3),
    Case("a sequence number of text", changed(3, '"sequence":3}', '"sequence":"3"}'), Finding.MALFORMED, 3),
    Case(
        "a hidden event with a body",
        replaced(2, HONEST[2].replace("{", '{"body_digest":"",', 1)),
        Finding.MALFORMED,
        3,
    ),
    Case(
        "a hidden event without a digest", replaced(2, hidden_line(3, b"", b"h" * 32)), Finding.MALFORMED, 3
    ),
    Case(
        "a sequence number out of range",
        replaced(2, hidden_line(2**53, b"d" * 32, b"h" * 32)),
        Finding.MALFORMED,
        3,
    ),
    Case("a lone surrogate", replaced(2, "\ud800"), Finding.MALFORMED, 3),
    Case(
        "another number outside", changed(3, '"sequence":3}\n'[:-1], '"sequence":3}}'), Finding.MALFORMED, 3
    ),
    Case(
        "a checkpoint of another key",
        replaced(4, checkpoint(EVENTS[3], OTHER_KEY).to_line().decode()),
        Finding.FORGED_CHECKPOINT,
        4,
    ),
    Case(
        "a checkpoint of another store",
        replaced(8, checkpoint(EVENTS[6], KEY, b"another store id").to_line().decode()),
        Finding.FORGED_CHECKPOINT,
        7,
    ),
    Case(
        "all checkpoints of another store",
        lambda lines: [*lines[:4], checkpoint(EVENTS[3], KEY, b"another store id").to_line().decode()],
        Finding.CHANGED,
        1,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why)
def test_a_copy_that_was_worked_on_is_refused_at_its_first_bad_event(case: Case) -> None:
    assert verify(HONEST, KEY.public_key).signed_through == 10
    assert case.work(HONEST) != HONEST
    with pytest.raises(ChainBroken) as caught:
        verify(case.work(HONEST), KEY.public_key)
    assert (caught.value.finding, caught.value.sequence) == (case.finding, case.sequence)


def test_a_shortened_copy_is_exposed_by_a_checkpoint_kept_outside() -> None:
    short = HONEST[:9]
    assert verify(short, KEY.public_key).signed_through == 7
    with pytest.raises(ChainBroken) as caught:
        verify(short, KEY.public_key, [checkpoint(EVENTS[9])])
    assert (caught.value.finding, caught.value.sequence) == (Finding.TRUNCATED, 8)


def test_a_fork_is_exposed_by_a_checkpoint_kept_outside() -> None:
    """A store that was rolled back signs another history with the same key."""
    fork, previous = [*HONEST[:9]], EVENTS[6].chain_hash
    body = EVENTS[7].body.replace(b"ALLOW", b"DENY")
    event = StoredEvent(8, body, link(previous, 8, body_digest(body)))
    fork += [event_line(8, body, event.chain_hash), checkpoint(event).to_line().decode()]
    assert verify(fork, KEY.public_key).signed_through == 8
    with pytest.raises(ChainBroken) as caught:
        verify(fork, KEY.public_key, [checkpoint(EVENTS[7])])
    assert (caught.value.finding, caught.value.sequence) == (Finding.REWRITTEN, 8)


def test_an_outside_checkpoint_that_nobody_signed_is_refused() -> None:
    forged = SignedCheckpoint(checkpoint(EVENTS[9]).checkpoint, b"\x00" * 64)
    with pytest.raises(ChainBroken) as caught:
        verify(HONEST, KEY.public_key, [forged])
    assert caught.value.finding is Finding.FORGED_CHECKPOINT


def test_another_public_key_verifies_nothing() -> None:
    with pytest.raises(ChainBroken) as caught:
        verify(HONEST, OTHER_KEY.public_key)
    assert (caught.value.finding, caught.value.line) == (Finding.FORGED_CHECKPOINT, 5)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_single_change_of_a_byte_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(HONEST) - 1))
    position = data.draw(st.integers(0, len(HONEST[at]) - 1))
    character = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    line = HONEST[at][:position] + character + HONEST[at][position + 1 :]
    if line != HONEST[at]:
        with pytest.raises(ChainBroken):
            verify([*HONEST[:at], line, *HONEST[at + 1 :]], KEY.public_key)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(HONEST) - 1), st.integers(0, len(HONEST) - 1))
def test_any_line_moved_elsewhere_is_refused(origin: int, target: int) -> None:
    lines = list(HONEST)
    lines.insert(target, lines.pop(origin))
    if lines != HONEST:
        with pytest.raises(ChainBroken):
            verify(lines, KEY.public_key)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(HONEST)))
def test_a_copy_cut_off_anywhere_is_signed_no_further_than_its_last_checkpoint(length: int) -> None:
    if length < 5:
        with pytest.raises(ChainBroken, match="covered by no checkpoint"):
            verify(HONEST[:length], KEY.public_key)
    else:
        report = verify(HONEST[:length], KEY.public_key)
        assert report.signed_through == (4 if length < 9 else 7 if length < 13 else 10)


def receipt_of(event: StoredEvent) -> Receipt:
    return Receipt(event.sequence, f"{event.sequence:032x}", event.chain_hash)


def other_history(through: int) -> list[str]:
    """Same key, same store, the same events up to one; then others, signed anew."""
    copy = Copy()
    copy._events = [*EVENTS[:through], *relinked(EVENTS[through - 1], 10)]
    copy._checkpoints = [checkpoint(copy._events[at - 1]) for at in (4, 7, 10)]
    return list(export(copy))


def relinked(last: StoredEvent, through: int) -> list[StoredEvent]:
    events, previous = [], last.chain_hash
    for sequence in range(last.sequence + 1, through + 1):
        event = AuditEvent("2026-01-02T03:04:05.000000Z", "Other", "", "acme", "", "ALLOW")
        body = event_body(event, sequence=sequence, event_id="f" * 32, state_digest=None)
        previous = link(previous, sequence, body_digest(body))
        events.append(StoredEvent(sequence, body, previous))
    return events


def test_receipts_are_found_in_an_honest_copy_with_their_events() -> None:
    found: dict[Receipt, Any] = {}
    receipts = [receipt_of(EVENTS[4]), receipt_of(EVENTS[9]), receipt_of(EVENTS[5])]
    verify(list(export(Copy(), tenant="acme")), KEY.public_key, (), receipts, found.__setitem__)
    actions = {receipt.sequence: event and event["action"] for receipt, event in found.items()}
    assert actions == {5: "Act5", 6: None, 10: None}


class Kept(NamedTuple):
    why: str
    lines: list[str]
    receipt: Receipt
    finding: Finding


@pytest.mark.parametrize(
    "case",
    [
        Kept("cut off before it", HONEST[: LINE[7] + 2], receipt_of(EVENTS[8]), Finding.TRUNCATED),
        Kept("tail replaced", other_history(6), receipt_of(EVENTS[7]), Finding.NOT_AS_RECEIPT),
        Kept(
            "another event's id",
            HONEST,
            Receipt(5, "0" * 32, EVENTS[4].chain_hash),
            Finding.NOT_AS_RECEIPT,
        ),
        Kept("begins behind it", HONEST[4:], receipt_of(EVENTS[3]), Finding.NOT_IN_COPY),
    ],
    ids=lambda case: case.why,
)
def test_copy_that_lacks_the_event_of_a_receipt_is_refused(case: Kept) -> None:
    verify(case.lines, KEY.public_key)
    with pytest.raises(ChainBroken) as broken:
        verify(case.lines, KEY.public_key, (), [case.receipt])
    assert broken.value.finding is case.finding


def test_export_that_events_are_dropped_under_ends_with_an_error() -> None:
    with pytest.raises(InvalidField, match="event 5 was dropped meanwhile"):
        list(export(Dropping()))
