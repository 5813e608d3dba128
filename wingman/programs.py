"""What a program that Wingman starts is given: names in its environment that lead to secrets.

A secret's value is put into the environment, where everything that the program starts reads it too, only if
the configuration says so.
"""

import fcntl
import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType

from blindfold.secret import SecretBytes
from kms.errors import InvalidField
from kms.model.json_form import STRINGS, Form, object_of
from kms.model.predicate import within

_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Program:
    """Each maps names of environment variables. The variable holds, in `descriptors`, the path of an open
    file with the secret of that name; in `environment`, the secret itself. Raises `InvalidField`.
    """

    descriptors: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    environment: Mapping[str, str] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        for member in ("descriptors", "environment"):
            with within(member):
                for variable in getattr(self, member):
                    if not variable or "=" in variable or "\0" in variable:
                        raise InvalidField("", "has a name that no environment variable can have")
        if twice := sorted(set(self.descriptors) & set(self.environment)):
            raise InvalidField("environment", f"has {twice[0]}, as descriptors do")

    @property
    def secrets(self) -> Collection[str]:
        """The names of those that it is given."""
        return {*self.descriptors.values(), *self.environment.values()}

    def variables(
        self, secrets: Mapping[str, SecretBytes], opened: ExitStack
    ) -> tuple[dict[str, str], tuple[int, ...]]:
        """The variables, and the descriptors that the program is to inherit, which `opened` closes here.

        Raises `InvalidField` for a secret that no variable can hold.
        """
        found, inherited = {}, []
        for variable, name in self.descriptors.items():
            descriptor = memory_file(secrets[name].reveal())
            opened.callback(os.close, descriptor)
            inherited.append(descriptor)
            found[variable] = f"/dev/fd/{descriptor}"
        for variable, name in self.environment.items():
            found[variable] = _text(name, secrets[name].reveal())
        return found, tuple(inherited)


def memory_file(content: bytes) -> int:
    """A file that lies in memory alone and cannot be changed, opened at its beginning (memfd_create(2))."""
    descriptor = os.memfd_create("secret", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _text(name: str, secret: bytes) -> str:
    try:
        text = secret.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InvalidField("program.environment", f"cannot hold {name}, which is no text; use descriptors")
    return text


PROGRAM: Form = object_of(Program, {"descriptors": STRINGS, "environment": STRINGS})
