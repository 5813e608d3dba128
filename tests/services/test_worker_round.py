"""A round of jobs in workers, whose caller may hang up."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from kms.model.receipt import Receipt
from kms.services.worker_round import Round

RECEIPT = Receipt(1, "event", bytes(32))


class Jobs:
    """Jobs that wait in one worker until they are let go; `told` is what the commit was told."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.started = threading.Event()
        self.go = threading.Event()
        self.told: list[bool] = []

    def job(self, number: int) -> Callable[[], None]:
        def act() -> None:
            self.begun.append(number)
            self.started.set()
            assert self.go.wait(20)
            if number == 0:
                raise ValueError("the first one fails")

        return act

    def commit(self, is_awaited: bool) -> "Future[Receipt]":
        self.told.append(is_awaited)
        done: Future[Receipt] = Future()
        done.set_result(RECEIPT)
        return done


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def test_a_round_ends_in_the_receipt_once_all_jobs_have_ended(jobs: Jobs) -> None:
    jobs.go.set()

    async def run(workers: ThreadPoolExecutor) -> Receipt:
        return await Round(jobs.commit).run([(workers, jobs.job(number)) for number in range(1, 6)])

    with ThreadPoolExecutor(2) as workers:
        assert asyncio.run(run(workers)) == RECEIPT
    assert sorted(jobs.begun) == [1, 2, 3, 4, 5]
    assert jobs.told == [True]


def test_what_a_job_raises_is_raised_and_nothing_committed(jobs: Jobs) -> None:
    jobs.go.set()

    async def run(workers: ThreadPoolExecutor) -> None:
        await Round(jobs.commit).run([(workers, jobs.job(number)) for number in range(3)])

    with ThreadPoolExecutor(2) as workers, pytest.raises(ValueError, match="the first"):
        asyncio.run(run(workers))
    assert jobs.told == []


@pytest.mark.parametrize(
    "first", [0, 1], ids=["and the job under way fails", "and the job under way succeeds"]
)
def test_caller_hangs_up(jobs: Jobs, first: int) -> None:
    """No more jobs are begun, and the commit is told: whatever was done is recorded."""

    async def hang_up(workers: ThreadPoolExecutor) -> None:
        round_ = Round(jobs.commit)
        task = asyncio.create_task(round_.run([(workers, jobs.job(first + more)) for more in range(50)]))
        assert await asyncio.to_thread(jobs.started.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ThreadPoolExecutor(1) as workers:
        asyncio.run(hang_up(workers))
        assert jobs.told == [], "the job under way has not ended yet"
        jobs.go.set()
    assert jobs.begun == [first]
    assert jobs.told == [False]
