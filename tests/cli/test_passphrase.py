"""The passphrase of a root of trust: from a file, from a pipe, or typed where nobody sees it."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from desk import ROOT

from cli.errors import CliError
from cli.local.passphrase import passphrase_reader

ASK = "from cli.local.passphrase import passphrase_reader; print(len(passphrase_reader(None, confirm={})()))"


def typed(*, confirm: bool, text: bytes) -> tuple[int, bytes, bytes]:
    """Exit code, standard output, and what the terminal showed."""
    leader, follower = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", ASK.format(confirm)], cwd=ROOT, stdin=follower, stdout=subprocess.PIPE,
            stderr=follower, start_new_session=True,
        ) as process:  # fmt: skip
            shown = b""
            for line in text.splitlines(keepends=True):
                # Not before it is asked for: what is typed ahead is echoed, as on any terminal.
                while not shown.endswith(b": "):
                    shown += read_now(leader, 30)
                os.write(leader, line)
                shown += b"\n"
            out, _ = process.communicate(timeout=60)
        shown += read_now(leader, 0)
    finally:
        os.close(leader)
        os.close(follower)
    return process.returncode, out, shown


def read_now(leader: int, timeout: float) -> bytes:
    """What the terminal has to show; a failure if it should have something and has not."""
    ready, _, _ = select.select([leader], [], [], timeout)
    assert ready or not timeout
    return os.read(leader, 1000) if ready else b""


def test_typed_passphrase_is_not_shown() -> None:
    code, out, shown = typed(confirm=False, text=b"correct horse\n")
    assert (code, out) == (0, b"13\n")
    assert b"Passphrase: " in shown
    assert b"horse" not in shown


def test_new_passphrase_is_typed_twice() -> None:
    code, out, shown = typed(confirm=True, text=b"correct horse\ncorrect horse\n")
    assert (code, out, b"horse" in shown) == (0, b"13\n", False)


def test_passphrase_of_a_file_loses_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(b"correct horse\r\n")
    assert passphrase_reader(str(tmp_path / "passphrase"))().reveal() == b"correct horse"


def test_empty_passphrase_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(b"\n")
    with pytest.raises(CliError, match="passphrase: 1 to"):
        passphrase_reader(str(tmp_path / "passphrase"))()
