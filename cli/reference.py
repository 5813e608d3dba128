"""The generated parts of docs/cli.md: `python -m cli.reference` writes them anew."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import click

from cli import blindfold, kms, wingman
from cli.exit_codes import MEANING

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """The command's context, then those of all commands below it, in the order of the help."""
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(
                    below,
                    click.Context(below, context, name, terminal_width=WIDTH, max_content_width=WIDTH),
                )


def program_contexts() -> Iterator[click.Context]:
    """The contexts of every command of all programs."""
    for program in (blindfold.program, kms.program, wingman.program):
        context = click.Context(
            program, info_name=program.name, terminal_width=WIDTH, max_content_width=WIDTH
        )
        yield from commands(program, context)


def command_section() -> str:
    return "\n\n".join(
        f"### `{context.command_path}`\n\n```text\n{context.command.get_help(context)}\n```"
        for context in program_contexts()
    )


def exit_code_section() -> str:
    rows = [f"| {int(code)} | {code.name} | {meaning} |" for code, meaning in MEANING.items()]
    return "\n".join(["| Code | Name | Meaning |", "|---:|---|---|", *rows])


SECTIONS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {"exit codes": exit_code_section, "commands": command_section}
)


def render(page: str) -> str:
    """The page with every generated section as it must be. Raises `ValueError` for a missing mark."""
    for name, section in SECTIONS.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
        before, _, rest = page.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise ValueError(f"{PAGE.name} has no place for its {name}")
        page = f"{before}{begin}\n{section()}\n\n{end}{after}"
    return page


def main() -> None:
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
