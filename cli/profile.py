"""The profile: what a person would otherwise repeat on every call. Both programs read it.

`$XDG_CONFIG_HOME/blindfold/profile.toml`, by default under `~/.config`; another with `--profile` or
`BLINDFOLD_PROFILE`. An option beats its environment variable, which beats the profile.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from cli.errors import UsageError

FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def check_trust_keys(values: Iterable[str], where: str) -> tuple[str, ...]:
    """Fingerprints of documents root keys. Raises `UsageError`."""
    keys = tuple(values)
    for key in keys:
        if not FINGERPRINT.fullmatch(key):
            raise UsageError(
                f"{where}: not a fingerprint of the form sha256:<64 lower-case hex digits>",
                hint="`kms init` prints it; `blindfold fingerprint` prints that of a bundle, to compare.",
            )
    return keys


@dataclass(frozen=True, slots=True)
class Profile:
    """`server` and `enrolment_server` are host:port. Relative paths are relative to the profile's file."""

    server: str = ""
    enrolment_server: str = ""
    credentials: Path | None = None
    trust_keys: tuple[str, ...] = ()
    tenant: str = ""

    @classmethod
    def parse(cls, text: str, path: Path) -> Self:
        """Raises `UsageError` for what is not TOML, for unknown keys and for values of another type."""
        import tomllib

        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path}: not TOML: {error}") from None
        known = [field.name for field in fields(cls)]
        unknown = sorted(values.keys() - set(known))
        if unknown:
            raise UsageError(f"{path}: unknown key {unknown[0]!r}", hint=f"Known are {', '.join(known)}.")
        directory = _text(values, "credentials", path)
        return cls(
            server=_text(values, "server", path),
            enrolment_server=_text(values, "enrolment_server", path),
            credentials=path.parent / Path(directory).expanduser() if directory else None,
            trust_keys=check_trust_keys(_texts(values, "trust_keys", path), f"{path}: trust_keys"),
            tenant=_text(values, "tenant", path),
        )


def default_path(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config"
    return Path(base) / "blindfold" / "profile.toml"


def load(path: Path | None, environment: Mapping[str, str]) -> Profile:
    """The profile in `path`; for None that of the default place, or an empty one. Raises `UsageError`."""
    place = path or default_path(environment)
    try:
        text = place.read_text(encoding="utf-8")
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError | NotADirectoryError):
            return Profile()
        raise UsageError(f"profile {place}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise UsageError(f"profile {place}: not UTF-8") from None
    return Profile.parse(text, place)


def _text(values: dict[str, Any], name: str, path: Path) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise UsageError(f"{path}: {name} must be a string")
    return value


def _texts(values: dict[str, Any], name: str, path: Path) -> list[str]:
    value = values.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{path}: {name} must be a list of strings")
    return value
