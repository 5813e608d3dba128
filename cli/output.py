"""Data on standard output, words on standard error."""

import json
from collections.abc import Mapping, Sequence

import click

from cli.errors import Failure

_WORDS = {True: "yes", False: "no"}


def printable(text: str) -> str:
    """Text of others, with what a terminal would obey (escapes, line and direction marks) made visible."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text.encode("utf-8", "backslashreplace").decode("utf-8")
    )


def write_json(value: object) -> None:
    """One JSON value on standard output, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def write_fields(fields: Mapping[str, object]) -> None:
    """Aligned `name  value` lines for a person: yes and no for truth, one line an item for a list."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            label = "" if index else name.replace("_", " ")
            text = _text(item)
            click.echo(f"{label:<{width}}  {printable(text)}")


def warn(message: str) -> None:
    """Something a person should know, though the command goes on."""
    click.echo(f"warning: {printable(message)}", err=True)


def write_failure(program: str, failure: Failure, *, as_json: bool) -> None:
    """An error on standard error: `program: message` and a `hint:` line, or one JSON object on one line."""
    if as_json:
        click.echo(json.dumps({"error": failure.to_json()}), err=True)
        return
    click.echo(f"{program}: {printable(failure.message)}", err=True)
    if failure.hint:
        click.echo(f"hint: {printable(failure.hint)}", err=True)


def write_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Aligned columns for a person, with the keys of the first row as titles; nothing for no rows."""
    if not rows:
        return
    titles = [name.replace("_", " ").upper() for name in rows[0]]
    lines = [titles] + [[printable(_text(value)) or "-" for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return _WORDS[value]
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
