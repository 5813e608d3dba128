"""When the checkpoint outside the store is written."""

import time

from store_workshop import SIGNER, STORE_ID, Workshop, an_event

from kms.audit.signing import verify_checkpoint
from kms.model.chain import Checkpoint, SignedCheckpoint
from kms.storage.checkpoint_file import CheckpointFile
from kms.storage.environment import Limits
from kms.storage.interface import Put


def outside(workshop: Workshop) -> Checkpoint:
    """The checkpoint outside, its signature verified."""
    signed = CheckpointFile(workshop.outside).read()
    assert signed is not None
    verify_checkpoint(SIGNER.public_key, signed)
    return signed.checkpoint


def wait_for_sequence(workshop: Workshop, sequence: int) -> None:
    deadline = time.monotonic() + 20
    while outside(workshop).sequence < sequence:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_new_store_has_a_checkpoint_of_its_first_event(workshop: Workshop) -> None:
    store = workshop.create()
    checkpoint = outside(workshop)
    assert (checkpoint.store_id, checkpoint.sequence) == (STORE_ID, 1)
    assert checkpoint.chain_hash == store.events()[0].chain_hash
    assert checkpoint.time == "1970-01-01T00:16:40.000000Z"


def test_a_change_is_covered_before_it_is_acknowledged(workshop: Workshop) -> None:
    store = workshop.create()
    for counter in range(1, 20):
        receipt = store.commit([Put("thing", "a", b"x", counter)], [an_event()]).result(timeout=20)
        assert outside(workshop).sequence == receipt.sequence
        assert outside(workshop).chain_hash == receipt.chain_hash


def test_events_alone_are_covered_after_the_given_seconds(workshop: Workshop) -> None:
    workshop.limits = Limits(checkpoint_seconds=10)
    store = workshop.create()
    store.commit([], [an_event()]).result(timeout=20)
    workshop.clock.seconds += 9
    store.commit([], [an_event()]).result(timeout=20)
    assert outside(workshop).sequence == 1
    workshop.clock.seconds += 1
    store.commit([], [an_event()]).result(timeout=20)
    wait_for_sequence(workshop, 4)


def test_events_alone_are_covered_without_further_commits(workshop: Workshop) -> None:
    workshop.limits = Limits(checkpoint_seconds=0.05)
    store = workshop.create()
    future = store.commit([], [an_event()])
    future.result(timeout=20)
    workshop.clock.seconds += 1
    wait_for_sequence(workshop, 2)
    assert outside(workshop).sequence == 2


def test_events_alone_are_covered_after_the_given_number(workshop: Workshop) -> None:
    workshop.limits = Limits(checkpoint_seconds=3600, checkpoint_events=5)
    store = workshop.create()
    for _ in range(4):
        store.commit([], [an_event()]).result(timeout=20)
    assert outside(workshop).sequence == 1
    store.commit([], [an_event()]).result(timeout=20)
    wait_for_sequence(workshop, 6)


def test_close_covers_the_rest(workshop: Workshop) -> None:
    store = workshop.create()
    store.commit([], [an_event()] * 3).result(timeout=20)
    assert outside(workshop).sequence == 1
    store.close()
    assert outside(workshop).sequence == 4


def test_opening_covers_what_a_crash_left_uncovered(workshop: Workshop) -> None:
    store = workshop.create()
    workshop.save("old")
    store.commit([], [an_event()] * 3).result(timeout=20)
    store.close()
    workshop.restore("old", what="outside")
    workshop.open()
    assert outside(workshop).sequence == 4


def test_the_digest_depends_on_the_rows_and_not_on_their_order_of_writing(workshop: Workshop) -> None:
    store = workshop.create()
    digests = []
    for changes in (
        [Put("thing", "a", b"x", 1)],
        [Put("thing", "b", b"y", 1)],
        [Put("thing", "b", b"z", 2)],
    ):
        store.commit(changes, [an_event()]).result(timeout=20)
        digests.append(outside(workshop).state_digest)
    assert len(set(digests)) == 3


def test_the_file_is_one_line_that_parses_to_what_was_written(workshop: Workshop) -> None:
    workshop.create().close()
    line = workshop.outside.read_bytes()
    assert line.count(b"\n") == 1
    assert SignedCheckpoint.parse(line[:-1]).to_line() + b"\n" == line
