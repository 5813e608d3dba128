"""A real nginx takes new certificates of a Wingman, and finishes requests under way."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from server.kms_harness import RunningKms
from sidecar import configuration, serving, wait_until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")

PAGE = Path(__file__).parents[2] / "docs/wingman.md"
AROUND = """
daemon off; error_log {work}/error.log; worker_processes 1; {user}
events {{ }}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def nginx(work: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """With the configuration of the page."""
    [block] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    block = block.replace("/run/web", str(work)).replace("/run/wingman/files", str(work / "files"))
    block = block.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace(
        "server {", "access_log off; keepalive_timeout 60; server { location / { return 200 ok; }"
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(AROUND.format(work=work, user=user) + block)
    command = [str(NGINX), "-p", str(work), "-c", str(work / "nginx.conf"), "-e", str(work / "error.log")]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: is_open(port))
            yield process
        finally:
            process.terminate()
            process.wait(20)


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def connect(port: int, roots: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=roots)
    context.check_hostname = False
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))


def serial(connection: ssl.SSLSocket) -> str:
    found = connection.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def test_certificate_changes_under_a_server_that_goes_on(kms: RunningKms, tmp_path: Path) -> None:
    own, port = tmp_path / "credentials", free_port()
    kms.issue(kms._grant("web"), own)
    files = {
        "directory": str(tmp_path / "files"),
        "identity": {"key": "tls.key", "certificate": "tls.crt", "ca": "ca.crt"},
        "on_change": {"signal": "HUP", "pid_file": str(tmp_path / "nginx.pid")},
    }
    with serving(configuration(kms, tmp_path, credentials=str(own), files=files)):
        wait_until((tmp_path / "files/ca.crt").exists)
        roots = (tmp_path / "files/ca.crt").read_text()
        with nginx(tmp_path, port) as server, connect(port, roots) as before:
            first = serial(before)
            before.sendall(b"GET / HTTP/1.1\r\n")
            kms.issue(kms._grant("web"), own)
            second = serial_of(own / "cert.pem")
            assert second != first
            wait_until(lambda: serial_now(port, roots) == second)
            assert server.poll() is None
            before.sendall(b"host: web\r\n\r\n")
            assert before.recv(12) == b"HTTP/1.1 200"


def serial_now(port: int, roots: str) -> str:
    time.sleep(0.05)
    with connect(port, roots) as connection:
        return serial(connection)


def serial_of(path: Path) -> str:
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", str(path)], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip().removeprefix("serial=")
