"""`wingman exec` and `wingman serve --once`, as processes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from server.kms_harness import RunningKms
from sidecar import wait_until

from blindfold.forms import to_location
from blindfold.secret import SecretBytes
from cli.exit_codes import ExitCode
from kms.model.join_token import ID_SIZE, SECRET_SIZE, JoinToken

SECRET = b"correct horse battery staple"
WINGMAN = Path(sys.executable).parent / "wingman"
PATIENCE = 30.0


class Desk:
    """A configuration in a file."""

    def __init__(self, kms: RunningKms, directory: Path) -> None:
        self._kms = kms
        self.directory = directory
        self.file = directory / "wingman.json"
        self.members: dict[str, Any] = {
            "server": kms.target,
            "credentials": str(kms.credentials("web")),
            "socket": str(directory / "wingman.sock"),
            "secrets": {"password": self.sealed(SECRET), "binary": self.sealed(b"\xff\x00\xff")},
        }

    def sealed(self, secret: bytes) -> dict[str, str]:
        return {"type": "blindfold", "location": to_location(self._kms.seal(secret))}

    def command(self, *arguments: str) -> list[str]:
        self.file.write_text(json.dumps(self.members))
        return [str(WINGMAN), arguments[0], "--config", str(self.file), *arguments[1:]]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(self.command(*arguments), capture_output=True, timeout=PATIENCE)

    def exec(self, script: str) -> "subprocess.CompletedProcess[bytes]":
        return self.run("exec", "--", sys.executable, "-c", script)

    @contextmanager
    def running(self, script: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A program that has started; it says so on its standard output."""
        command = self.command("exec", "--", sys.executable, "-uc", script)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                yield process
            finally:
                process.kill()


@pytest.fixture
def desk(kms: RunningKms, tmp_path: Path) -> Desk:
    return Desk(kms, tmp_path)


def test_program_reads_a_secret_from_a_descriptor(desk: Desk) -> None:
    desk.members["program"] = {"descriptors": {"PASSWORD_FILE": "password"}}
    script = "import os, sys; sys.stdout.buffer.write(open(os.environ['PASSWORD_FILE'], 'rb').read())"
    done = desk.exec(script)
    assert (done.returncode, done.stdout) == (0, SECRET)
    assert SECRET not in done.stderr


def test_secret_in_memory_cannot_be_changed_by_the_program(desk: Desk) -> None:
    desk.members["program"] = {"descriptors": {"PASSWORD_FILE": "password"}}
    done = desk.exec("import os; open(os.environ['PASSWORD_FILE'], 'r+b', 0).write(b'x')")
    assert done.returncode == 1
    assert b"Operation not permitted" in done.stderr


def test_secret_is_in_the_environment_only_where_that_is_said(desk: Desk) -> None:
    show = "import os, json; print(json.dumps(dict(os.environ)))"
    assert SECRET.decode() not in json.loads(desk.exec(show).stdout).values()
    desk.members["program"] = {"environment": {"PASSWORD": "password"}}
    assert json.loads(desk.exec(show).stdout)["PASSWORD"] == SECRET.decode()


def test_secret_that_is_no_text_is_refused_in_the_environment(desk: Desk) -> None:
    desk.members["program"] = {"environment": {"BINARY": "binary"}}
    done = desk.exec("print('started')")
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, b"")
    assert b"use descriptors" in done.stderr


def test_program_starts_when_its_files_are_there(desk: Desk) -> None:
    desk.members["files"] = {"directory": str(desk.directory / "files"), "secrets": ["password", "binary"]}
    done = desk.exec(f"print(sorted(__import__('os').listdir({str(desk.directory / 'files')!r})))")
    assert done.stdout == b"['binary', 'password']\n"


def test_program_reaches_wingman_while_it_runs(desk: Desk) -> None:
    show = (
        "import subprocess; subprocess.run(['curl', '-s', '--unix-socket', {!r}, 'http://localhost/livez'])"
    )
    assert desk.exec(show.format(desk.members["socket"])).stdout == b"ok\n"
    assert not Path(desk.members["socket"]).exists()


