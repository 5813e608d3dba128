"""Who may come in: users by the unix socket, no web page by any listener, and nobody slowly."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from server.kms_harness import RunningKms
from sidecar import PATIENCE, Sidecar, configuration, ready_sidecar, serving

from kms.errors import ConfigError
from wingman.http import bodies, protocol
from wingman.http.listening import bind_unix

OTHER_UID = 65534
GET_STATUS = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
ASK_AS_ANOTHER = f"""
import os, socket, sys
os.setgroups([])
os.setuid(int(sys.argv[2]))
asker = socket.socket(socket.AF_UNIX)
asker.connect(sys.argv[1])
try:
    asker.sendall({GET_STATUS!r})
    print(asker.recv(1000).decode().partition(" ")[0])
except ConnectionError:
    pass
"""
needs_two_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")


def ask_as(uid: int, path: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-c", ASK_AS_ANOTHER, path, str(uid)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.fixture
def open_way() -> Iterator[Path]:
    """A directory that other users can reach, which those of pytest are not."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


def test_socket_is_for_its_own_user_alone(sidecar: Sidecar) -> None:
    assert stat.S_IMODE(Path(sidecar.socket).stat().st_mode) == 0o600


@needs_two_users
def test_other_user_cannot_connect(kms: RunningKms, open_way: Path) -> None:
    with ready_sidecar(kms, open_way) as sidecar:
        assert "PermissionError" in ask_as(OTHER_UID, sidecar.socket).stderr


@needs_two_users
def test_other_user_is_sent_away_even_if_the_socket_is_opened_to_him(kms: RunningKms, open_way: Path) -> None:
    with ready_sidecar(kms, open_way) as sidecar:
        Path(sidecar.socket).chmod(0o666)
        asked = ask_as(OTHER_UID, sidecar.socket)
        assert (asked.returncode, asked.stdout.strip()) == (0, "")
        assert sidecar.get("/status").status == 200


@needs_two_users
def test_other_user_is_served_where_the_configuration_names_him(kms: RunningKms, open_way: Path) -> None:
    path = open_way / "made" / "wingman.sock"
    with ready_sidecar(kms, open_way, uids=[OTHER_UID], socket=str(path)) as sidecar:
        assert ask_as(OTHER_UID, sidecar.socket).stdout.strip() == "HTTP/1.1"
        asked = ask_as(OTHER_UID - 1, sidecar.socket)
        assert (asked.returncode, asked.stdout.strip()) == (0, "")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:8070", "[::1]:8070", "LocalHost:80"])
def test_loopback_host_is_served(sidecar: Sidecar, host: str) -> None:
    assert sidecar.get("/status", tcp=True, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8070", "localhost.evil.example", "localhost@evil", "127.0.0.2", "::1"],
)
def test_foreign_host_is_refused(sidecar: Sidecar, host: str) -> None:
    assert sidecar.get("/status", tcp=True, host=host).status == 403


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:8070"},
        {"origin": "null"},
        {"origin": ""},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-origin"},
    ],
    ids=str,
)
def test_web_pages_are_refused(sidecar: Sidecar, headers: dict[str, str], tcp: bool) -> None:
    assert sidecar.post("/secret/unseal", {}, tcp=tcp, **headers).status == 403


def raw(sidecar: Sidecar, request: bytes) -> bytes:
    """All that comes back until the other side ends the connection."""
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET /status HTTP/1.0\r\n\r\n",
        b"GET /status HTTP/1.1\r\nConnection: close\r\n\r\n",
    ],
)
def test_no_way_of_writing_the_host_gets_round_the_check(sidecar: Sidecar, request_line: bytes) -> None:
    status = raw(sidecar, request_line).split(b" ", 2)[1]
    assert status in (b"400", b"403")


def test_headers_that_do_not_end_end_the_connection(
    sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.05)
    assert raw(sidecar, b"GET /status HTTP/1.1\r\nHost:") == b""
    assert raw(sidecar, b"") == b""


def test_headers_that_do_not_end_after_a_request_end_the_connection(
    sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.05)
    connection = sidecar.tcp_connection()
    connection.request("GET", "/status")
    assert connection.getresponse().read() == b"READY"
    connection.sock.sendall(b"GET /status HT")
    assert connection.sock.recv(100) == b""
    connection.close()


def test_rest_of_a_body_that_is_refused_unread_is_not_waited_for(
    sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.05)
    connection = sidecar.tcp_connection()
    connection.request("POST", "/secret/unseal", headers={"origin": "null", "content-length": "10"})
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 403")
    connection.sock.sendall(b"{")
    while connection.sock.recv(1000):
        pass
    connection.close()


def test_huge_headers_are_refused(sidecar: Sidecar) -> None:
    head = b"GET /status HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(head)
            answer = connection.recv(1000)
        except (ConnectionResetError, BrokenPipeError):
            answer = b"HTTP/1.1 400"
    assert answer.startswith(b"HTTP/1.1 400")


def test_huge_body_is_refused_by_its_length_and_by_itself(
    sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY", 1000)
    head = b"POST /secret/unseal HTTP/1.1\r\nHost: localhost\r\n"
    told = raw(sidecar, head + b"Content-Length: 1001\r\n\r\n")
    chunked = raw(sidecar, head + b"Transfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + b"x" * 1001 + b"\r\n")
    assert [answer.split(b" ", 2)[1] for answer in (told, chunked)] == [b"413", b"413"]


@pytest.mark.parametrize(("size", "status"), [(15 << 10, 200), (17 << 10, 400)])
def test_headers_are_bounded_also_where_they_come_at_once(sidecar: Sidecar, size: int, status: int) -> None:
    assert sidecar.get("/status", x_long="x" * size).status == status


def test_slow_body_is_refused(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    answer = raw(sidecar, b"POST /secret/unseal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
    assert answer.split(b" ", 2)[1] == b"408"


def test_type_that_is_no_json_is_refused(sidecar: Sidecar) -> None:
    assert sidecar.post("/secret/unseal", b"<a/>", content_type="application/xml").status == 415


@pytest.mark.parametrize(
    "path", ["/", "/secret/../status", "/creds/pki/server/..%2f..%2fkey", "//status", "/status/"]
)
def test_other_paths_are_not_found(sidecar: Sidecar, path: str) -> None:
    assert sidecar.get(path).status == 404


def test_other_methods_are_refused(sidecar: Sidecar) -> None:
    answer = sidecar.get("/secret/unseal")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.text == "the page has another method: POST\n"


def test_socket_of_a_dead_one_is_replaced_and_of_a_living_one_is_not(kms: RunningKms, tmp_path: Path) -> None:
    path = tmp_path / "wingman.sock"
    bind_unix(path).close()
    assert path.is_socket()
    with ready_sidecar(kms, tmp_path), pytest.raises(ConfigError, match="somebody listens"):
        bind_unix(path)
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(kms: RunningKms, tmp_path: Path) -> None:
    (tmp_path / "wingman.sock").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="is no socket"), serving(configuration(kms, tmp_path)):
        pass
    assert (tmp_path / "wingman.sock").read_bytes() == b"precious"


def test_taken_port_is_told(kms: RunningKms, tmp_path: Path, sidecar: Sidecar) -> None:
    how = configuration(kms, tmp_path, listen=f"127.0.0.1:{sidecar.port}")
    with pytest.raises(ConfigError, match="cannot listen"), serving(how):
        pass
    assert not (tmp_path / "wingman.sock").exists()
