"""A server whose root of trust is shares: locked at its start, unlocked by k of n, over TLS and in words."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest
from desk import ROOT
from google.protobuf import descriptor_pool
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from house import SERVE, House
from shared_house import OPERATOR, init_shared, lock_status, operator, platform_events, unlock

from cli.exit_codes import ExitCode
from kms.client.api import Api
from kms.client.channel import open_channel, open_enrolment_channel
from kms.client.errors import CallExhausted, CallFailed, CallUnavailable
from kms.main.servicers import SERVICES
from kms.server.status import DETAILS_KEY


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def shares(house: House) -> list[Path]:
    return init_shared(house)


@pytest.fixture(scope="module")
def locked(house: House, shares: list[Path]) -> Iterator[House]:
    """Locked for the whole of the module."""
    settings = house.data / "kms.toml"
    text = settings.read_text().replace('monitoring_listen = ""', 'monitoring_listen = "127.0.0.1:0"')
    settings.write_text(text)
    with house.served():
        yield house


@pytest.fixture
def channel(locked: House) -> Iterator[grpc.Channel]:
    with open_channel(locked.addresses["listen"], locked.path / OPERATOR) as channel:
        yield channel


def test_locked_server_says_so_and_how_many_shares_it_needs(locked: House) -> None:
    assert lock_status(locked) == {"locked": True, "root_of_trust": "shamir", "threshold": 2, "given": 0}


def methods() -> list[tuple[str, str]]:
    found = [descriptor_pool.Default().FindServiceByName(name) for name in SERVICES]
    return [(service.full_name, method.name) for service in found for method in service.methods]


@pytest.mark.parametrize(("service", "method"), methods())
def test_every_method_is_unavailable_with_its_reason(
    channel: grpc.Channel, service: str, method: str
) -> None:
    call = channel.stream_stream(f"/{service}/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([b"\xff not a message"]), timeout=10))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = dict(caught.value.trailing_metadata())[DETAILS_KEY]
    assert b"LOCKED" in details
    assert b"kms" in details


def test_health_is_not_serving(channel: grpc.Channel) -> None:
    for service in ("", *SERVICES):
        answer = HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=10)
        assert answer.status == HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(("page", "status"), [("livez", 200), ("readyz", 503), ("healthz", 503)])
def test_monitors_are_told(locked: House, page: str, status: int) -> None:
    connection = HTTPConnection(locked.addresses["monitoring_listen"], timeout=10)
    connection.request("GET", f"/{page}")
    assert connection.getresponse().status == status
    connection.close()


def test_enrolment_is_not_there_under_the_servers_name(locked: House) -> None:
    """A locked server's certificate is good for unlocking alone."""
    ca_pem = (locked.path / OPERATOR / "ca.pem").read_bytes()
    target = locked.addresses["enrolment_listen"]
    with (
        open_enrolment_channel(target, ca_pem) as channel,
        pytest.raises(CallUnavailable, match="Hostname"),
    ):
        Api(channel, timeout=10).call("EnrolmentService", "Enrol", {"token": "t", "csr": ""})
    with (
        open_enrolment_channel(target, ca_pem, "unlock.kms.invalid") as channel,
        pytest.raises(CallUnavailable) as caught,
    ):
        Api(channel, timeout=10).call("EnrolmentService", "Enrol", {"token": "t", "csr": ""})
    assert caught.value.reason == "LOCKED"


def test_person_is_told_what_to_do(locked: House) -> None:
    ended = locked.kms("tenant", "list", who=OPERATOR)
    assert (ended.code, ended.out) == (ExitCode.UNAVAILABLE, b"")
    assert "kms: the server is locked" in ended.words
    assert "kms operator unlock" in ended.words


def test_slip_in_the_words_is_not_repeated_by_the_server(locked: House, shares: list[Path]) -> None:
    words = shares[0].read_text().split()
    ended = operator(locked, "unlock", stdin=" ".join(words[:-1]).encode())
    assert (ended.code, ended.error["reason"]) == (ExitCode.USAGE, "INVALID_FIELD")
    assert not set(words[4:]) & set(ended.words.split())


def test_shares_go_to_no_server_of_another_authority(locked: House, tmp_path: Path) -> None:
    other = House(tmp_path)
    other.init()
    other.file("profile.toml", "")
    server = ("--server", locked.addresses["enrolment_listen"])
    ended = other.kms("operator", "unlock", *server, who=OPERATOR, stdin=b"academic acid")
    assert ended.code == ExitCode.UNAVAILABLE
    pinned = ("--identity-root", other.made["identity_root"])
    ended = other.kms("operator", "unlock", *server, *pinned, stdin=b"academic acid")
    assert ended.code == ExitCode.UNAUTHENTICATED


