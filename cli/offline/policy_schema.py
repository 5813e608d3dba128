"""`schema`: the JSON Schema of policy files, for editors and other programs."""

import click

from cli.options import json_option
from cli.output import write_json
from cli.policy_kind import Kind


def schema(kind: Kind) -> click.Command:
    text = """Print the JSON Schema of policy files.

    It is for editors. What it lets pass may still be refused: limits in bytes, selectors and expressions are
    beyond it.
    """

    @kind.command("schema", text, "> policy.schema.json")
    @json_option
    def command(as_json: bool) -> None:
        """The schema is JSON, asked for or not."""
        write_json(kind.file.file_schema())

    return command
