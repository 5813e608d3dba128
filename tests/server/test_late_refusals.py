"""Refusals that leave late: when, how many at a time, and what a refused caller is told then."""

import asyncio
import threading
from time import monotonic_ns
from unittest import mock

import grpc
import pytest
from server_harness import STATUS

from kms.client.channel import open_channel
from kms.client.errors import CallDenied, CallExhausted, CallUnauthenticated, from_rpc_error
from kms.errors import Denied, RateLimited, Unauthenticated
from kms.server.app import Limits
from kms.server.late_refusals import Lateness, LateRefusals
from protos.kms.v1.status_service_pb2 import GetStatusRequest
from protos.kms.v1.status_service_pb2_grpc import StatusServiceStub

SECOND = 10**9
FLOOD, QUIET = "flood", "quiet"


class World:
    def __init__(self, **how):
        self.now = 0
        self.refusals = LateRefusals(Lateness(**how), lambda: self.now)

    def delays(self, user, number):
        return [self.delay(user) for _ in range(number)]

    def delay(self, user, size=1):
        return self.refusals.delay(user, size)


def test_first_refusals_leave_at_once_and_then_so_many_in_a_second():
    world = World(at_once=2, each_second=4, longest=1)
    assert world.delays(FLOOD, 8) == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert world.delays(QUIET, 1) == [0]


def test_who_asks_seldom_is_told_at_once():
    world = World(at_once=1, each_second=4, longest=1)
    for _ in range(20):
        assert world.delays(FLOOD, 1) == [0]
        world.now += SECOND // 4


def test_refusals_of_an_hour_ago_are_forgotten():
    world = World(at_once=1, each_second=4, longest=1)
    world.delays(FLOOD, 100)
    world.now += 3600 * SECOND
    assert world.delays(FLOOD, 2) == [0, 0.25]


async def held(world, *users, size=1):
    """Hold one of each user for long, until they are let go."""
    tasks = [asyncio.create_task(world.refusals.hold(user, 60, size)) for user in users]
    await asyncio.sleep(0)
    return tasks


async def let_go(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_one_too_many_leaves_at_once():
    async def run():
        world = World(at_once=1, each_second=1, longest=5, held_of_user=2, held=3)
        world.delays(FLOOD, 3), world.delays(QUIET, 3)
        tasks = await held(world, FLOOD, FLOOD)
        assert world.delay(FLOOD) == 0
        assert world.delay(QUIET) > 0
        tasks += await held(world, QUIET)
        assert world.delay(QUIET) == 0
        await let_go(tasks)
        assert world.delay(FLOOD) > 0

    asyncio.run(run())


def test_what_would_hold_too_much_memory_leaves_at_once():
    """A refused caller could otherwise fill it with the requests that are kept waiting."""

    async def run():
        world = World(at_once=1, each_second=1, longest=5, held_bytes=100)
        world.delays(FLOOD, 3), world.delays(QUIET, 3)
        tasks = await held(world, FLOOD, size=60)
        assert world.delay(QUIET, 41) == 0
        assert world.delay(QUIET, 40) > 0
        await let_go(tasks)
        assert world.delay(QUIET, 41) > 0

    asyncio.run(run())


class Limited:
    """Lets nobody pass for five seconds."""

    def take(self, who, operation_class, units):
        raise RateLimited(5)


def status(server, credentials):
    """The answer, or how the call failed."""
    with open_channel(server.target, credentials) as channel:
        try:
            return StatusServiceStub(channel).GetStatus(GetStatusRequest(), timeout=10)
        except grpc.RpcError as error:
            return from_rpc_error(error)


@pytest.fixture
def late(serve):
    """Starts servers whose clock stands still: one refusal leaves at once, the next ones a tenth apart."""
    limits = Limits(lateness=Lateness(at_once=1, each_second=10, longest=1))
    return lambda **options: serve(limits=limits, monotonic=lambda: 7 * SECOND, **options)


def test_refused_caller_is_told_what_is_left_to_wait_when_he_is_told(late, credentials):
    server = late(limiter=Limited())
    refused = [status(server, credentials) for _ in range(4)]
    assert {type(failure) for failure in refused} == {CallExhausted}
    assert [failure.retry_after for failure in refused] == [5, 4.9, 4.8, 4.7]


def test_who_is_not_authenticated_is_told_late_too(late, credentials):
    def refuse(pem, address, now):
        raise Unauthenticated("revoked")

    server, start = late(authenticate=refuse), monotonic_ns()
    for _ in range(3):
        assert isinstance(status(server, credentials), CallUnauthenticated)
    assert monotonic_ns() - start >= 0.3 * SECOND


def test_who_is_denied_for_another_reason_is_told_at_once(late, credentials):
    def report(caller):
        raise Denied("ROLE")

    server = late()
    server.report[0] = report
    with mock.patch.object(LateRefusals, "hold", side_effect=AssertionError("held")):
        assert [type(status(server, credentials)) for _ in range(5)] == [CallDenied] * 5


@pytest.mark.parametrize("calls", [1, 3])
def test_caller_has_so_many_calls_open_and_no_more(serve, credentials, calls):
    server = serve(limits=Limits(calls_of_user=calls))
    entered, leave = threading.Semaphore(0), threading.Event()

    def report(caller):
        entered.release()
        leave.wait(10)
        return STATUS

    server.report[0] = report
    with open_channel(server.target, credentials) as channel:
        stub = StatusServiceStub(channel)
        opened = [stub.GetStatus.future(GetStatusRequest(), timeout=10) for _ in range(calls)]
        assert all(entered.acquire(timeout=10) for _ in range(calls))
        failure = status(server, credentials)
        leave.set()
        assert (type(failure), failure.reason) == (CallExhausted, "RATE_LIMITED")
        assert [call.result().version for call in opened] == ["1.2.3"] * calls
    assert status(server, credentials).version == "1.2.3"
