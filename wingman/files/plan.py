"""What is to be written where, as the configuration says it (docs/wingman.md, "Files")."""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from kms.errors import InvalidField
from kms.model.json_form import BOOLEAN, INTEGER, STRINGS, Form, list_of, object_of, string
from kms.model.predicate import within

REFRESH_SECONDS = 300
# Programs read such files as their own user, or as their group; nobody else's.
MODES: Mapping[str, int] = MappingProxyType({"0600": 0o600, "0640": 0o640})
SIGNALS: Mapping[str, signal.Signals] = MappingProxyType(
    {name: signal.Signals[f"SIG{name}"] for name in ("HUP", "INT", "TERM", "USR1", "USR2", "QUIT", "WINCH")}
)
_NOBODY = 2**32 - 1
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """The names of files for the private key, the certificate with its intermediates, the roots, and key and
    certificate in one file, which no reader sees half changed; "" for none. Raises `InvalidField`.
    """

    key: str = ""
    certificate: str = ""
    ca: str = ""
    bundle: str = ""

    def __post_init__(self) -> None:
        for member in ("key", "certificate", "ca", "bundle"):
            if name := getattr(self, member):
                check_file_name(name, member)
        if not self.names:
            raise InvalidField("", "names no file")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.key, self.certificate, self.ca, self.bundle) if name)


@dataclass(frozen=True, slots=True)
class OnChange:
    """What is done after files have changed: a command is run, given as its arguments, or a signal is sent.

    A signal goes to the process of `pid_file`, or without one to the program that `wingman exec` has started.
    Raises `InvalidField`.
    """

    command: tuple[str, ...] = ()
    signal: str = ""
    pid_file: str = ""

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.signal):
            raise InvalidField("", "needs either command or signal")
        if self.command and not Path(self.command[0]).is_absolute():
            raise InvalidField("command", "must begin with an absolute path")
        if self.signal and self.signal not in SIGNALS:
            raise InvalidField("signal", "must be one of " + ", ".join(SIGNALS))
        if self.pid_file:
            if not self.signal:
                raise InvalidField("pid_file", "is for signals")
            check_absolute(self.pid_file, "pid_file")


@dataclass(frozen=True, slots=True)
class Files:
    """`directory` is Wingman's alone to write to. `secrets` names secrets of the configuration, each the
    name of its file too; `templates` has a template's path for the name of each file to be rendered.

    `mode` is 0600 or 0640, `group` a group id, -1 for Wingman's own. With `require_tmpfs` nothing is written
    to a disk. Secrets are asked for anew after `refresh_seconds`, earlier if they end. Raises `InvalidField`.
    """

    directory: str
    mode: str = "0600"
    group: int = -1
    require_tmpfs: bool = False
    identity: IdentityFiles | None = None
    secrets: tuple[str, ...] = ()
    templates: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    refresh_seconds: int = REFRESH_SECONDS
    on_change: OnChange | None = None

    def __post_init__(self) -> None:
        check_absolute(self.directory, "directory")
        if self.mode not in MODES:
            raise InvalidField("mode", "must be one of " + ", ".join(MODES))
        if not -1 <= self.group < _NOBODY:
            raise InvalidField("group", "is a group id: a number from 0 on")
        if self.refresh_seconds < 1:
            raise InvalidField("refresh_seconds", "must be at least 1")
        for name in self.secrets:
            check_file_name(name, "secrets")
        with within("templates"):
            for name, source in self.templates.items():
                check_file_name(name, "")
                check_absolute(source, name)
        names = [*self.secrets, *self.templates, *(self.identity.names if self.identity else ())]
        if not names:
            raise InvalidField("", "needs identity, secrets or templates")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidField("", f"has two files of the name {twice[0]}")


def check_file_name(name: str, at: str) -> None:
    if not _FILE_NAME.fullmatch(name):
        raise InvalidField(at, "file names have 1 to 128 letters, digits, and _ . - after the first")


def check_absolute(path: str, at: str) -> None:
    if not Path(path).is_absolute() or "\0" in path:
        raise InvalidField(at, "must be an absolute path")


_TEXT = string()
FILES: Form = object_of(
    Files,
    {
        "directory": _TEXT,
        "mode": _TEXT,
        "group": INTEGER,
        "require_tmpfs": BOOLEAN,
        "identity": object_of(IdentityFiles, dict.fromkeys(("key", "certificate", "ca", "bundle"), _TEXT)),
        "secrets": list_of(_TEXT),
        "templates": STRINGS,
        "refresh_seconds": INTEGER,
        "on_change": object_of(OnChange, {"command": list_of(_TEXT), "signal": _TEXT, "pid_file": _TEXT}),
    },
    ("directory",),
)
