"""What the connector does when the vault, or what stands before it, does not do what it should."""

import asyncio
import gzip
import json
import logging
import socket
import threading
import traceback
from dataclasses import dataclass, field
from typing import Any

import pytest
from server.server_harness import Authority
from vault.fetching import Pauses, fetch, read, source_of, wanted
from vault.stand_in import Fault, StandIn, stand_in
from vault.workshop import Workshop, clear

from kms.external import errors
from kms.external.errors import (
    ExternalFailed,
    Forbidden,
    LoginRefused,
    NotNow,
    NotVerified,
    Redirected,
    Sealed,
    ServerFailed,
    ServerLimits,
    TimedOut,
    TooLarge,
    Unreachable,
    Unreadable,
)
from kms.external.vault.api import Health
from kms.model.secret_management_access import (
    AccessTls,
    AppRoleAuthentication,
    Engine,
    SecretManagementAccess,
    TokenAuthentication,
)

CANARY = "hvs.canary-in-an-answer"


@dataclass
class Bench:
    """A stand-in with one secret, and its faults."""

    vault: Workshop
    server: StandIn
    pauses: Pauses = field(default_factory=Pauses)

    @property
    def access(self) -> SecretManagementAccess:
        return self.vault.access(("kv", Engine.KV_V1), timeout_seconds=2)

    def fault(self, *faults: Fault) -> None:
        self.server.faults = list(faults)

    def read(self) -> bytes:
        return read(self.access, wanted("kv/a", key="x"), pauses=self.pauses)

    def asked(self, path: str = "/v1/kv/a") -> int:
        return sum(found == path for _, found in self.server.requests)


@pytest.fixture
def bench(vault: Workshop) -> Bench:
    server = vault.only_stand_in("to fail when it is asked to")
    vault.write("sys/mounts/kv", type="kv")
    vault.write("kv/a", x="hunter2")
    server.requests.clear()
    return Bench(vault, server)


@pytest.mark.parametrize("status", [412, 429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(bench: Bench, status: int) -> None:
    bench.fault(Fault(status, times=2, path="kv/a"))
    assert bench.read() == b"hunter2"
    assert bench.asked() == 3
    assert len(bench.pauses.slept) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (412, NotNow),
        (429, ServerLimits),
        (500, ServerFailed),
        (502, ServerFailed),
        (503, NotNow),
        (599, ServerFailed),
    ],
)
def test_what_does_not_pass_is_given_up_after_four_times(
    bench: Bench, status: int, kind: type[ExternalFailed]
) -> None:
    bench.fault(Fault(status, times=100, path="kv/a"))
    with pytest.raises(kind):
        bench.read()
    assert bench.asked() == 4


def test_the_server_says_when_to_come_again(bench: Bench) -> None:
    bench.fault(Fault(429, times=1, path="kv/a", headers={"retry-after": "1"}))
    assert bench.read() == b"hunter2"
    assert bench.pauses.slept == [1.0]


def test_who_is_to_come_much_later_is_told_so_and_does_not_wait(bench: Bench) -> None:
    bench.fault(Fault(429, times=100, path="kv/a", headers={"retry-after": "600"}))
    with pytest.raises(ServerLimits) as caught:
        bench.read()
    assert caught.value.retry_after == 600
    assert bench.asked() == 1


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT", "٣", ""])
def test_a_time_to_come_again_that_is_no_number_of_seconds_does_not_count(bench: Bench, text: str) -> None:
    bench.fault(Fault(503, times=100, path="kv/a", headers={"retry-after": text.encode().decode("latin-1")}))
    with pytest.raises(NotNow) as caught:
        bench.read()
    assert caught.value.retry_after is None


def test_a_sealed_vault_is_not_asked_again(bench: Bench) -> None:
    bench.server.system.sealed = True
    with pytest.raises(Sealed):
        bench.read()
    assert bench.server.requests == [("GET", "/v1/auth/token/lookup-self")]