def test_attempts_are_limited_by_address(tmp_path: Path) -> None:
    house = House(tmp_path)
    init_shared(house)
    ca_pem = (house.path / OPERATOR / "ca.pem").read_bytes()
    with (
        house.served(),
        open_enrolment_channel(house.addresses["enrolment_listen"], ca_pem, "unlock.kms.invalid") as channel,
    ):
        api = Api(channel, timeout=30)
        failures = []
        for _ in range(25):
            with pytest.raises(CallFailed) as caught:
                api.call("UnlockService", "Unlock", {"share": "AAAA"})
            failures.append(type(caught.value))
    assert CallExhausted in failures
    assert CallExhausted not in failures[:20]


def test_two_of_three_unlock_and_the_trail_says_who(tmp_path: Path) -> None:
    house = House(tmp_path)
    shares = init_shared(house)
    stranger = House(tmp_path / "other")
    stranger.path.mkdir()
    [wrong, *_] = init_shared(stranger)
    with house.served() as process:
        assert operator(house, "unlock", wrong).error["reason"] == "WRONG_SHARE"
        status = unlock(house, shares[2])
        assert (status["locked"], status["given"]) == (True, 1)
        assert status["expire_time"]
        assert operator(house, "unlock", shares[2]).error["reason"] == "SHARE_REPEATED"
        assert operator(house, "unlock", wrong).error["reason"] == "WRONG_SHARE"
        assert unlock(house, shares[0])["locked"] is False
        house.must("kms", "namespace", "create", "prod")
        shown = house.must("kms", "status", who=OPERATOR)
        assert (shown["ready"], shown["root_of_trust"]["kind"]) == (True, "shamir")
        late = operator(house, "unlock", shares[1])
        assert (late.code, late.error["message"]) == (
            ExitCode.CONFLICT,
            "the server is not locked; the share was not sent",
        )
        assert lock_status(house) == {
            "locked": False,
            "root_of_trust": "shamir",
            "threshold": 0,
            "given": 0,
        }
        [event] = platform_events(house, "Kms.Unlock")
        details = event["details"]
        assert (details["share_1"], details["share_3"]) == ("127.0.0.1", "127.0.0.1")
        assert details["refused_shares"] == "2"
        assert process.poll() is None


def test_shares_at_the_start_leave_no_lock(tmp_path: Path) -> None:
    house = House(tmp_path)
    shares = init_shared(house)
    with house.served("--share-file", shares[1], "--share-file", shares[0]):
        assert lock_status(house)["locked"] is False
    with house.served("--share-file", shares[1], "--share-file", shares[0], "--locked"):
        assert lock_status(house)["locked"] is True


def test_identity_is_recovered_with_shares(house: House, tmp_path: Path) -> None:
    house = House(tmp_path)
    shares = init_shared(house)
    files = ("--share-file", shares[0], "--share-file", shares[2])
    recover = ("recover", "--data", house.data, "--identity", "operators/root", "--out", tmp_path / "new")
    assert house.kms(*recover, *files).code == 0
    refused = house.kms(*recover, *files[:2])
    assert (refused.code, refused.words) == (ExitCode.USAGE, "kms: shares: must be 2\n")
    asked = house.kms(*recover, stdin=b"")
    assert "needs 2 shares" in asked.words


@pytest.mark.parametrize("lost", ["serve", "unlock"])
def test_server_without_its_locked_certificate_says_how_to_start(tmp_path: Path, lost: str) -> None:
    house = House(tmp_path)
    shares = init_shared(house)
    shutil.rmtree(house.data / "locked" / lost)
    refused = house.process("kms", "serve", "--data", house.data)
    assert refused.code != 0
    assert "start with the shares: --share-file" in refused.words
    with house.served("--share-file", shares[0], "--share-file", shares[1]):
        assert lock_status(house)["locked"] is False
    with house.served():
        assert lock_status(house)["locked"] is True


def test_certificate_that_ended_is_not_shown(tmp_path: Path) -> None:
    house = House(tmp_path)
    init_shared(house)
    later = "import kms.main.locked_serving as locked; now = locked._now; "
    later += "locked._now = lambda: now() + __import__('datetime').timedelta(days=31); "
    command = [sys.executable, "-c", later + SERVE, "serve", "--data", str(house.data)]
    done = subprocess.run(
        command, cwd=ROOT, env=house.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "it ended on" in done.stderr
