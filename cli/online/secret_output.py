"""Where an opened secret goes: a private file that appears whole, or standard output once all is verified."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from cli.errors import UsageError
from cli.output_file import PRIVATE, is_special, output_file

# What is held in memory until its last chunk is verified, where it cannot be taken back once written.
MAX_HELD = 16 << 20
TOO_LARGE = "Name a file with --out, or have it written as it is verified, piece by piece, with --stream."


def deliver(pieces: Iterator[bytes], out: Path | None, *, stream: bool) -> None:
    """Write a secret's verified pieces to a file, or to standard output for None.

    Nothing is there unless all of them verify; with `stream`, standard output has those before the failure.
    Raises `UsageError`, `OSError`, and as the iterator.
    """
    if out is not None:
        with output_file(out, mode=PRIVATE) as file:
            for piece in [held(pieces)] if is_special(out) else pieces:
                file.write(piece)
    elif sys.stdout.isatty():
        sys.stdout.buffer.write(_for_terminal(held(pieces)))
    else:
        for piece in pieces if stream else [held(pieces)]:
            sys.stdout.buffer.write(piece)


def held(pieces: Iterator[bytes], hint: str = TOO_LARGE) -> bytes:
    """All of a secret that is small enough for memory. Raises `UsageError`."""
    buffer = io.BytesIO()
    for piece in pieces:
        buffer.write(piece)
        if buffer.tell() > MAX_HELD:
            raise UsageError(
                f"the secret is larger than the {MAX_HELD >> 20} MiB that are held in memory", hint=hint
            )
    return buffer.getvalue()


def _for_terminal(secret: bytes) -> bytes:
    text = secret.decode("utf-8", "replace")
    if "\ufffd" in text or not text.replace("\n", "").replace("\t", "").isprintable():
        raise UsageError(
            "refusing to write binary data to a terminal", hint="Give --out FILE, or redirect the output."
        )
    return secret
