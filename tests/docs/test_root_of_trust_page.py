"""docs/root-of-trust.md: its tour runs, and its numbers are those of the code."""

import re
from pathlib import Path

import pytest
from tours import run_tour

from kms.crypto.root_of_trust.shamir import Shamir
from kms.identity.authority import MAX_LEAF_LIFE, UNLOCK_LIFE
from kms.main.configuration import PROVIDERS
from kms.main.locked_serving import LIMIT
from kms.model.lock_status import UNLOCK_NAME
from kms.services.share_gathering import PATIENCE

PAGE = (Path(__file__).parents[2] / "docs/root-of-trust.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
TOUR = re.findall(r"^```console-shares\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
WORKS = """
kms status --server 127.0.0.1:7443 --credentials kms/credentials/operator
kill %1
wait
"""
TIMEOUT = 120


@pytest.mark.slow
def test_tour_makes_shares_and_unlocks_with_two_of_them(tmp_path: Path) -> None:
    for name in ("home", "tour"):
        (tmp_path / name).mkdir()
    script = "\n".join([*TOUR, WORKS])
    output = run_tour(script, ("7443", "7444"), tmp_path / "tour", tmp_path / "home", TIMEOUT)
    locked = re.findall(r"^locked +(yes|no)$", output, re.MULTILINE)
    assert locked == ["yes", "yes", "no"]
    assert re.search(r"^root of trust kind +shamir$", output, re.MULTILINE)


def test_every_provider_has_its_row() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(PROVIDERS)


@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ("forgotten** 15 minutes after the last share", PATIENCE.total_seconds() == 15 * 60),
        ("30 in a minute and 20 at once from an address", LIMIT == "ENROL 30/minute burst 20 by address"),
        (f"one name `{UNLOCK_NAME}`, for 30 days", UNLOCK_LIFE.days == 30),
        ("its ordinary one, for 24 hours", MAX_LEAF_LIFE.total_seconds() == 24 * 3600),
        ("33 words each", len(Shamir.create(2, 2)[1][0].reveal().split()) == 33),
    ],
)
def test_what_the_page_states_is_so(stated: str, value: bool) -> None:
    assert stated in TEXT
    assert value
