"""Wrapped shares as files, one for each holder."""

from collections.abc import Sequence
from pathlib import Path

from cli.output import write_fields, write_json
from cli.output_file import PUBLIC, output_file
from kms.crypto.wrapped_share import WrappedShare


def write_share_files(shares: Sequence[str], out: Path, *, as_json: bool) -> None:
    """share-1.json and so on, in a directory that is made if need be; their names are printed."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for text in shares:
        path = out / f"share-{WrappedShare.parse(text.encode()).header.number}.json"
        with output_file(path, mode=PUBLIC) as file:
            file.write(text.encode() + b"\n")
        written.append(str(path))
    (write_json if as_json else write_fields)({"share_files": written})
