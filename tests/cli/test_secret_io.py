"""Reading secrets and sealed files, of every form, from files and pipes."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindfold.envelope import MAGIC, read_exactly
from blindfold.errors import NotSealed
from cli.errors import UsageError
from cli.secret_io import MAX_SECRET, PrefixedSource, read_secret, remaining_size, sealed_source


@given(
    prefix=st.binary(max_size=20), rest=st.binary(max_size=50), sizes=st.lists(st.integers(1, 9), min_size=90)
)
def test_prefixed_source_gives_every_byte_once(prefix: bytes, rest: bytes, sizes: list[int]) -> None:
    source = PrefixedSource(prefix, io.BytesIO(rest))
    assert b"".join(source.read(size) for size in sizes) == prefix + rest


def test_binary_form_is_not_read_ahead() -> None:
    file = io.BytesIO(MAGIC + bytes(1000))
    source = sealed_source(file)
    assert file.tell() == len(MAGIC)
    assert read_exactly(source, 2000) == MAGIC + bytes(1000)


def test_what_is_no_form_is_read_to_a_limit_only() -> None:
    with Path("/dev/zero").open("rb") as endless, pytest.raises(NotSealed):
        sealed_source(endless)


def test_size_that_remains_is_known_for_files_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    with (tmp_path / "file").open("rb") as file:
        file.read(40)
        assert remaining_size(file) == 60
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert remaining_size(pipe) is None
    assert remaining_size(io.BytesIO(b"data")) is None


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_short_secret_loses_one_line_end(tmp_path: Path, end: bytes) -> None:
    (tmp_path / "token").write_bytes(b"pa55word " + end)
    assert read_secret(str(tmp_path / "token"), "join token").reveal() == b"pa55word "


@pytest.mark.parametrize("content", [b"", b"\n", bytes(MAX_SECRET + 1)])
def test_short_secret_has_limits(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UsageError, match="join token: 1 to"):
        read_secret(str(tmp_path / "token"), "join token")
