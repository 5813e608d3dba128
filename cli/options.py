"""Options that many commands share, spelled once."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli import profile
from cli.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., Any])

PROFILE_ENV = "BLINDFOLD_PROFILE"
TRUST_KEY_ENV = "BLINDFOLD_TRUST_KEY"
TENANT_ENV = "BLINDFOLD_TENANT"
SERVER_ENV = "BLINDFOLD_SERVER"
CREDENTIALS_ENV = "BLINDFOLD_CREDENTIALS"

FILE = click.Path(dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)
# A name of a file, or - for a standard stream.
STREAM = click.Path(dir_okay=False, allow_dash=True)


def json_option(command: _Command) -> _Command:
    return click.option(
        "--json", "as_json", is_flag=True, help="Print the result as JSON, and errors as JSON on stderr."
    )(command)


def profile_option(command: _Command) -> _Command:
    """`profile_path: Path | None`, for `cli.profile.load`."""
    return click.option(
        "--profile",
        "profile_path",
        type=FILE,
        envvar=PROFILE_ENV,
        show_envvar=True,
        help="Profile to read instead of ~/.config/blindfold/profile.toml.",
    )(command)


def trust_options(command: _Command) -> _Command:
    """`trust_keys` and `profile_path`, for `pinned`."""
    return trust_key_option(profile_option(command))


def trust_key_option(command: _Command) -> _Command:
    return click.option(
        "--trust-key",
        "trust_keys",
        multiple=True,
        metavar="sha256:HEX",
        envvar=TRUST_KEY_ENV,
        show_envvar=True,
        help="Fingerprint of a documents root key to trust; may be repeated.",
    )(command)


def tenant_option(command: _Command) -> _Command:
    return click.option(
        "--tenant",
        metavar="ID",
        envvar=TENANT_ENV,
        show_envvar=True,
        help="Tenant that the documents must be of.",
    )(command)


def allow_expired_option(command: _Command) -> _Command:
    return click.option(
        "--allow-expired", is_flag=True, help="Accept documents past their date, with a warning."
    )(command)


def out_option(command: _Command) -> _Command:
    return click.option(
        "--out",
        "-o",
        type=FILE,
        help="File to write, replaced in one step at the end; by default standard output.",
    )(command)


def read_profile(path: Path | None) -> profile.Profile:
    return profile.load(path, os.environ)


def pinned(trust_keys: tuple[str, ...], settings: profile.Profile) -> frozenset[str]:
    """The fingerprints to trust: those of the call, else those of the profile. May be empty."""
    return frozenset(profile.check_trust_keys(trust_keys, "--trust-key") or settings.trust_keys)


def must_pin(trust_keys: tuple[str, ...], settings: profile.Profile) -> frozenset[str]:
    """As `pinned`. Raises `UsageError` where nothing is pinned: nothing would be verified."""
    keys = pinned(trust_keys, settings)
    if not keys:
        raise UsageError(
            "no documents root key is pinned, so nothing can be verified",
            hint="Give --trust-key sha256:..., as `kms init` printed it, or trust_keys in the profile.",
        )
    return keys
