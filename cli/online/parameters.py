"""Values of options as the API writes them."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


def span(text: str) -> str:
    """The API's `600s` for a length of time such as 10m. Raises `click.BadParameter`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise click.BadParameter("not a number of seconds, minutes, hours or days such as 90s, 10m, 24h, 30d")
    return f"{int(match[1]) * _UNITS[match[2]]}s"


def time(text: str) -> str:
    """A time such as 2030-01-31T23:59:59Z, as it is. Raises `click.BadParameter`."""
    try:
        zone = datetime.fromisoformat(text).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise click.BadParameter("not a time with its zone, such as 2030-01-31T23:59:59Z")
    return text


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE. Raises `click.BadParameter`."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.BadParameter("not of the form KEY=VALUE")
    return key, value


def field_mask(fields: Iterable[str]) -> str:
    """The API's `rotationPeriod,labels` for fields of a message."""
    return ",".join(map(_camel, fields))


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(map(str.capitalize, rest))


def labels_option(command: _Command) -> _Command:
    """`labels`, pairs for `dict`."""
    return click.option(
        "--label", "labels", type=pair, metavar="KEY=VALUE", multiple=True, help="A label; may be repeated."
    )(command)


def description_option(command: _Command) -> _Command:
    return click.option("--description", default="", help="For people.")(command)


def etag_option(command: _Command) -> _Command:
    return click.option(
        "--etag", default="", help="Do it only if this is still the etag that `get` shows; else exit code 9."
    )(command)


def comment_option(command: _Command) -> _Command:
    return click.option("--comment", default="", help="Why, for the audit trail.")(command)
