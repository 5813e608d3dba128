"""The frame of all programs: exit codes, errors, lazy groups, completion, and rules for every command."""

import inspect
import json
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result
from desk import Desk

from blindfold import errors as blindfold_errors
from cli import blindfold, error_table, kms, reference, wingman
from cli.errors import CliError, describe
from cli.exit_codes import MEANING, ExitCode
from cli.program import Entry, LazyGroup, Program
from kms import errors as kms_errors
from kms.errors import Kind

PROGRAMS = [blindfold.program, kms.program, wingman.program]
CONTEXTS = {context.command_path: context for context in reference.program_contexts()}
LEAVES = {path: context for path, context in CONTEXTS.items() if not isinstance(context.command, click.Group)}


def ending(action: Callable[[], object], *arguments: str) -> Result:
    """How a program ends whose command does `action`."""

    @click.command("act")
    @click.option("--json", is_flag=True)
    def act(json: bool) -> None:
        action()

    class Loaded(Entry):
        def load(self) -> click.Command:
            return act

    program = Program("tester", {"act": Loaded("", "Act.")})
    return CliRunner().invoke(program, ["act", *arguments])


def throw(error: BaseException) -> Callable[[], object]:
    def action() -> None:
        raise error

    return action


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANING) == set(ExitCode)


def test_every_error_of_blindfold_has_an_exit_code() -> None:
    classes = {
        item
        for _, item in inspect.getmembers(blindfold_errors, inspect.isclass)
        if issubclass(item, blindfold_errors.BlindfoldError)
    }
    assert classes - {blindfold_errors.BlindfoldError} == set(error_table.BLINDFOLD)


def test_every_kind_of_kms_error_has_an_exit_code() -> None:
    assert set(error_table.KMS) == set(Kind)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (blindfold_errors.WrongAnswer("x"), 7),
        (blindfold_errors.OpenFailed(), 5),
        (blindfold_errors.NameMismatch("x"), 4),
        (blindfold_errors.DocumentStale("x"), 8),
        (blindfold_errors.InputInvalid("x"), 2),
        (kms_errors.Denied(), 3),
        (kms_errors.Unavailable("x"), 6),
        (kms_errors.Unauthenticated("x"), 11),
        (kms_errors.AlreadyExists("x"), 9),
        (kms_errors.RateLimited(1.0), 10),
        (kms_errors.InvalidField("a", "b"), 2),
        (kms_errors.ConfigError("x"), 1),
        (CliError("x"), 1),
        (click.UsageError("x"), 2),
        (FileNotFoundError(2, "No such file", "x"), 1),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_errors_end_in_their_exit_codes(error: BaseException, code: int) -> None:
    assert ending(throw(error)).exit_code == code


def test_error_is_a_message_and_a_hint() -> None:
    result = ending(throw(kms_errors.Denied()))
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "tester: permission denied, or the resource does not exist",
        "hint: Ask a policy author; `explain` shows those who may read policies why.",
    ]


def test_error_with_json_is_one_line() -> None:
    result = ending(throw(kms_errors.Denied()), "--json")
    (line,) = result.stderr.splitlines()
    assert json.loads(line)["error"]["reason"] == "DENIED"


def test_unforeseen_error_shows_its_place_and_not_its_text() -> None:
    result = ending(throw(ValueError("pa55word")))
    assert result.exit_code == ExitCode.FAILED
    assert "internal error: ValueError at test_program.py:" in result.stderr
    assert "pa55word" not in result.stderr
    assert "Traceback" not in result.stderr


def test_message_cannot_command_the_terminal() -> None:
    assert "\x1b" not in ending(throw(CliError("\x1b[2J"))).stderr


def test_system_error_names_the_file() -> None:
    assert describe(OSError(28, "No space left on device", "/out")).message == "/out: No space left on device"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program_without_a_command_shows_its_help_and_is_a_usage_error(program: Program) -> None:
    result = CliRunner().invoke(program, [])
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert result.stderr.startswith("Usage: ")


def test_unknown_command_is_a_usage_error(desk: Desk) -> None:
    result = desk.call("sael")
    assert result.exit_code == ExitCode.USAGE
    assert "No such command 'sael'" in result.stderr
    assert "hint: See `blindfold --help`." in result.stderr


def test_version_is_printed(desk: Desk) -> None:
    assert desk.call("--version").stdout.startswith("blindfold, version ")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(program: Program, shell: str) -> None:
    result = CliRunner().invoke(program, ["completion", shell])
    assert (result.exit_code, f"_{program.name.upper()}_COMPLETE" in result.stdout) == (0, True)
    value = json.loads(CliRunner().invoke(program, ["completion", shell, "--json"]).stdout)
    assert value == {"shell": shell, "script": result.stdout.removesuffix("\n")}


def test_completion_completes_commands(desk: Desk) -> None:
    variables = {"_BLINDFOLD_COMPLETE": "bash_complete", "COMP_WORDS": "blindfold pol", "COMP_CWORD": "1"}
    assert desk.process(variables=variables).stdout.split() == [b"plain,policy-document"]


@pytest.mark.parametrize("path", CONTEXTS)
def test_help_ends_with_an_example(path: str) -> None:
    command = CONTEXTS[path].command
    assert command.help
    assert "Example:\n  " in (command.epilog or "")


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_can_print_json(path: str) -> None:
    assert "--json" in {option for item in LEAVES[path].command.params for option in item.opts}


@pytest.mark.parametrize("path", CONTEXTS)
def test_every_option_is_explained(path: str) -> None:
    options = [item for item in CONTEXTS[path].command.params if isinstance(item, click.Option)]
    assert not [option.name for option in options if not option.help]


@pytest.mark.parametrize("path", LEAVES)
def test_line_in_the_list_is_the_first_line_of_the_help(path: str) -> None:
    context = LEAVES[path]
    group = context.parent.command if context.parent else None
    assert isinstance(group, LazyGroup)
    entry = group.entries[context.info_name or ""]
    assert isinstance(entry, Entry)
    first = (context.command.help or "").split("\n\n")[0].rstrip(".")
    assert first.startswith(entry.summary.rstrip("."))


SECRET_WORDS = ("secret", "token", "password", "passphrase", "plaintext", "private")
# What PKCS #11 calls a token is a device.
NO_SECRETS = {"device_token"}


@pytest.mark.parametrize("path", LEAVES)
def test_no_command_takes_a_secret_as_an_argument(path: str) -> None:
    for item in LEAVES[path].command.params:
        name = item.name or ""
        if name not in NO_SECRETS and any(word in name for word in SECRET_WORDS):
            assert isinstance(item.type, click.Path), f"{item.name} is not the name of a file"