@pytest.mark.parametrize(("name", "health"), [("sealed", Health.SEALED), ("standby", Health.STANDBY)])
def test_health_says_what_a_server_is(bench: Bench, name: str, health: Health) -> None:
    setattr(bench.server.system, name, True)

    async def ask() -> Health:
        async with source_of(bench.access) as source:
            return await source.health()

    assert asyncio.run(ask()) is health


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(bench: Bench, status: int) -> None:
    elsewhere = f"{bench.server.address}/v1/elsewhere"
    bench.fault(Fault(status, times=100, path="kv/a", headers={"location": elsewhere}))
    with pytest.raises(Redirected):
        bench.read()
    assert bench.asked("/v1/elsewhere") == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"null", b"{", b'{"data":7}', b"\xff", b"[" * 100_000],
    ids=lambda body: repr(body[:12]),
)
def test_an_answer_that_is_none_of_a_vault_is_said_to_be_so(bench: Bench, content: bytes) -> None:
    bench.fault(Fault(200, times=100, path="kv/a", content=content))
    with pytest.raises(Unreadable):
        bench.read()


def test_an_answer_that_never_ends_is_cut_off(bench: Bench) -> None:
    bench.fault(Fault(200, times=100, path="kv/a", content=b" " * 2_000_000))
    with pytest.raises(TooLarge):
        bench.read()


def test_a_small_answer_that_swells_is_not_swollen(bench: Bench) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    bench.fault(Fault(200, path="kv/a", content=bomb, headers={"content-encoding": "gzip"}))
    with pytest.raises(Unreadable):
        bench.read()


@pytest.mark.parametrize(
    "auth",
    [
        None,
        [],
        {},
        {"client_token": 7},
        {"client_token": ""},
        {"client_token": "two words"},
        {"client_token": "é"},
        {"client_token": "a\r\nx: b"},
    ],
    ids=str,
)
def test_a_login_that_gives_no_token_is_none(bench: Bench, auth: object) -> None:
    how = AppRoleAuthentication("role", clear("secret"))
    access = bench.vault.access(("kv", Engine.KV_V1), authentication=how)
    bench.fault(Fault(200, times=9, path="login", content=json.dumps({"auth": auth}).encode()))
    with pytest.raises(Unreadable, match="no token"):
        read(access, wanted("kv/a", key="x"), pauses=bench.pauses)


@pytest.mark.parametrize("seconds", ["-5", "1e400", "true", '"60"', "null", "1" + "0" * 40])
def test_times_that_are_none_do_no_harm(bench: Bench, seconds: str) -> None:
    auth = f'{{"client_token":"{bench.vault.token}","lease_duration":{seconds},"renewable":true}}'
    how = AppRoleAuthentication("role", clear("secret"))
    access = bench.vault.access(("kv", Engine.KV_V1), authentication=how)
    bench.fault(
        Fault(200, path="login", content=f'{{"auth":{auth}}}'.encode()),
        Fault(204, times=9, path="revoke-self"),
    )
    assert read(access, wanted("kv/a", key="x"), pauses=bench.pauses) == b"hunter2"


def test_a_connection_that_breaks_off_is_made_again(bench: Bench) -> None:
    bench.fault(Fault(0, times=2, path="kv/a"))
    assert bench.read() == b"hunter2"
    bench.fault(Fault(0, times=100, path="kv/a"))
    with pytest.raises(Unreachable):
        bench.read()


def test_a_login_that_may_have_been_done_is_not_repeated(bench: Bench) -> None:
    method = bench.vault.method("approle")
    how = AppRoleAuthentication("role", clear("secret"), mount=method)
    access = bench.vault.access(("kv", Engine.KV_V1), authentication=how)
    bench.fault(Fault(500, times=100, path="login"))
    with pytest.raises(ServerFailed):
        read(access, wanted("kv/a", key="x"), pauses=bench.pauses)
    assert bench.asked(f"/v1/auth/{method}/login") == 1


