"""How a root of trust is shared: options of `kms init` and `kms operator rekey`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import UsageError
from cli.options import FILE
from kms.crypto.root_of_trust.shamir import Shamir
from kms.crypto.sharing import Sharing

_Command = TypeVar("_Command", bound=Callable[..., Any])


def threshold_option(command: _Command) -> _Command:
    return click.option(
        "--threshold", type=int, metavar="K", help="How many shares unlock the store: 2 or more."
    )(command)


def share_key_option(command: _Command) -> _Command:
    return click.option(
        "--share-key",
        "share_keys",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="X25519 public key (PEM) of a share's holder, as `kms operator keygen` makes; once for each.",
    )(command)


def sharing_options(command: _Command) -> _Command:
    """`threshold`, `count` and `share_keys`, for `read_sharing`."""
    command = click.option(
        "--shares",
        "count",
        type=int,
        metavar="N",
        help="How many shares to print in clear, where no --share-key is given: 2 to 16.",
    )(share_key_option(command))
    return threshold_option(command)


def read_sharing(
    root_of_trust: str, threshold: int | None, count: int | None, share_keys: Sequence[Path]
) -> Sharing | None:
    """None for a root of trust without shares. Raises `UsageError`, `InvalidField`."""
    asked = threshold is not None or count is not None or bool(share_keys)
    if root_of_trust != Shamir.provider:
        if asked:
            raise UsageError("--threshold, --shares and --share-key are for --root-of-trust shamir")
        return None
    if threshold is None or (count is None) == (not share_keys):
        raise UsageError(
            "--root-of-trust shamir needs --threshold K, and --shares N or a --share-key for each holder"
        )
    return Sharing(threshold, count or len(share_keys), tuple(map(read_share_key, share_keys)))


def read_share_key(path: Path) -> bytes:
    """Raises `UsageError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror
    raise UsageError(f"{path} cannot be read: {reason}")
