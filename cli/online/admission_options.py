"""Whom others may vouch for, as options of `kms jwt-issuer` and `kms trusted-authority`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cli.online.parameters import labels_option, pair

_Command = TypeVar("_Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]

_SUBJECTS = "Admitted {what}, or how it begins, before a last *; may be repeated."
_CLAIMS = "What {what} has to be; may be repeated."


def admission_options(subject: str, claim: str) -> Sequence[Option]:
    """`subject` and `claim` say in the help what they are of."""
    return (
        click.option(
            "--subject", "subjects", multiple=True, required=True, help=_SUBJECTS.format(what=subject)
        ),
        click.option(
            *("--claim", "claims"),
            type=pair,
            multiple=True,
            metavar="POINTER=TEXT",
            help=_CLAIMS.format(what=claim),
        ),
        click.option("--namespace", required=True, help="Namespace of whom it admits, or a pointer to it."),
        click.option("--identity", required=True, help="Id of whom it admits, or a pointer to it."),
        labels_option,
        click.option("--role", "roles", multiple=True, help="A role, or role@namespace; may be repeated."),
    )


def with_options(options: Sequence[Option]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def as_message(settings: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the API has it: pairs are maps, and what was repeated is a list."""
    made: dict[str, Any] = {}
    for name, value in settings.items():
        if name in ("claims", "labels"):
            made[name] = dict(value)
        else:
            made[name] = list(value) if isinstance(value, tuple) else value
    return made
