"""`apply`, as far as it is alike for all kinds of files: what is read, and how a change is shown."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.output import printable
from cli.resource_file import ResourceFile

CREATED, UPDATED, UNCHANGED = "CREATED", "UPDATED", "UNCHANGED"

C = TypeVar("C")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def apply_options(command: _Command) -> _Command:
    """`paths` and `dry_run`."""
    dry_run = click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
    return click.option(
        "--file",
        "-f",
        "paths",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        required=True,
        metavar="FILE|DIR",
        help="File, or directory of them; may be repeated.",
    )(dry_run(command))


def named(
    files: Sequence[ResourceFile[C]], whole: Callable[[str], str]
) -> Iterator[tuple[str, ResourceFile[C]]]:
    """Each file with the whole name of its resource. Raises `CliError` for two files about one."""
    sources: dict[str, str] = {}
    for file in files:
        name = whole(file.name)
        if name in sources:
            raise file.text.fault("name", f"{file.name} is in {sources[name]} already")
        sources[name] = file.text.source
        yield name, file


def diff(old: str, new: str, title: str, source: str) -> str:
    """Unified, from what is there, "" for nothing, to what the file says."""
    titles = (title if old else "/dev/null", source)
    return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), *titles))


def show_diff(text: str) -> None:
    for line in text.splitlines():
        click.echo(printable(line))


def tell(name: str, change: str, state: str, *, dry_run: bool) -> None:
    """What was done, for a person."""
    words = "dry run, " * dry_run + change.lower()
    click.echo(f"{name}: {words}, {state}", err=True)
