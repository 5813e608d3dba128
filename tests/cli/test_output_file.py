"""Outputs appear whole or not at all, with the right mode, and never on a terminal by accident."""

import os
import pty
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from desk import CALL, ROOT, Desk, opened

from cli.errors import UsageError
from cli.exit_codes import ExitCode
from cli.output_file import PRIVATE, PUBLIC, output_file

SECRET = b"hunter2 hunter2"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


@pytest.mark.parametrize(("wanted", "expected"), [(PUBLIC, 0o644), (PRIVATE, 0o600)])
def test_file_has_the_mode_of_its_kind(tmp_path: Path, wanted: int, expected: int) -> None:
    before = os.umask(0o022)
    try:
        with output_file(tmp_path / "out", mode=wanted) as file:
            file.write(b"data")
    finally:
        os.umask(before)
    assert ((tmp_path / "out").read_bytes(), mode(tmp_path / "out")) == (b"data", expected)


def test_private_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    with output_file(tmp_path / "out", mode=PRIVATE) as file:
        file.write(b"data")
        (temporary,) = tmp_path.iterdir()
        assert (temporary.name != "out", mode(temporary)) == (True, 0o600)


def test_private_file_takes_the_place_of_one_that_others_could_read(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(0o666)
    with output_file(tmp_path / "out", mode=PRIVATE) as file:
        file.write(b"new")
    assert ((tmp_path / "out").read_bytes(), mode(tmp_path / "out")) == (b"new", 0o600)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "out").write_bytes(b"old")

    def fail() -> None:
        with output_file(tmp_path / "out", mode=PUBLIC) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert (names(tmp_path), (tmp_path / "out").read_bytes()) == ({"out"}, b"old")


def test_device_is_written_to_and_not_replaced() -> None:
    with output_file(Path("/dev/null"), mode=PUBLIC) as file:
        file.write(b"data")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("target", ["file", "nothing"])
def test_symbolic_link_is_neither_followed_nor_replaced(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(UsageError, match="is a symbolic link"), output_file(tmp_path / "link", mode=PRIVATE):
        pass
    assert (tmp_path / "file").read_bytes() == b"old"
    assert (tmp_path / "link").is_symlink()


def test_input_may_be_its_own_output(desk: Desk) -> None:
    path = desk.path / "secret"
    assert desk.seal("--out", path, path).exit_code == 0
    assert opened(path.read_bytes()) == SECRET


def test_full_disk_leaves_nothing_half_written(desk: Desk) -> None:
    big = desk.file("big", bytes(1 << 20))
    before = names(desk.path)
    result = desk.process(
        *desk.sealing,
        *("--out", desk.path / "big.sealed", big),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert (result.returncode, result.stdout) == (ExitCode.FAILED, b"")
    assert result.stderr.startswith(b"blindfold: File too large")
    assert names(desk.path) - before == {"state"}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signal_leaves_nothing_half_written(desk: Desk, number: int, code: int) -> None:
    arguments = [*desk.sealing, "--out", str(desk.path / "secret.sealed"), "-"]
    with subprocess.Popen(
        [sys.executable, "-c", CALL, *arguments],
        cwd=ROOT,
        env=desk.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 30
        while not list(desk.path.glob(".secret.sealed.*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(desk.path.glob(".secret.sealed.*"))
        process.send_signal(number)
        _, words = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"Traceback" not in words
    assert not list(desk.path.glob("*secret.sealed*"))


def test_reader_that_ends_first_is_no_traceback(desk: Desk) -> None:
    big = desk.file("big", bytes(4 << 20))
    with subprocess.Popen(
        [sys.executable, "-c", CALL, *desk.sealing, str(big)],
        cwd=ROOT,
        env=desk.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == ExitCode.READER_GONE


def test_binary_is_not_written_to_a_terminal(desk: Desk) -> None:
    leader, follower = pty.openpty()
    try:
        result = subprocess.run(
            [sys.executable, "-c", CALL, *desk.sealing, str(desk.path / "secret")],
            cwd=ROOT, env=desk.environment, stdout=follower, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(leader)
        os.close(follower)
    assert result.returncode == ExitCode.USAGE
    assert b"refusing to write binary data to a terminal" in result.stderr
    assert b"--text" in result.stderr


def test_terminal_is_told_how_to_end_the_input(desk: Desk) -> None:
    leader, follower = pty.openpty()
    try:
        os.write(leader, b"typed\n\x04")
        result = desk.process(*desk.sealing, stdin=follower)
    finally:
        os.close(leader)
        os.close(follower)
    assert b"end with Ctrl-D" in result.stderr
    assert opened(result.stdout) == b"typed\n"


def test_pipe_to_pipe(desk: Desk) -> None:
    result = desk.process(*desk.sealing, input=SECRET)
    assert (result.returncode, result.stderr) == (0, b"")
    assert opened(result.stdout) == SECRET