@pytest.mark.parametrize(
    ("script", "status"),
    [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
)
def test_exit_code_is_the_programs(desk: Desk, script: str, status: int) -> None:
    assert desk.exec(script).returncode == status


def test_program_that_is_not_there_is_told(desk: Desk) -> None:
    done = desk.run("exec", "--", "/no/such/program")
    assert done.returncode != 0
    assert b"/no/such/program: No such file or directory" in done.stderr


WAITS = """
import signal, sys
def heard(number, frame):
    print(signal.Signals(number).name)
    sys.exit(3)
for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"):
    signal.signal(getattr(signal, name), heard)
print("ready")
signal.pause()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"])
def test_signals_are_the_programs(desk: Desk, name: str) -> None:
    with desk.running(WAITS) as process:
        process.send_signal(signal.Signals[name])
        assert process.stdout is not None
        assert process.stdout.read() == f"{name}\n".encode()
        assert process.wait(PATIENCE) == 3


def test_program_is_told_of_changed_files_by_a_signal(kms: RunningKms, desk: Desk) -> None:
    own = desk.directory / "credentials"
    kms.issue(kms._grant("web"), own)
    desk.members["credentials"] = str(own)
    desk.members["files"] = {
        "directory": str(desk.directory / "files"),
        "identity": {"bundle": "tls.pem"},
        "on_change": {"signal": "HUP"},
    }
    with desk.running(WAITS) as process:
        kms.issue(kms._grant("web"), own)
        assert process.stdout is not None
        assert process.stdout.read() == b"SIGHUP\n"


def test_wingman_that_waits_for_secrets_ends_when_it_is_told_to(desk: Desk) -> None:
    desk.members["server"] = "127.0.0.1:1"
    desk.members["program"] = {"descriptors": {"PASSWORD_FILE": "password"}}
    command = desk.command("exec", "--", sys.executable, "-c", "print('started')")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: Path(desk.members["socket"]).exists())
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert process.stdout is not None
        assert process.stdout.read() == b""


def test_once_writes_files_and_ends(desk: Desk) -> None:
    desk.members["files"] = {
        "directory": str(desk.directory / "files"),
        "secrets": ["password"],
        "on_change": {"command": ["/bin/false"]},
    }
    done = desk.run("serve", "--once")
    assert (done.returncode, done.stdout) == (0, b"")
    assert (desk.directory / "files" / "password").read_bytes() == SECRET
    assert not Path(desk.members["socket"]).exists()


def test_once_ends_with_what_the_kms_refuses(kms: RunningKms, desk: Desk) -> None:
    desk.members["credentials"] = str(kms.credentials("batch"))
    desk.members["files"] = {"directory": str(desk.directory / "files"), "secrets": ["password"]}
    assert desk.run("serve", "--once").returncode == ExitCode.DENIED


def test_once_ends_with_a_secret_of_another_name(kms: RunningKms, desk: Desk) -> None:
    desk.members["secrets"]["password"]["expect_name"] = "db"
    desk.members["files"] = {"directory": str(desk.directory / "files"), "secrets": ["password"]}
    done = desk.run("serve", "--once")
    assert (done.returncode, b"is named '', expected 'db'" in done.stderr) == (ExitCode.MISMATCH, True)
    assert not any((desk.directory / "files").iterdir())


def test_once_ends_where_its_files_cannot_be_written(desk: Desk) -> None:
    files = desk.directory / "files"
    (files / "password").mkdir(parents=True, mode=0o700)
    files.chmod(0o700)
    desk.members["files"] = {"directory": str(files), "secrets": ["password"]}
    done = desk.run("serve", "--once")
    assert done.returncode == ExitCode.UNAVAILABLE
    assert b"hint: Make room on that file system" in done.stderr


def test_once_ends_with_a_token_that_the_kms_refuses(kms: RunningKms, desk: Desk) -> None:
    root = kms.parts.identity_trust.current().issuer.root_fingerprint
    token = JoinToken(bytes(ID_SIZE), SecretBytes(bytes(SECRET_SIZE)), root)
    (desk.directory / "token").write_text(token.reveal())
    desk.members["enrolment"] = {
        "server": kms.enrolment_target,
        "join_token_file": str(desk.directory / "token"),
    }
    desk.members["credentials"] = str(desk.directory / "none")
    desk.members["files"] = {"directory": str(desk.directory / "files"), "secrets": ["password"]}
    done = desk.run("serve", "--once")
    assert (done.returncode, b"join token" in done.stderr) == (ExitCode.UNAUTHENTICATED, True)


def test_once_ends_where_there_is_no_identity_to_be_had(desk: Desk) -> None:
    desk.members["credentials"] = str(desk.directory / "none")
    desk.members["files"] = {"directory": str(desk.directory / "files"), "secrets": ["password"]}
    done = desk.run("serve", "--once")
    assert (done.returncode, b"enrol first" in done.stderr) == (ExitCode.FAILED, True)


def test_once_has_nothing_to_do_without_files(desk: Desk) -> None:
    done = desk.run("serve", "--once")
    assert done.returncode != 0
    assert b"no files to write" in done.stderr


def test_once_waits_for_a_kms_that_is_not_there_yet(desk: Desk) -> None:
    desk.members["server"] = "127.0.0.1:1"
    desk.members["files"] = {"directory": str(desk.directory / "files"), "secrets": ["password"]}
    with subprocess.Popen(desk.command("serve", "--once"), stderr=subprocess.DEVNULL) as process:
        try:
            wait_until((desk.directory / "files").exists)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(2)
        finally:
            process.kill()
    assert not any((desk.directory / "files").iterdir())
