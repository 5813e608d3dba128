"""Files with a vault's ciphertexts: one a line."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cli.errors import UsageError
from cli.progress import Progress
from cli.secret_io import input_stream
from kms.errors import InvalidField
from kms.external.vault.ciphertext import MAX_TEXT, TransitCiphertext

# What fits into a request beside its names: it has 4 MiB, and bytes in it are no longer base64.
MAX_BYTES = 2 << 20
MAX_LINES = 500


@dataclass(frozen=True, slots=True)
class Line:
    """Counted from 1."""

    number: int
    ciphertext: TransitCiphertext


def lines_of(name: str) -> Iterator[Line]:
    """Of the named file, or of standard input; empty lines are left out. Raises `UsageError`."""
    with input_stream(name) as stream:
        number = 0
        while raw := stream.readline(MAX_TEXT + 2):
            number += 1
            text = raw.decode("ascii", "replace").strip()
            if text:
                yield Line(number, _parsed(number, text))


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """So many that a request takes them."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == MAX_LINES or size + len(line.ciphertext.data) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.ciphertext.data)
    if batch:
        yield batch


@contextmanager
def lines_progress() -> Iterator[Progress]:
    """Counts lines."""
    progress = Progress(None, text=lambda count: f"{count} ciphertexts")
    try:
        yield progress
    finally:
        progress.close()


def _parsed(number: int, text: str) -> TransitCiphertext:
    try:
        return TransitCiphertext.parse(text)
    except InvalidField as error:
        problem = error.description
    raise UsageError(f"line {number}: {problem}")
