"""Dynamic secrets: one lease for all who ask, renewed, replaced, and revoked at the end."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from vault.fetching import Clock, read, source_of, wanted
from vault.neighbours import RabbitMq, serving
from vault.stand_in import Fault
from vault.workshop import Answered, Workshop, clear

from kms.external.vault.source import VaultSource
from kms.model.secret_management_access import (
    AppRoleAuthentication,
    Engine,
    SecretManagementAccess,
    TokenAuthentication,
)
from kms.model.secret_type import VaultSecret

HOUR = 3600
DUE = HOUR * 2 / 3


@dataclass(frozen=True)
class Queue:
    """Credentials of a message queue, made by the vault when they are asked for."""

    vault: Workshop
    broker: RabbitMq
    mount: str

    def access(self, token: str = "") -> SecretManagementAccess:
        if not token:
            return self.vault.access((self.mount, Engine.DYNAMIC))
        how = TokenAuthentication(clear(token))
        return self.vault.access((self.mount, Engine.DYNAMIC), authentication=how)

    def secret(self, key: str = "username", role: str = "app") -> VaultSecret:
        return wanted(f"{self.mount}/{role}", key=key)

    async def user(self, source: VaultSource, role: str = "app") -> str:
        return (await source.get(self.secret(role=role))).secret.reveal().decode()


@pytest.fixture
def queue(vault: Workshop) -> Iterator[Queue]:
    broker = RabbitMq()
    with serving(broker.answer) as address:
        mount = vault.mount("rabbitmq")
        try:
            vault.write(
                f"{mount}/config/connection", connection_uri=address, username="admin", password="bunny"
            )
        except Answered:
            if vault.server is None:
                pytest.skip("the real server runs where it cannot reach this machine")
            raise
        vault.write(f"{mount}/config/lease", ttl=HOUR, max_ttl=24 * HOUR)
        for role in ("app", "other"):
            vault.write(f"{mount}/roles/{role}", tags="management")
        yield Queue(vault, broker, mount)
        # Before the broker goes: leases that a test left are revoked there.
        vault.call("DELETE", f"sys/mounts/{mount}")


def test_user_and_password_are_of_one_lease(queue: Queue) -> None:
    async def test() -> None:
        async with source_of(queue.access()) as source:
            user, password = await asyncio.gather(
                source.get(queue.secret("username")), source.get(queue.secret("password"))
            )
            assert queue.broker.users == {user.secret.reveal().decode(): password.secret.reveal().decode()}
            assert user.is_leased
            assert user.keep_seconds == pytest.approx(HOUR, abs=5)
            assert user.refresh_seconds == pytest.approx(DUE, abs=5)

    asyncio.run(test())


def test_each_role_has_a_lease_of_its_own(queue: Queue) -> None:
    async def test() -> None:
        async with source_of(queue.access()) as source:
            users = {await queue.user(source), await queue.user(source, "other")}
            assert users == set(queue.broker.users)

    asyncio.run(test())


def test_leases_are_revoked_at_the_end(queue: Queue) -> None:
    read(queue.access(), queue.secret())
    assert queue.broker.users == {}


def test_a_lease_is_renewed_after_two_thirds_of_its_life_and_stays_the_same(queue: Queue) -> None:
    async def test() -> None:
        clock = Clock()
        async with source_of(queue.access(), clock=clock) as source:
            user = await queue.user(source)
            assert source.due == pytest.approx(clock.now + DUE, abs=5)
            clock.now += DUE + 10
            await source.renew_due()
            assert source.due == pytest.approx(clock.now + DUE, abs=5)
            clock.now += DUE
            assert await queue.user(source) == user

    asyncio.run(test())


def test_a_lease_that_was_revoked_elsewhere_is_replaced_when_it_is_due(queue: Queue) -> None:
    async def test() -> None:
        clock = Clock()
        async with source_of(queue.access(), clock=clock) as source:
            user = await queue.user(source)
            queue.vault.call("PUT", f"sys/leases/revoke-prefix/{queue.mount}", {})
            clock.now += DUE + 10
            await source.renew_due()
            assert await queue.user(source) != user

    asyncio.run(test())


def test_a_lease_at_the_end_of_its_longest_life_is_replaced_while_it_lives(queue: Queue) -> None:
    queue.vault.write(f"{queue.mount}/config/lease", ttl=HOUR, max_ttl=HOUR)

    async def test() -> None:
        clock = Clock()
        async with source_of(queue.access(), clock=clock) as source:
            user = await queue.user(source)
            queue.vault.write(f"{queue.mount}/config/lease", ttl=60, max_ttl=60)
            clock.now += DUE + 10
            await source.renew_due()
            assert await queue.user(source) != user
            assert len(queue.broker.users) == 2

    asyncio.run(test())


def test_a_lease_of_a_token_that_cannot_be_renewed_counts_as_no_longer(queue: Queue) -> None:
    policy = queue.vault.policy_of({f"{queue.mount}/creds/*": "read"})
    token = queue.vault.make_token(policy, ttl=600, renewable=False)

    async def test() -> None:
        async with source_of(queue.access(token)) as source:
            found = await source.get(queue.secret())
            assert found.keep_seconds == pytest.approx(600, abs=5)
            assert found.refresh_seconds == pytest.approx(400, abs=5)

    asyncio.run(test())


def test_a_token_that_died_took_its_leases_along(queue: Queue) -> None:
    policy = queue.vault.policy_of({f"{queue.mount}/creds/*": "read"})
    method = queue.vault.method("approle")
    queue.vault.write(f"auth/{method}/role/web", token_policies=[policy])
    role_id = queue.vault.read(f"auth/{method}/role/web/role-id")["role_id"]
    secret_id = queue.vault.write(f"auth/{method}/role/web/secret-id")["data"]["secret_id"]
    how = AppRoleAuthentication(role_id, clear(secret_id), mount=method)
    access = queue.vault.access((queue.mount, Engine.DYNAMIC), authentication=how)

    async def test() -> None:
        clock = Clock()
        async with source_of(access, clock=clock) as source:
            user = await queue.user(source)
            await source.with_token(lambda api: api.revoke())
            clock.now += 60
            await queue.user(source, "other")
            assert await queue.user(source) != user

    asyncio.run(test())


def test_renewal_that_fails_leaves_the_secret_as_it_is_until_its_end(queue: Queue) -> None:
    server = queue.vault.only_stand_in("to fail")

    async def test() -> None:
        clock = Clock()
        async with source_of(queue.access(), clock=clock) as source:
            user = await queue.user(source)
            server.faults.append(Fault(500, times=100, path="leases/renew"))
            clock.now += DUE + 10
            await source.renew_due()
            found = await source.get(queue.secret())
            assert found.secret.reveal().decode() == user
            assert 0 < found.refresh_seconds < found.keep_seconds < HOUR / 3
            server.faults.clear()
            clock.now += HOUR / 3
            assert await queue.user(source) != user

    asyncio.run(test())


def test_a_lease_that_is_not_renewable_is_replaced_after_two_thirds(queue: Queue) -> None:
    server = queue.vault.only_stand_in("to make such leases of this engine")

    async def test() -> None:
        clock = Clock()
        async with source_of(queue.access(), clock=clock) as source:
            user = await queue.user(source)
            for lease in server.system.tokens.leases.values():
                lease.renewable = False
            clock.now += DUE - 10
            assert await queue.user(source) == user
            clock.now += 20
            await source.renew_due()
            assert await queue.user(source) != user

    asyncio.run(test())


def test_a_vault_that_is_silent_at_the_end_is_not_waited_for(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = queue.vault.only_stand_in("to be silent")
    monkeypatch.setattr("kms.external.vault.source.CLOSING", 0.05)
    hold = threading.Event()

    async def test() -> None:
        async with source_of(queue.access()) as source:
            await queue.user(source)
            server.faults.append(Fault(204, path="leases/revoke", hold=hold))

    try:
        asyncio.run(test())
    finally:
        hold.set()
    assert len(queue.broker.users) == 1
