"""Files that hold structured text."""

from blindfold.envelope import read_exactly
from cli.errors import UsageError
from cli.secret_io import STDIO, input_stream
from cli.structured_text import StructuredText, parse_texts

MAX_BYTES = 2_800_000


def read_texts(name: str) -> list[StructuredText]:
    """The documents in a file, or on standard input for `-`. Raises `CliError`, `UsageError`."""
    with input_stream(name) as stream:
        # Space between the values is free, so the limit on what they are is the parser's.
        data = read_exactly(stream, MAX_BYTES + 1)
    source = "standard input" if name == STDIO else name
    if len(data) > MAX_BYTES:
        raise UsageError(f"{source}: has more than {MAX_BYTES} bytes")
    return parse_texts(source, data)


def read_one_text(name: str) -> StructuredText:
    """As `read_texts`, of a file that has one document. Raises `CliError`, `UsageError`."""
    texts = read_texts(name)
    if len(texts) != 1:
        raise UsageError(f"{name}: has {len(texts)} documents, and one is expected")
    return texts[0]
