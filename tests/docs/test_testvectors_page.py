"""testvectors/README.md names every file, field and error of the vectors."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "testvectors"
PAGE = (VECTORS / "README.md").read_text(encoding="utf-8")
FILES = [path for path in sorted(VECTORS.glob("*/*.json")) if path.parent.name != "schemas"]
ROWS = dict(re.findall(r"^\| `(\w+/\w+\.json)` \| (.+) \|$", PAGE, re.MULTILINE))
ERRORS = set(re.findall(r"^\| `([A-Z]\w+)` \|", PAGE, re.MULTILINE))
COMMON = {"tcId", "comment", "flags", "result", "error"}
HEAD = {"algorithm", "schema", "numberOfTests", "notes", "tests"}


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_every_file_is_listed_and_no_other_is() -> None:
    assert FILES
    assert ROWS.keys() == {str(path.relative_to(VECTORS)) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_field_of_a_file_is_listed(path: Path) -> None:
    file = load(path)
    fields = set().union(*(test.keys() for test in file["tests"])) - COMMON | file.keys() - HEAD
    assert set(re.findall(r"`(\w+)`", ROWS[str(path.relative_to(VECTORS))])) == fields


def test_every_error_is_explained_and_no_other_is() -> None:
    used = {test["error"] for path in FILES for test in load(path)["tests"] if "error" in test}
    assert used == ERRORS
