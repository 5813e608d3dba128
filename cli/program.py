"""Command groups that import a command when it is called, and the frame around a whole program."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from cli.errors import ReaderGone, describe
from cli.exit_codes import ExitCode
from cli.output import write_failure


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not imported yet: `module:attribute`, and its line in the list of commands."""

    target: str
    summary: str
    alias: str = ""

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class LazyGroup(click.Group):
    """A group whose commands are entries, or groups of entries. Listing them imports none."""

    def __init__(self, name: str, entries: "Mapping[str, Entry | LazyGroup]", **settings: Any) -> None:
        super().__init__(name, **settings)
        self.entries = entries
        self._aliases = {
            entry.alias: name for name, entry in entries.items() if isinstance(entry, Entry) and entry.alias
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(self._aliases.get(cmd_name, cmd_name))
        return entry.load() if isinstance(entry, Entry) else entry

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name, entry in self.entries.items():
            if isinstance(entry, Entry):
                rows.append((f"{name}, {entry.alias}" if entry.alias else name, entry.summary))
            else:
                rows.append((name, entry.get_short_help_str(100)))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class Program(LazyGroup):
    """The outermost group: however a command ends, there is an exit code for it and no traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            pass
        raise ReaderGone

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        arguments = list(sys.argv[1:] if args is None else args)
        program = prog_name or self.name or ""
        try:
            code = super().main(arguments, program, **{**extra, "standalone_mode": False})
        except ReaderGone:
            code = _leave_closed_pipe()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = ExitCode.USAGE
        except click.Abort:
            code = ExitCode.INTERRUPTED
        except Exception as error:
            failure = describe(error)
            # A call that could not be parsed has no options yet, so its words are searched instead.
            write_failure(program, failure, as_json="--json" in arguments)
            code = failure.code
        sys.exit(code if isinstance(code, int) else ExitCode.OK)


def run(program: Program) -> NoReturn:
    """A console script's main: ends on SIGTERM and SIGHUP by way of the `finally` clauses."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    program.main(prog_name=program.name)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _leave_closed_pipe() -> int:
    """Point standard output elsewhere, so that the interpreter's last flush does not fail again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.READER_GONE
