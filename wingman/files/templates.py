"""Files rendered from secrets by Jinja2 templates, in its sandbox, where what is undefined is an error."""

import base64
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from jinja2 import StrictUndefined, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from wingman.errors import TemplateFailed

MAX_TEMPLATE = 1 << 20


class Values(Mapping[str, str]):
    """Secrets by name, as `read` makes text of them when a template asks for one."""

    def __init__(self, secrets: Mapping[str, bytes], read: Callable[[bytes], str]) -> None:
        self._secrets = secrets
        self._read = read

    def __getitem__(self, name: str) -> str:
        """Raises `KeyError`, and what `read` raises."""
        return self._read(self._secrets[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)


def render(source: Path, secrets: Mapping[str, bytes], spiffe_id: str) -> bytes:
    """What the template makes of `secrets[name]`, `secrets_base64[name]` and `spiffe_id`.

    Raises `TemplateFailed`, which tells file and line and nothing of what the template worked with.
    """
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    values = {
        "secrets": Values(secrets, lambda secret: secret.decode("utf-8")),
        "secrets_base64": Values(secrets, lambda secret: base64.b64encode(secret).decode("ascii")),
        "spiffe_id": spiffe_id,
    }
    # The text of anything else that is raised may quote a secret.
    try:
        return environment.from_string(_read(source)).render(values).encode("utf-8")
    except TemplateFailed:
        raise
    except TemplateSyntaxError as error:
        problem = f"line {error.lineno}: {error.message}"
    except Exception as error:
        problem = f"line {_line(error)}: {type(error).__name__}"
    raise TemplateFailed(f"{source}: {problem}")


def _read(source: Path) -> str:
    try:
        with source.open("rb") as file:
            text = file.read(MAX_TEMPLATE + 1)
        if len(text) <= MAX_TEMPLATE:
            return text.decode("utf-8")
        problem = f"is larger than {MAX_TEMPLATE} bytes"
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    raise TemplateFailed(f"{source}: {problem}")


def _line(error: Exception) -> int:
    """Of the template, whose frames Jinja2 puts among those of the program."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return frames[-1].lineno or 0 if frames else 0