def test_a_server_that_does_not_answer_is_given_up(bench: Bench) -> None:
    hold = threading.Event()
    bench.fault(Fault(200, times=100, path="lookup-self", hold=hold))
    access = bench.vault.access(("kv", Engine.KV_V1), timeout_seconds=1)
    try:
        with pytest.raises(TimedOut):
            read(access, wanted("kv/a", key="x"), pauses=bench.pauses)
    finally:
        hold.set()


def test_a_server_that_never_ends_its_head_is_given_up_and_holds_no_thread(bench: Bench) -> None:
    done = threading.Event()
    bench.fault(Fault(200, times=100, path="lookup-self", trickle=done))
    access = bench.vault.access(("kv", Engine.KV_V1), timeout_seconds=1)
    try:
        with pytest.raises((TimedOut, Unreachable)):
            read(access, wanted("kv/a", key="x"), pauses=bench.pauses)
        threads = [it for it in threading.enumerate() if it.name.startswith("external")]
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
    finally:
        done.set()


def test_a_name_that_comes_to_mean_another_machine_gets_nothing(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = AccessTls(bench.vault.ca_pem)
    access = bench.vault.access(("kv", Engine.KV_V1), endpoint="https://localhost:8200", tls=tls)
    with stand_in(tmp_path_factory.mktemp("evil"), Authority("another authority")) as evil:
        ports = [int(server.address.rpartition(":")[2]) for server in (bench.server, evil)]

        def resolve(*_: object, **__: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", ports[0]))]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert read(access, wanted("kv/a", key="x"), pauses=bench.pauses) == b"hunter2"
        ports.pop(0)
        with pytest.raises(NotVerified):
            read(access, wanted("kv/a", key="x"), pauses=bench.pauses)
        assert evil.requests == []


def test_nothing_that_listens_is_unreachable(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    access = bench.vault.access(("kv", Engine.KV_V1), endpoint=f"https://127.0.0.1:{port}")
    with pytest.raises(Unreachable):
        read(access, wanted("kv/a", key="x"), pauses=bench.pauses)


def test_connections_are_used_again(bench: Bench) -> None:
    bench.server.connections = 0
    fetch(bench.access, *[wanted("kv/a", key="x")] * 10)
    assert bench.server.connections == 1


def test_no_more_than_four_connections_are_open(bench: Bench) -> None:
    bench.server.connections = 0

    async def many() -> None:
        async with source_of(bench.access) as source:
            await asyncio.gather(*(source.get(wanted("kv/a", key="x")) for _ in range(40)))

    asyncio.run(many())
    assert bench.server.connections <= 4


@pytest.mark.parametrize("status", [200, 400, 403, 404, 500, 503])
def test_nothing_that_the_server_says_is_in_an_error_or_a_log(
    bench: Bench, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = bench.vault.make_token()
    content = f'{{"errors":["{CANARY}"],"warnings":["{CANARY}"]}}'.encode()
    headers = {"x-canary": CANARY}
    bench.fault(Fault(status, times=100, path="kv/a", content=content, headers=headers))
    access = bench.vault.access(("kv", Engine.KV_V1), authentication=TokenAuthentication(clear(token)))
    with pytest.raises(ExternalFailed) as caught:
        read(access, wanted("kv/a", key="x"), pauses=bench.pauses)
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
    assert CANARY not in said
    assert token not in said
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "variable", ["VAULT_ADDR", "VAULT_TOKEN", "HTTPS_PROXY", "https_proxy", "VAULT_CACERT"]
)
def test_the_environment_does_not_count(bench: Bench, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert bench.read() == b"hunter2"


def test_no_token_of_the_environment_is_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", bench.vault.token)
    access = bench.vault.access(
        ("kv", Engine.KV_V1), authentication=TokenAuthentication(clear("hvs.unknown"))
    )
    with pytest.raises(LoginRefused):
        read(access, wanted("kv/a", key="x"), pauses=bench.pauses)


def test_every_failure_has_a_reason_of_its_own() -> None:
    kinds: list[Any] = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    reasons = [kind.reason for kind in kinds if issubclass(kind, ExternalFailed)]
    assert len(reasons) == len(set(reasons))
    assert Forbidden.reason in reasons
