"""docs/backups.md: its tour runs."""

import re
from pathlib import Path

import pytest
from tours import run_tour

PAGE = (Path(__file__).parents[2] / "docs/backups.md").read_text(encoding="utf-8")
TOUR = re.findall(r"^```console-backups\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ENDS = """
kill %1
wait
"""
TIMEOUT = 120


@pytest.mark.slow
def test_store_that_was_lost_is_restored_from_two_backups(tmp_path: Path) -> None:
    for name in ("home", "tour"):
        (tmp_path / name).mkdir()
    script = "\n".join([*TOUR, ENDS])
    output = run_tour(script, ("7443", "7444"), tmp_path / "tour", tmp_path / "home", TIMEOUT)
    assert re.findall(r"^verify only +(yes|no)$", output, re.MULTILINE) == ["yes", "no"]
    assert re.findall(r"^unknown events +(\d+)$", output, re.MULTILINE) == ["0", "1"]
    assert "tenants/globex" in output
    assert re.search(r"^sound +yes$", output, re.MULTILINE)
