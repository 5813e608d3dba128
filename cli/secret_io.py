"""Inputs and outputs of commands: a secret comes from a file or standard input, never from an argument."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from blindfold import forms
from blindfold.envelope import MAGIC, Source, read_exactly
from blindfold.secret import SecretBytes
from cli.errors import UsageError
from cli.output_file import PUBLIC, is_regular, output_file

STDIO = "-"
# What is held in memory to learn its length, where a pipe has none: sealing with --pad.
MAX_PADDED_PIPE = 64 << 20
MAX_DOCUMENT = 1 << 20
MAX_SECRET = 64 << 10


@contextmanager
def input_stream(name: str) -> Iterator[BinaryIO]:
    """The named file, or standard input for `-`. Raises `UsageError` if it cannot be read.

    The message leaves the name out: somebody may have put the secret itself in its place.
    """
    if name == STDIO:
        stream: BinaryIO = sys.stdin.buffer
        if stream.isatty():
            click.echo("reading from the terminal; end with Ctrl-D on a line of its own", err=True)
            # A terminal can be read on after its end, so it must be read to it only once.
            stream = io.BytesIO(stream.read())
        yield stream
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
    else:
        with file:
            yield file
        return
    raise UsageError(
        f"the input file cannot be read: {reason}",
        hint="Give the name of a file, or - to read standard input; a secret is never an argument.",
    )


def remaining_size(stream: BinaryIO) -> int | None:
    """The bytes left in a regular file, None for a pipe or a terminal."""
    try:
        descriptor = stream.fileno()
    except OSError:
        return None
    if not is_regular(descriptor):
        return None
    return max(os.fstat(descriptor).st_size - stream.tell(), 0)


def measured(stream: BinaryIO) -> tuple[Source, int]:
    """A source and its exact length. A pipe is read to its end, at most 64 MiB. Raises `UsageError`."""
    size = remaining_size(stream)
    if size is not None:
        return stream, size
    data = read_exactly(stream, MAX_PADDED_PIPE + 1)
    if len(data) > MAX_PADDED_PIPE:
        raise UsageError(
            f"padding needs the length beforehand, and a pipe is held in memory up to "
            f"{MAX_PADDED_PIPE >> 20} MiB only",
            hint="Write the input to a file first, or leave --pad out.",
        )
    return io.BytesIO(data), len(data)


def sealed_source(stream: BinaryIO) -> Source:
    """The binary form of what is in stream, in whichever form. Binary is streamed, text is read whole.

    Raises `NotSealed` or `Corrupt`.
    """
    return sealed_input(stream)[1]


def sealed_input(stream: BinaryIO) -> tuple[str, Source]:
    """As `sealed_source`, and which form it was: `binary`, `text` or `location`."""
    start = read_exactly(stream, len(MAGIC))
    if start == MAGIC:
        return "binary", PrefixedSource(start, stream)
    data = start + read_exactly(stream, forms.MAX_TEXT + 1)
    form = "location" if data.startswith(forms.LOCATION_PREFIX.encode()) else "text"
    return form, io.BytesIO(forms.from_any(data))


class PrefixedSource:
    """A source of some bytes that were read already, then the rest."""

    def __init__(self, prefix: bytes, source: Source) -> None:
        self._prefix = prefix
        self._source = source

    def read(self, size: int, /) -> bytes:
        piece, self._prefix = self._prefix[:size], self._prefix[size:]
        return piece or self._source.read(size) or b""


class BoundedBuffer:
    """A sink in memory for a result that becomes one line of text. Raises `UsageError` when it is full."""

    def __init__(self, limit: int) -> None:
        self._buffer = io.BytesIO()
        self._limit = limit

    def write(self, data: bytes, /) -> None:
        self._buffer.write(data)
        if self._buffer.tell() > self._limit:
            raise UsageError(
                f"text and location forms hold at most {self._limit >> 20} MiB",
                hint="Write the binary form: leave --text and --location out, and name a file with --out.",
            )

    def getvalue(self) -> bytes:
        return self._buffer.getvalue()


@contextmanager
def public_sink(out: Path | None, *, binary: bool) -> Iterator[BinaryIO]:
    """The file of `--out`, or standard output unless that is a terminal and the data is not text."""
    if out is not None:
        with output_file(out, mode=PUBLIC) as file:
            yield file
        return
    if binary and sys.stdout.isatty():
        raise UsageError(
            "refusing to write binary data to a terminal",
            hint="Give --out FILE, redirect the output, or ask for one line of text with --text.",
        )
    stream = sys.stdout.buffer
    yield stream
    stream.flush()


def read_document(path: Path) -> bytes:
    """A public document, as bytes; more than a document may have is cut, for its parser to refuse."""
    try:
        with path.open("rb") as file:
            return read_exactly(file, MAX_DOCUMENT + 2)
    except OSError as error:
        reason = error.strerror or "cannot be read"
    raise UsageError(f"{path}: {reason}", hint="Give the file that holds the signed document.")


def read_bounded(name: str, what: str, limit: int) -> bytes:
    """An input of 1 to `limit` bytes, whole and as it is. Raises `UsageError`."""
    with input_stream(name) as stream:
        data = read_exactly(stream, limit + 1)
    if not 1 <= len(data) <= limit:
        raise UsageError(f"{what}: 1 to {limit} bytes expected")
    return data


def read_secret(name: str, what: str) -> SecretBytes:
    """A short secret, such as a token: at most 64 KiB, without one newline at its end.

    Raises `UsageError`.
    """
    secret = read_bounded(name, what, MAX_SECRET).removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise UsageError(f"{what}: 1 to {MAX_SECRET} bytes expected, and a line end is none of them")
    return SecretBytes(secret)
