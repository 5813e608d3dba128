"""`kms secret-access schema`: the JSON Schema of access files, for editors and other programs."""

import click

from cli.access_file import FILE
from cli.options import json_option
from cli.output import write_json


@click.command(
    epilog="""\b
Example:
  kms secret-access schema > access.schema.json"""
)
@json_option
def schema(as_json: bool) -> None:
    """Print the JSON Schema of access files.

    It is for editors. What it lets pass may still be refused: paths, endpoints, selectors and limits in bytes
    are beyond it.
    """
    write_json(FILE.file_schema())
