"""`wingman serve` as a process: started, asked, stopped; and `wingman status`."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from server.kms_harness import RunningKms
from sidecar import PATIENCE, Sidecar

from blindfold.secret import SecretBytes
from cli import wingman
from kms.model.join_token import FINGERPRINT_SIZE, ID_SIZE, SECRET_SIZE, JoinToken

SECRET = b"pa55word pa55word"


def of(kms: RunningKms) -> Mapping[str, object]:
    return {"server": kms.target, "credentials": str(kms.credentials("web"))}


@contextmanager
def process(
    directory: Path, members: Mapping[str, object], *arguments: str
) -> Iterator["subprocess.Popen[bytes]"]:
    told = {"socket": str(directory / "wingman.sock"), **members}
    (directory / "wingman.json").write_text(json.dumps(told))
    command = "from cli.wingman import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "serve", "--config", str(directory / "wingman.json"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def status(*arguments: object) -> tuple[int, str, str]:
    ended = CliRunner().invoke(wingman.program, ["status", *map(str, arguments)])
    return ended.exit_code, ended.stdout, ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(kms: RunningKms, tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path, of(kms), "--json") as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline()) == {"socket": str(tmp_path / "wingman.sock")}
        sidecar = Sidecar(str(tmp_path / "wingman.sock"), 0)
        sidecar.wait_for("READY")
        assert sidecar.unseal(kms.seal(SECRET)).status == 200
        running.send_signal(number)
        out, words = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (0, b"")
    assert not (tmp_path / "wingman.sock").exists()
    assert b"wingman.identity: identity spiffe://kms.test/tenant/acme/ns/prod/sa/web until" in words
    assert SECRET not in words


def test_it_leaves_no_core_file_and_lets_nobody_look_into_it(kms: RunningKms, tmp_path: Path) -> None:
    with process(tmp_path, of(kms)) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith(b"serving on ")
        limits = Path(f"/proc/{running.pid}/limits").read_text()
        [core] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]


def test_server_that_hangs_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    token = JoinToken(bytes(ID_SIZE), SecretBytes(bytes(SECRET_SIZE)), bytes(FINGERPRINT_SIZE))
    (tmp_path / "token").write_text(token.reveal())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        enrolment = {"server": address, "join_token_file": str(tmp_path / "token")}
        told = {"server": address, "credentials": str(tmp_path / "none"), "enrolment": enrolment}
        with process(tmp_path, told) as running:
            caller, _ = silent.accept()
            running.send_signal(signal.SIGTERM)
            # It would be half a minute if the enrolment were waited for.
            running.communicate(timeout=PATIENCE)
            assert running.returncode == 0
        caller.close()


def test_connection_that_stays_open_does_not_keep_it_from_stopping(kms: RunningKms, tmp_path: Path) -> None:
    with process(tmp_path, of(kms)) as running:
        assert running.stdout is not None
        running.stdout.readline()
        connection = Sidecar(str(tmp_path / "wingman.sock"), 0).connection()
        connection.request("GET", "/status")
        connection.getresponse().read()
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=PATIENCE)
        connection.close()
    assert running.returncode == 0


def test_status_is_printed(sidecar: Sidecar) -> None:
    code, out, _ = status("--socket", sidecar.socket, "--json")
    assert (code, json.loads(out)["status"]) == (0, "READY")
    assert status("--socket", sidecar.socket)[1].startswith("status   READY\n")


def test_nobody_there_is_told_with_a_hint(tmp_path: Path) -> None:
    code, out, words = status("--socket", tmp_path / "none.sock")
    assert (code, out) == (6, "")
    assert "none.sock: No such file or directory\nhint: Is it running" in words
