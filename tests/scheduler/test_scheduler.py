"""What happens without being asked, with a clock and a key generation of the test's own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from services.conftest import ACME, ADMIN, KEY, KEY_ADMIN, Kms
from services.conftest import kms as kms

from blindfold.errors import GenerationFailed
from blindfold.private_key import PrivateKey
from kms.errors import KmsError
from kms.identity.grant import Grant
from kms.identity.join_tokens import JoinTokenRecord
from kms.main.serving import make_scheduler
from kms.model.algorithms import Purpose
from kms.model.lifecycle import Verb
from kms.model.names import BlindfoldKeyName, IdentityName, KeyName
from kms.scheduler import Scheduler, Stopped
from kms.services.keys import KeySettings
from testvectors import material


def fixed(modulus_bits: int, progress: Callable[[int, int], None]) -> PrivateKey:
    """Primes without a search."""
    progress(17, 2)
    return PrivateKey(*material.primes("full"))


def scheduler(kms: Kms, generate_key: Any = fixed) -> Scheduler:
    return make_scheduler(kms.parts, lambda: kms.now, generate_key)


def begin(kms: Kms) -> BlindfoldKeyName:
    call = kms.call(KEY_ADMIN)
    return kms.run(kms.parts.blindfold_keys.begin(call, ACME, 3072, "", make_primary=True)).name


def generate_pending(kms: Kms, scheduled: Scheduler) -> None:
    with ThreadPoolExecutor(1) as worker:
        kms.run(scheduled.generate_pending(worker))


def state(kms: Kms, name: BlindfoldKeyName = KEY) -> str:
    return kms.run(kms.parts.blindfold_keys.get(kms.call(KEY_ADMIN), name)).row.record.state


def test_tokens_that_have_expired_are_forgotten(kms: Kms) -> None:
    grant = Grant(IdentityName("acme", "prod", "web"))
    for _ in range(2):
        kms.run(kms.parts.identities.create_join_token(kms.call(ADMIN), grant, timedelta(minutes=1)))
    kms.pass_time(timedelta(seconds=59))
    kms.run(scheduler(kms).forget_tokens())
    assert kms.last_event()["action"] == "CreateJoinToken"
    kms.pass_time(timedelta(seconds=1))
    kms.run(scheduler(kms).forget_tokens())
    assert (kms.last_event()["action"], kms.last_event()["details"]["number"]) == ("Kms.ForgetTokens", "2")
    assert not list(kms.parts.repository.all(JoinTokenRecord))


def test_pending_version_is_generated_tested_and_recorded(kms: Kms) -> None:
    begin(kms)
    scheduled = scheduler(kms)
    generate_pending(kms, scheduled)
    assert kms.last_event()["action"] == "Kms.GenerateBlindfoldKey"
    assert state(kms) == "ENABLED"
    assert kms.key_document().n == material.key("full").n
    assert scheduled.progress(KEY) == 0


def test_what_was_pending_before_a_restart_is_taken_up(kms: Kms) -> None:
    begin(kms)
    generate_pending(kms, scheduler(kms))
    assert not list(kms.parts.blindfold_keys.pending())


def test_failed_generation_is_recorded_and_the_version_waits(kms: Kms) -> None:
    def fail(modulus_bits: int, progress: Any) -> PrivateKey:
        raise GenerationFailed("every worker ended")

    begin(kms)
    with pytest.raises(KmsError):
        generate_pending(kms, scheduler(kms, fail))
    assert (kms.last_event()["decision"], kms.last_event()["reason"]) == ("FAIL", "GenerationFailed")
    assert state(kms) == "PENDING_GENERATION"
    generate_pending(kms, scheduler(kms))
    assert state(kms) == "ENABLED"


def test_due_destruction_overwrites_the_key(kms: Kms) -> None:
    kms.add_key()
    kms.add_key("full-2")
    change = kms.parts.blindfold_keys.change
    kms.run(change(kms.call(KEY_ADMIN), KEY, Verb.SCHEDULE_DESTROY, "", timedelta(hours=24)))
    scheduled = scheduler(kms)
    kms.run(scheduled.destroy_due())
    assert state(kms) == "DESTROY_SCHEDULED"
    kms.pass_time(timedelta(hours=24))
    kms.run(scheduled.destroy_due())
    assert state(kms) == "DESTROYED"
    assert kms.last_event()["action"] == "GetBlindfoldKey"
    destroyed = [event for event in kms.events() if event["action"] == "Kms.DestroyBlindfoldKey"]
    assert [event["resource"] for event in destroyed] == [str(KEY)]


def test_scheduler_looks_after_keys(kms: Kms) -> None:
    settings = KeySettings(rotation_period=timedelta(hours=1))
    name = KeyName("acme", "prod", "orders")
    making = kms.parts.keys.create(kms.call(KEY_ADMIN), name, Purpose.MAC, "", settings, "")
    kms.run(making)
    scheduled = scheduler(kms)
    kms.run(scheduled.look_after_keys())
    kms.pass_time(timedelta(hours=1))
    kms.run(scheduled.look_after_keys())
    assert kms.run(kms.parts.keys.get(kms.call(KEY_ADMIN), name)).record.primary == 2


def test_running_scheduler_generates_what_is_begun_and_stops_when_told(kms: Kms) -> None:
    async def scenario() -> str:
        task = asyncio.create_task(scheduler(kms).run())
        await asyncio.sleep(0)
        call = kms.call(KEY_ADMIN)
        await kms.parts.blindfold_keys.begin(call, ACME, 3072, "", make_primary=True)
        for _ in range(200):
            view = await kms.parts.blindfold_keys.get(kms.call(KEY_ADMIN), KEY)
            if view.row.record.state == "ENABLED":
                break
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return view.row.record.state

    assert kms.run(scenario()) == "ENABLED"


def test_stopping_abandons_a_search(kms: Kms) -> None:
    abandoned = []

    def endless(modulus_bits: int, progress: Any) -> PrivateKey:
        try:
            while True:
                progress(1, 0)
        except Stopped:
            abandoned.append(modulus_bits)
            raise

    begin(kms)

    async def scenario() -> None:
        scheduled = scheduler(kms, endless)
        task = asyncio.create_task(scheduled.run())
        while not scheduled.progress(KEY):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    kms.run(scenario())
    assert abandoned == [3072]
    assert state(kms) == "PENDING_GENERATION"
