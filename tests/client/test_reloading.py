"""Credentials that are replaced while a client runs."""

import asyncio
import threading

import pytest
from client.clients import KINDS
from server.kms_harness import PROD
from server.server_harness import Authority, Options, accept, running

from blindfold.secret import SecretBytes
from kms.client.client import AsyncKmsClient, KmsClient
from kms.client.credentials import parse_credentials, read_credentials, write_credentials
from kms.client.errors import CallDenied, CallUnauthenticated
from kms.client.reloading import Reloading
from kms.errors import ConfigError
from protos.kms.v1 import crypto_pb2 as pb
from protos.kms.v1 import crypto_service_pb2 as service
from protos.kms.v1.crypto_service_pb2_grpc import CryptoServiceServicer, add_CryptoServiceServicer_to_server


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def as_caller(kms, directory, who):
    write_credentials(directory, read_credentials(kms.credentials(who)))
    return directory


def caller(kms):
    return kms.events()[-1]["caller"]


def ask(client):
    with pytest.raises(CallDenied):
        client.generate_random(PROD, 16)


def test_client_goes_on_as_the_identity_that_its_directory_then_holds(kms, kind, tmp_path):
    directory = as_caller(kms, tmp_path / "credentials", "batch")
    with kind(kms.target, directory, reload_every=0) as client:
        ask(client)
        assert caller(kms) == kms.spiffe_id("batch")
        as_caller(kms, directory, "web")
        ask(client)
        assert caller(kms) == kms.spiffe_id("web")


@pytest.mark.parametrize("name", ["key.pem", "cert.pem", "ca.pem"])
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b""], ids=["cut", "empty"]
)
def test_client_stays_as_it_is_while_the_files_are_half_written(kms, kind, tmp_path, name, damage):
    directory = as_caller(kms, tmp_path / "credentials", "batch")
    with kind(kms.target, directory, reload_every=0) as client:
        ask(client)
        file = directory / name
        file.write_bytes(damage(file.read_bytes()))
        ask(client)
        file.unlink()
        ask(client)
        assert caller(kms) == kms.spiffe_id("batch")
        as_caller(kms, directory, "web")
        ask(client)
        assert caller(kms) == kms.spiffe_id("web")


@pytest.mark.parametrize(("name", "who"), [("sync", "key-admin"), ("async", "auditor")])
def test_client_with_a_revoked_certificate_recovers_with_another(kms, tmp_path, name, who):
    directory = as_caller(kms, tmp_path / "credentials", who)
    revoked = f"{PROD}/identities/{who}"
    with KINDS[name](kms.target, directory, reload_every=0) as client:
        ask(client)
        kms.as_("admin").call("IdentityService", "RevokeIdentity", {"name": revoked})
        with pytest.raises(CallUnauthenticated):
            client.generate_random(PROD, 16)
        as_caller(kms, directory, "web")
        ask(client)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def directory(kms, tmp_path):
    return as_caller(kms, tmp_path / "credentials", "batch")


def test_files_are_looked_at_once_in_a_while(kms, directory):
    clock, connected = Clock(), []
    reloading = Reloading(directory, connected.append, clock=clock, every=1.0)
    first = reloading.begin()
    as_caller(kms, directory, "web")
    clock.now += 0.99
    assert reloading.begin() is first
    clock.now += 0.01
    assert reloading.begin() is not first
    names = [credentials.spiffe_id for credentials in connected]
    assert names == [kms.spiffe_id("batch"), kms.spiffe_id("web")]


def test_one_channel_serves_until_the_files_change(directory):
    clock, connected = Clock(), []
    reloading = Reloading(directory, connected.append, clock=clock, every=1.0)
    for _ in range(10):
        reloading.end(reloading.begin())
        clock.now += 1
    assert len(connected) == 1


def test_replaced_channel_is_handed_back_once_its_last_call_has_ended(kms, directory):
    clock = Clock()
    reloading = Reloading(directory, lambda credentials: credentials.spiffe_id, clock=clock, every=1.0)
    first, second = reloading.begin(), reloading.begin()
    as_caller(kms, directory, "web")
    clock.now += 1
    third = reloading.begin()
    assert reloading.end(third) == []
    assert reloading.end(first) == []
    assert reloading.end(second) == [kms.spiffe_id("batch")]
    assert reloading.close() == [kms.spiffe_id("web")]
    with pytest.raises(ValueError, match="closed"):
        reloading.begin()


def test_directory_without_credentials_is_refused_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match="enrol first"):
        Reloading(tmp_path, lambda credentials: None)


class Held(CryptoServiceServicer):
    """A call whose message is "wait" is answered once it is let go."""

    SERVICE = service.DESCRIPTOR.services_by_name["CryptoService"].full_name

    def __init__(self):
        self.arrived = threading.Event()
        self.go = threading.Event()

    def add_to(self, server):
        add_CryptoServiceServicer_to_server(self, server)

    async def Mac(self, request, context):  # noqa: N802
        if request.message == b"wait":
            self.arrived.set()
            await asyncio.to_thread(self.go.wait, 20)
        return pb.MacResponse(name=request.name)


@pytest.fixture
def holding(tmp_path):
    """A server, the certificates it saw, and two callers' credentials of which the first is in place."""
    authority, servicer, seen = Authority("the authority of the tests"), Held(), []

    def authenticate(pem, address, now):
        seen.append(pem)
        return accept(pem, address, now)

    pairs = [authority.issue(name) for name in ("first", "second")]
    credentials = [
        parse_credentials(SecretBytes(key), certificate, authority.pem) for key, certificate in pairs
    ]
    write_credentials(tmp_path / "credentials", credentials[0])
    options = Options(servicers=[servicer], authenticate=authenticate)
    with running(authority, options) as server:
        yield server.target, tmp_path / "credentials", servicer, seen, credentials


def test_call_under_way_ends_on_the_old_connection(holding):
    target, directory, servicer, seen, (first, second) = holding
    answers = []
    with KmsClient(target, directory, checksums=False, reload_every=0) as client:
        waiting = threading.Thread(target=lambda: answers.append(client.mac("key", b"wait")))
        waiting.start()
        assert servicer.arrived.wait(20)
        write_credentials(directory, second)
        client.mac("key", b"at once")
        servicer.go.set()
        waiting.join()
    assert [answer.name for answer in answers] == ["key"]
    assert seen == [first.certificate_pem, second.certificate_pem]


def test_call_under_way_ends_on_the_old_connection_of_an_async_client(holding):
    target, directory, servicer, seen, (first, second) = holding

    async def act():
        async with AsyncKmsClient(target, directory, checksums=False, reload_every=0) as client:
            waiting = asyncio.create_task(client.mac("key", b"wait"))
            assert await asyncio.to_thread(servicer.arrived.wait, 20)
            write_credentials(directory, second)
            await client.mac("key", b"at once")
            servicer.go.set()
            return (await waiting).name

    assert asyncio.run(act()) == "key"
    assert seen == [first.certificate_pem, second.certificate_pem]
