"""Calls at the same time, in one batch: each caller has its own answer."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.protobuf.message_factory import GetMessageClass
from server.kms_harness import PROD

from kms.client import operations as op
from kms.client.calls import MAX_REQUEST
from kms.client.client import AsyncKmsClient, KmsClient
from kms.client.coalescing import AsyncCoalescer, Coalescer
from kms.client.errors import CallDenied, CallFailed, CallInvalid, CallUnavailable

# So long that nothing but a full batch, or an end, ends the wait.
ALWAYS = 3600.0


class Sending:
    """What a client is to a coalescer: notes the calls, and answers each item with its place, or fails."""

    checksums = True

    def __init__(self, failure=None):
        self.calls = []
        self._failure = failure

    def make(self, call):
        self.calls.append(call)
        if self._failure is not None:
            raise self._failure
        return [f"{call.method.name} {place}" for place in range(self.count(call))]

    def count(self, call):
        return len(self.request(call).requests)

    @staticmethod
    def request(call):
        return GetMessageClass(call.method.input_type).FromString(call.raw)

    @property
    def sizes(self):
        return [self.count(call) for call in self.calls]


class SendingAsync(Sending):
    def __init__(self, failure=None):
        super().__init__(failure)
        self.arrived, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def make(self, call):
        self.arrived.set()
        await self.go.wait()
        return super().make(call)


@pytest.fixture(scope="module")
def key(kms):
    kms.allow_keys()
    return kms.make_key("aes")


def test_each_of_many_tasks_has_its_own_answer_or_error(kms, key):
    async def act():
        client = AsyncKmsClient(kms.target, kms.credentials("key-user"))
        async with client, AsyncCoalescer(client) as together:
            texts = [b"%d" % number for number in range(100)]
            made = await asyncio.gather(*(together.encrypt(key, text) for text in texts))
            calls = [together.decrypt(key, item.ciphertext) for item in made]
            wrong = together.decrypt(key, made[0].ciphertext, b"other")
            strange = together.decrypt(f"{PROD}/keys/none", made[0].ciphertext)
            return texts, await asyncio.gather(*calls, wrong, strange, return_exceptions=True)

    before = len(kms.events())
    texts, (*opened, wrong, strange) = asyncio.run(act())
    assert [item.plaintext.reveal() for item in opened] == texts
    assert (wrong.reason, type(strange)) == ("DECRYPTION_FAILED", CallDenied)
    calls = {event["request_id"] for event in kms.events()[before:]}
    assert len(calls) < 10


def test_each_of_many_threads_has_its_own_answer_or_error(kms, key):
    def act(number):
        made = together.encrypt(key, b"%d" % number)
        aad = b"other" if number == 7 else b""
        try:
            return together.decrypt(key, made.ciphertext, aad).plaintext.reveal()
        except CallInvalid as error:
            return error.reason

    client = KmsClient(kms.target, kms.credentials("key-user"))
    with client, Coalescer(client, max_wait=0.05) as together, ThreadPoolExecutor(32) as threads:
        found = list(threads.map(act, range(32)))
    assert found == [b"%d" % number if number != 7 else "DECRYPTION_FAILED" for number in range(32)]


def run_together(client, *asked, **how):
    """The answers to pairs of a name and a request, asked at once."""

    async def act():
        async with AsyncCoalescer(client, max_wait=ALWAYS, **how) as together:
            tasks = [asyncio.create_task(together.run(name, request)) for name, request in asked]
            await asyncio.sleep(0)
            await together.close()
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(act())


def test_what_differs_in_kind_key_or_destination_goes_apart():
    client = SendingAsync()
    asked = [
        ("a", op.Encrypt(b"1")),
        ("a", op.Encrypt(b"2", aad=b"x")),
        ("b", op.Encrypt(b"3")),
        ("a", op.Decrypt(b"4")),
        ("a", op.ReEncrypt(b"5")),
        ("a", op.ReEncrypt(b"6", destination="b")),
        ("a/versions/1", op.MacVerify(b"7", b"")),
        ("a/versions/2", op.MacVerify(b"8", b"")),
    ]
    answers = run_together(client, *asked)
    assert client.sizes == [2, 1, 1, 1, 1, 2]
    assert answers[:3] == ["BatchEncrypt 0", "BatchEncrypt 1", "BatchEncrypt 0"]
    last = client.request(client.calls[-1])
    assert [last.name, *(item.name for item in last.requests)] == ["a", "a/versions/1", "a/versions/2"]


def test_batch_is_sent_as_soon_as_it_is_full():
    async def act():
        together = AsyncCoalescer(client, max_wait=ALWAYS, max_items=2)
        return await asyncio.gather(*(together.encrypt("a", b"") for _ in range(6)))

    client = SendingAsync()
    asyncio.run(act())
    assert client.sizes == [2, 2, 2]


def test_batch_never_exceeds_what_a_request_may_have():
    client = SendingAsync()
    run_together(client, *[("a" * 60, op.Encrypt(bytes(60_000)))] * 150)
    assert sum(client.sizes) == 150
    assert all(len(call.raw) <= MAX_REQUEST for call in client.calls)
    assert len(client.calls) == 3


def test_request_waits_for_others_no_longer_than_it_may():
    client = SendingAsync()

    async def act():
        return await AsyncCoalescer(client, max_wait=0.001).encrypt("a", b"")

    assert asyncio.run(act()) == "BatchEncrypt 0"


def test_cancelled_caller_is_left_out_and_disturbs_nobody():
    client = SendingAsync()

    async def act():
        together = AsyncCoalescer(client, max_wait=ALWAYS)
        first, second = (asyncio.create_task(together.encrypt("a", text)) for text in (b"1", b"2"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        await together.close()
        return first, await second

    first, answer = asyncio.run(act())
    assert first.cancelled()
    assert (answer, client.sizes) == ("BatchEncrypt 0", [1])


def test_caller_cancelled_while_the_batch_is_under_way_disturbs_nobody():
    client = SendingAsync()

    async def act():
        client.go.clear()
        together = AsyncCoalescer(client, max_wait=0)
        first, second = (asyncio.create_task(together.encrypt("a", text)) for text in (b"1", b"2"))
        await client.arrived.wait()
        first.cancel()
        client.go.set()
        return await second

    assert asyncio.run(act()) == "BatchEncrypt 1"


def test_batch_that_nobody_waits_for_is_not_sent():
    client = SendingAsync()

    async def act():
        together = AsyncCoalescer(client, max_wait=ALWAYS)
        only = asyncio.create_task(together.encrypt("a", b""))
        await asyncio.sleep(0)
        only.cancel()
        await asyncio.sleep(0)
        await together.close()

    asyncio.run(act())
    assert client.calls == []


@pytest.mark.parametrize("failure", [CallUnavailable("no", reason="UNAVAILABLE"), ValueError("closed")])
def test_failure_of_the_call_is_raised_to_each_as_its_own(failure):
    errors = run_together(SendingAsync(failure), *[("a", op.Encrypt(b""))] * 3)
    assert {type(error) for error in errors} == {type(failure)}
    assert {str(error) for error in errors} == {str(failure)}
    assert len({id(error) for error in errors}) == 3
    if isinstance(failure, CallFailed):
        assert {error.reason for error in errors} == {"UNAVAILABLE"}


def test_closed_coalescers_refuse():
    async def act():
        together = AsyncCoalescer(SendingAsync())
        await together.close()
        with pytest.raises(ValueError, match="closed"):
            await together.encrypt("a", b"")

    asyncio.run(act())
    together = Coalescer(Sending())
    together.close()
    with pytest.raises(ValueError, match="closed"):
        together.encrypt("a", b"")


@pytest.mark.parametrize("max_items", [0, 1001])
def test_batch_has_a_limit(max_items):
    with pytest.raises(ValueError, match="1000"):
        Coalescer(Sending(), max_items=max_items)


def joined(together, count):
    """Until so many threads wait in its batches."""
    while sum(len(batch.items) for batch in list(together._gathering._unanswered)) < count:
        threading.Event().wait(0.001)


def test_close_sends_what_threads_wait_for():
    client = Sending()
    with ThreadPoolExecutor(3) as threads, Coalescer(client, max_wait=ALWAYS) as together:
        waiting = [threads.submit(together.encrypt, "a", b"") for _ in range(3)]
        joined(together, 3)
    assert sorted(future.result() for future in waiting) == [f"BatchEncrypt {place}" for place in range(3)]
    assert client.sizes == [3]


def test_threads_do_not_wait_for_one_that_was_interrupted():
    client = Sending(KeyboardInterrupt())
    with ThreadPoolExecutor(3) as threads:
        together = Coalescer(client, max_wait=ALWAYS)
        waiting = [threads.submit(together.encrypt, "a", b"") for _ in range(3)]
        joined(together, 3)
        together.close()
    kinds = sorted(type(future.exception()).__name__ for future in waiting)
    assert kinds == ["CallFailed", "CallFailed", "KeyboardInterrupt"]
