"""When a call is made again, after how long, and when not."""

import asyncio
from dataclasses import dataclass, field

import pytest
from client.clients import KINDS
from server.server_harness import Authority, Options, running, write_credentials

from kms.client.api import prepared
from kms.client.errors import (
    CallDamaged,
    CallDenied,
    CallExhausted,
    CallTimedOut,
    CallUnavailable,
)
from kms.client.resending import Attempts, Resending, repeat, repeat_async
from kms.crypto.checksum import checksum
from kms.errors import RateLimited, Unavailable
from protos.kms.v1 import crypto_pb2 as pb
from protos.kms.v1 import crypto_service_pb2 as service
from protos.kms.v1.crypto_service_pb2_grpc import CryptoServiceServicer, add_CryptoServiceServicer_to_server

QUICK = Resending(first_pause=0.001)
LOST = CallUnavailable("broken")
LIMITED = CallExhausted("too often", reason="RATE_LIMITED", retry_after=1.5)


@dataclass
class Time:
    """A clock that pauses move."""

    now: float = 100.0
    pauses: list[float] = field(default_factory=list)

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def attempts(time, *, repeatable=True, **how):
    return Attempts(Resending(**how), repeatable=repeatable, clock=lambda: time.now, jitter=lambda: 0.5)


def failing(failure, *, until=10**9):
    made = []

    def act(timeout):
        made.append(timeout)
        if len(made) < until:
            raise failure
        return "done"

    return act, made


@pytest.mark.parametrize(
    ("failure", "repeatable", "pauses"),
    [
        (LOST, True, [0.2, 0.4, 0.8]),
        (LOST, False, []),
        (CallUnavailable("starting", reason="UNAVAILABLE"), True, [0.2, 0.4, 0.8]),
        (CallUnavailable("tampered", reason="STORE_TAMPERED"), True, []),
        (LIMITED, True, [1.7, 1.9, 2.3]),
        (LIMITED, False, [1.7, 1.9, 2.3]),
        (CallExhausted("2^32", reason="BUDGET_EXHAUSTED"), True, []),
        (CallDamaged("crc"), True, [0.2]),
        (CallDamaged("crc"), False, []),
        (CallTimedOut("no answer"), True, []),
        (CallDenied("no"), True, []),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}" if isinstance(value, Exception) else None,
)
def test_only_what_is_safe_and_may_heal_is_sent_again(failure, repeatable, pauses):
    time = Time()
    act, made = failing(failure)
    with pytest.raises(type(failure)):
        repeat(act, attempts(time, repeatable=repeatable), pause=time.pause)
    assert time.pauses == pytest.approx(pauses)
    assert len(made) == len(pauses) + 1


def test_what_heals_is_answered():
    act, made = failing(LOST, until=3)
    assert repeat(act, attempts(Time()), pause=Time().pause) == "done"
    assert len(made) == 3


def test_pauses_grow_to_a_longest():
    time = Time()
    act, _ = failing(LOST)
    with pytest.raises(CallUnavailable):
        repeat(act, attempts(time, attempts=6, longest_pause=1.0), pause=time.pause)
    assert time.pauses == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_each_attempt_has_what_is_left_of_the_deadline():
    time = Time()
    act, made = failing(LOST)
    with pytest.raises(CallUnavailable):
        repeat(act, attempts(time, deadline=1.0), pause=time.pause)
    assert made == pytest.approx([1.0, 0.8, 0.4])
    assert sum(time.pauses) < 1.0


def test_a_wait_beyond_the_deadline_is_not_begun():
    time = Time()
    act, made = failing(LIMITED)
    with pytest.raises(CallExhausted):
        repeat(act, attempts(time, deadline=1.5), pause=time.pause)
    assert (len(made), time.pauses) == (1, [])


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_pauses_of_many_clients_differ(jitter):
    made = Attempts(Resending(), repeatable=True, clock=lambda: 0.0, jitter=lambda: jitter)
    assert made.pause_after(LOST) == pytest.approx(0.2 * (0.5 + jitter))


def test_asyncio_does_the_same():
    act, made = failing(LOST, until=3)

    async def act_async(timeout):
        return act(timeout)

    how = Attempts(QUICK, repeatable=True, clock=lambda: 0.0, jitter=lambda: 0.5)
    assert asyncio.run(repeat_async(act_async, how)) == "done"
    act, made = failing(CallDenied("no"))
    with pytest.raises(CallDenied):
        asyncio.run(repeat_async(act_async, how))
    assert len(made) == 1


@pytest.mark.parametrize(
    ("method", "request_", "repeatable"),
    [
        ("GetKey", {"name": "n"}, True),
        ("ListKeys", {"parent": "n"}, True),
        ("CreateKey", {"parent": "n"}, False),
        ("CreateKey", {"parent": "n", "request_id": "r"}, True),
        ("UpdateKey", {"key": {"etag": "e"}}, False),
        ("RotateKey", {"name": "n"}, False),
    ],
)
def test_management_is_repeatable_where_it_reads_or_is_known_by_its_request_id(method, request_, repeatable):
    assert prepared("KeyService", method, request_).repeatable is repeatable


class Unsteady(CryptoServiceServicer):
    """Fails as it is told, one act for each call, then answers."""

    SERVICE = service.DESCRIPTOR.services_by_name["CryptoService"].full_name

    def __init__(self):
        self.acts = []
        self.received = []

    def add_to(self, server):
        add_CryptoServiceServicer_to_server(self, server)

    async def Mac(self, request, context):  # noqa: N802
        self.received.append(request.SerializeToString())
        answer = pb.MacResponse(name=request.name, mac=b"code", mac_crc32c=checksum(b"code"))
        if self.acts:
            self.acts.pop(0)(answer)
        return answer


def damage(answer):
    answer.mac = b"cope"


def refuse(error):
    def act(answer):
        raise error

    return act


@pytest.fixture(scope="module")
def unsteady(tmp_path_factory):
    authority, servicer = Authority("the authority of the tests"), Unsteady()
    directory = tmp_path_factory.mktemp("client") / "olga"
    write_credentials(directory, *authority.issue("client"), authority.pem)
    with running(authority, Options(servicers=[servicer])) as server:
        yield servicer, server.target, directory


@pytest.fixture(params=KINDS)
def calling(request, unsteady):
    servicer, target, directory = unsteady
    servicer.received.clear()
    servicer.acts.clear()
    with KINDS[request.param](target, directory, resending=QUICK) as client:
        yield client, servicer


@pytest.mark.parametrize(
    "acts",
    [[refuse(Unavailable("starting"))] * 3, [refuse(RateLimited(0.001))] * 2, [damage]],
    ids=["unavailable", "limited", "damaged"],
)
def test_client_sends_the_same_bytes_again_until_it_is_answered(calling, acts):
    client, servicer = calling
    servicer.acts += acts
    assert client.mac("key", b"message").mac == b"code"
    assert len(servicer.received) == len(acts) + 1
    assert len(set(servicer.received)) == 1


def test_client_is_told_of_an_answer_that_is_damaged_twice(calling):
    client, servicer = calling
    servicer.acts += [damage, damage]
    with pytest.raises(CallDamaged):
        client.mac("key", b"message")
    assert len(servicer.received) == 2


def test_client_that_cannot_reach_the_server_gives_up(unsteady):
    _, _, directory = unsteady
    for kind in KINDS.values():
        with kind("localhost:1", directory, resending=QUICK) as client, pytest.raises(CallUnavailable):
            client.mac("key", b"message")
