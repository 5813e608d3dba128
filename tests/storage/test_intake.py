"""The queue before the writer: what it waits for, and for whom it does not wait."""

import threading
import time

from kms.storage.intake import Intake

LONG = 20.0


def test_a_single_caller_never_waits_for_others() -> None:
    intake: Intake[int] = Intake(10, gather=LONG)
    for number in range(3):
        intake.offer(number)
        assert intake.take(10, None) == [number]


def test_a_group_waits_to_become_as_large_as_the_last() -> None:
    intake: Intake[int] = Intake(10, gather=LONG)
    for number in range(3):
        intake.offer(number)
    assert intake.take(10, None) == [0, 1, 2]
    taken: list[list[int] | None] = []
    taker = threading.Thread(target=lambda: taken.append(intake.take(10, None)))
    taker.start()
    for number in range(3):
        time.sleep(0.01)
        assert taken == []
        intake.offer(number)
    taker.join(LONG)
    assert taken == [[0, 1, 2]]


def test_it_waits_for_so_long_and_expects_less_then() -> None:
    intake: Intake[int] = Intake(10, gather=0.02)
    for number in range(5):
        intake.offer(number)
    assert intake.take(10, None) == [0, 1, 2, 3, 4]
    intake.offer(5)
    begun = time.monotonic()
    assert intake.take(10, None) == [5]
    assert time.monotonic() - begun >= 0.02
    intake.offer(6)
    assert intake.take(10, LONG) == [6]


def test_the_limit_of_a_group_is_enough() -> None:
    intake: Intake[int] = Intake(10, gather=LONG)
    for number in range(6):
        intake.offer(number)
    assert [intake.take(3, None), intake.take(3, None)] == [[0, 1, 2], [3, 4, 5]]


def test_closing_ends_the_wait() -> None:
    intake: Intake[int] = Intake(10, gather=LONG)
    intake.offer(0)
    intake.offer(1)
    assert intake.take(10, None) == [0, 1]
    intake.offer(2)
    threading.Timer(0.02, intake.close).start()
    assert intake.take(10, None) == [2]
    assert intake.take(10, None) is None
