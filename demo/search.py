"""Looking for secrets where they must not be: in files, and in the memory of a process."""

import base64
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import re2

# A copy that was cut or begun in the middle still holds one of these pieces.
PIECE = 24
BLOCK = 16 << 20
DIGIT = 30


@dataclass(frozen=True, slots=True)
class Needle:
    """A secret and the byte strings by which a copy of it would show."""

    name: str
    forms: frozenset[bytes]


def needle(name: str, value: bytes) -> Needle:
    """A secret as it is, reversed (as GMP and others keep numbers), in hex and in base64."""
    encodings = (
        value,
        value[::-1],
        value.hex().encode(),
        python_digits(value),
        *base64_forms(value),
    )
    return Needle(name, frozenset(piece for data in encodings for piece in pieces(data)))


def base64_forms(value: bytes) -> Iterator[bytes]:
    """In both alphabets and at each of the three places where a longer text can hold it."""
    for before, cut in ((0, 0), (1, 2), (2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + value).rstrip(b"=")[cut:-1]


def python_digits(value: bytes) -> bytes:
    """How CPython keeps the number that these bytes are: digits of 30 bits, least first, in 32-bit words."""
    number, digits = int.from_bytes(value, "big"), []
    while number:
        digits.append(number & ((1 << DIGIT) - 1))
        number >>= DIGIT
    return struct.pack(f"<{len(digits)}I", *digits)


def pieces(data: bytes) -> Iterator[bytes]:
    """The whole if it is short; else pieces from its beginning, its middle and its end."""
    if len(data) <= PIECE:
        yield data
        return
    for start in (0, (len(data) - PIECE) // 2, len(data) - PIECE):
        yield data[start : start + PIECE]


def found(needles: Iterable[Needle], blocks: Iterable[bytes]) -> set[str]:
    """The names of the needles of which any form occurs."""
    names = {form: item.name for item in needles for form in item.forms}
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_nl, options.max_mem = False, 256 << 20
    # One automaton for all forms: it passes over the blocks once.
    pattern = re2.compile(b"|".join(re2.escape(form) for form in sorted(names)), options)
    return {names[match.group()] for block in blocks if (match := pattern.search(block))}


def files(paths: Iterable[Path]) -> Iterator[bytes]:
    """The content of files, and of all files below directories."""
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield file.read_bytes()


def memory(pid: int) -> Iterator[bytes]:
    """What a process can read of its own memory, in overlapping blocks. Needs the right to trace it."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in maps:
            span, rights, *_ = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if "r" in rights and not line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                yield from _region(file.fileno(), start, end)


def _region(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    overlap = 2 * PIECE
    while start < end:
        try:
            data = os.pread(descriptor, min(BLOCK, end - start), start)
        except OSError:
            return
        if not data:
            return
        yield data
        start += len(data) if len(data) <= overlap or start + len(data) == end else len(data) - overlap
