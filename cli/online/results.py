"""Results that are bytes: in a file, on standard output, or in base64 inside JSON.

`answer` is a message of the API that has a `name` and, in base64, the field.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.online.secret_output import deliver
from cli.online.session import Session
from cli.output import write_json
from cli.secret_io import public_sink


def write_public(session: Session, answer: Mapping[str, Any], field: str, out: Path | None) -> None:
    """A result that is no secret. Raises `UsageError`, `OSError`."""
    if _is_inside_json(session, answer, field, out):
        return
    with public_sink(out, binary=True) as sink:
        sink.write(_bytes(answer, field))
    _say(session, answer, out)


def write_secret(session: Session, answer: Mapping[str, Any], field: str, out: Path | None) -> None:
    """A secret result; its file has mode 0600. Raises `UsageError`, `OSError`."""
    if _is_inside_json(session, answer, field, out):
        return
    deliver(iter([_bytes(answer, field)]), out, stream=False)
    _say(session, answer, out)


def _is_inside_json(session: Session, answer: Mapping[str, Any], field: str, out: Path | None) -> bool:
    inside = session.as_json and out is None
    if inside:
        write_json({"name": answer.get("name", ""), field: answer.get(field, "")})
    return inside


def _bytes(answer: Mapping[str, Any], field: str) -> bytes:
    return base64.b64decode(answer.get(field, ""))


def _say(session: Session, answer: Mapping[str, Any], out: Path | None) -> None:
    if session.as_json:
        write_json({"name": answer.get("name", ""), "out": str(out)})
