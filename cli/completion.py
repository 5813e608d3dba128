"""`completion` of both programs: what a shell needs to complete commands and options."""

from types import MappingProxyType

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from cli.options import json_option
from cli.output import write_json

SHELLS = MappingProxyType({"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete})


@click.command(
    epilog="""\b
Example:
  eval "$(kms completion bash)"
  blindfold completion fish > ~/.config/fish/completions/blindfold.fish"""
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that completes this program's commands in a shell."""
    program = context.find_root().command
    name = program.name or ""
    script = SHELLS[shell](program, {}, name, f"_{name.upper()}_COMPLETE").source()
    if as_json:
        write_json({"shell": shell, "script": script})
    else:
        click.echo(script)
