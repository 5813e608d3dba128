"""What the configuration says of files and programs, and what is refused."""

from typing import Any

import pytest

from kms.errors import InvalidField
from wingman.configuration import Configuration, parse_configuration

BASE = {"server": "kms.example:7443", "credentials": "/var/lib/wingman"}
FILES = {"directory": "/run/web", "identity": {"key": "tls.key"}}


def read(**members: Any) -> Configuration:
    return parse_configuration(BASE | members)


def test_files_are_private_and_refreshed_every_five_minutes_unless_told_otherwise() -> None:
    files = read(files=FILES).files
    assert files is not None
    assert (files.mode, files.group, files.refresh_seconds, files.require_tmpfs) == ("0600", -1, 300, False)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no directory": ({"identity": {"key": "tls.key"}}, "files.directory"),
    "a relative directory": (FILES | {"directory": "run"}, "files.directory"),
    "nothing to write": ({"directory": "/run/web"}, "files"),
    "an identity without names": ({"directory": "/run/web", "identity": {}}, "files.identity"),
    "a mode for everybody": (FILES | {"mode": "0644"}, "files.mode"),
    "a mode as a number": (FILES | {"mode": 0o600}, "files.mode"),
    "a group below none": (FILES | {"group": -2}, "files.group"),
    "a name with a slash": (
        {"directory": "/run/web", "identity": {"key": "../tls.key"}},
        "files.identity.key",
    ),
    "a hidden name": ({"directory": "/run/web", "identity": {"key": ".key"}}, "files.identity.key"),
    "an unknown secret": (FILES | {"secrets": ["password"]}, "files.secrets"),
    "two files of one name": (FILES | {"templates": {"tls.key": "/etc/a"}}, "files"),
    "a template with a slash": (FILES | {"templates": {"a/b": "/etc/a"}}, "files.templates"),
    "a relative template": (FILES | {"templates": {"a": "etc/a"}}, "files.templates.a"),
    "no time between questions": (FILES | {"refresh_seconds": 0}, "files.refresh_seconds"),
    "an unknown member": (FILES | {"owner": 1}, "files"),
    "nothing to do on change": (FILES | {"on_change": {}}, "files.on_change"),
    "two things on change": (
        FILES | {"on_change": {"command": ["/bin/true"], "signal": "HUP"}},
        "files.on_change",
    ),
    "a command looked for on the path": (
        FILES | {"on_change": {"command": ["nginx"]}},
        "files.on_change.command",
    ),
    "a signal that kills": (FILES | {"on_change": {"signal": "KILL"}}, "files.on_change.signal"),
    "a pid file without a signal": (
        FILES | {"on_change": {"command": ["/bin/true"], "pid_file": "/run/pid"}},
        "files.on_change.pid_file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_refused_with_its_place(case: str) -> None:
    files, field = REFUSED[case]
    with pytest.raises(InvalidField) as caught:
        read(files=files)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("program", "field"),
    [
        ({"descriptors": {"PASSWORD": "password"}}, "program"),
        ({"environment": {"A=B": "password"}}, "program.environment"),
        ({"environment": {"": "password"}}, "program.environment"),
        ({"descriptors": {"A": "x"}, "environment": {"A": "x"}}, "program.environment"),
        ({"arguments": []}, "program"),
    ],
)
def test_program_gets_known_secrets_by_variables_that_can_be(program: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(program=program)
    assert caught.value.field == field


def test_secrets_of_the_configuration_are_named_with_their_place_when_refused() -> None:
    with pytest.raises(InvalidField) as caught:
        read(secrets={"password": {"type": "blindfold", "location": "file:///etc/passwd"}})
    assert caught.value.field == "secrets.password.location"
