"""docs/external.md names every engine and every reason of a failure, and no other."""

import re
from pathlib import Path

from kms.external import errors
from kms.external.errors import ExternalFailed
from kms.model.secret_management_access import Engine

PAGE = (Path(__file__).parents[2] / "docs/external.md").read_text(encoding="utf-8")
KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ExternalFailed)
]


def first_column(heading: str) -> list[str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_every_reason_is_listed_once_and_no_other() -> None:
    assert sorted(first_column("Errors")) == sorted(kind.reason for kind in KINDS)


def test_every_failure_has_a_next_step() -> None:
    assert all(kind.hint.endswith(".") for kind in KINDS)


def test_every_engine_is_listed() -> None:
    assert first_column("What is read") == [engine.name for engine in Engine]
