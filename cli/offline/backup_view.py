"""`kms backup inspect`: what a backup says to everybody."""

import click

from cli.options import STREAM, json_option
from cli.output import write_fields, write_json
from cli.secret_io import input_stream
from kms.model.backup_header import BackupHeader, read_header


@click.command(
    epilog="""\b
Example:
  kms backup inspect acme.backup"""
)
@json_option
@click.argument("file", metavar="FILE", type=STREAM)
def inspect(file: str, as_json: bool) -> None:
    """Show the header of a backup, offline.

    No key is needed, and nothing shown is authenticated; `kms tenant restore --verify-only` verifies, and
    `kms restore-store --verify-only` that of a store.
    """
    with input_stream(file) as stream:
        shown = header_fields(read_header(stream))
    (write_json if as_json else write_fields)(shown)


def header_fields(header: BackupHeader) -> dict[str, object]:
    """What a person wants to know; `portable` says whether a store with another root key can open it.

    `header` is what the `follows` of the next backup of a store says.
    """
    fields = header.to_json()
    shown = {name: value for name, value in fields.items() if not name.startswith("wrapped_")}
    return shown | {"portable": bool(shown.pop("root_record")), "header": header.digest().hex()}
