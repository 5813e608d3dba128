"""`kms backup inspect`: what a backup says to everybody."""

import click

from cli.options import STREAM, json_option
from cli.output import write_fields, write_json
from cli.secret_io import input_stream
from kms.model.backup_header import BackupHeader


@click.command(
    epilog="""\b
Example:
  kms backup inspect acme.backup"""
)
@json_option
@click.argument("file", metavar="FILE", type=STREAM)
def inspect(file: str, as_json: bool) -> None:
    """Show the header of a backup, offline.

    No key is needed, and nothing shown is authenticated; `kms tenant restore --verify-only` verifies.
    """
    with input_stream(file) as stream:
        shown = header_fields(BackupHeader.read(stream))
    (write_json if as_json else write_fields)(shown)


def header_fields(header: BackupHeader) -> dict[str, object]:
    """What a person wants to know; `portable` says whether a store with another root key can open it."""
    fields = header.to_json()
    del fields["wrapped_key"]
    return fields | {"portable": bool(fields.pop("root_record"))}
