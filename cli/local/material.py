"""What a stopped server's root of trust needs, from files or from a terminal."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from cli.local.passphrase import passphrase_option, passphrase_reader
from cli.local.shares import share_option, share_reader
from kms.main.root_material import Material

_Command = TypeVar("_Command", bound=Callable[..., Any])


def material_options(command: _Command) -> Callable[..., None]:
    """The command gets `material`."""

    @functools.wraps(command)
    def call(*, passphrase_file: str | None, share_files: tuple[str, ...], **rest: Any) -> None:
        command(material=Material(passphrase_reader(passphrase_file), share_reader(share_files)), **rest)

    return passphrase_option(share_option(call))
