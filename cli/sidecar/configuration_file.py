"""Wingman's configuration as a file, completed by the profile (docs/wingman.md)."""

from pathlib import Path

from cli.connection import Connection
from cli.structured_file import read_one_text
from kms.errors import InvalidField
from wingman.configuration import Configuration, parse_configuration

_PROFILED = ("server", "credentials")


def read_configuration(
    name: str, server: str | None, credentials: Path | None, profile_path: Path | None
) -> Configuration:
    """What the file leaves out of `server` and `credentials` is that of the call, or of the profile.

    Raises `CliError`, which names file, line and field, and `UsageError`.
    """
    text = read_one_text(name)
    if not isinstance(text.value, dict):
        raise text.fault("", "is not an object")
    members = dict(text.value)
    if not all(member in members for member in _PROFILED):
        connection = Connection.resolve(server, credentials, profile_path)
        known = {"server": connection.server, "credentials": str(connection.credentials.absolute())}
        members = known | members
    try:
        return parse_configuration(members)
    except InvalidField as error:
        field, problem, reason = error.field, error.description, error.reason
    raise text.fault(field, problem, reason)
