"""docs/limits.md: its numbers are those of the code, its examples are taken."""

import re
import tomllib
from pathlib import Path

import pytest

from kms.main.configuration import RATE_LIMITS
from kms.model.rate_limit import IdentifierKind, OperationClass, parse_limit
from kms.server.app import Limits
from kms.server.servicers.cryptography import STREAMS_OF_A_CALLER
from kms.services import rate_limits
from kms.services.rate_limiters import MAX_IDENTIFICATIONS, MAX_LIMITERS

PAGE = (Path(__file__).parents[2] / "docs/limits.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
LIMITS = Limits()
WORDS = {5: "five", 10: "ten"}


@pytest.mark.parametrize(
    "stated",
    [
        f"{LIMITS.calls_of_user} calls open at once, {STREAMS_OF_A_CALLER} streams",
        f"{WORDS[LIMITS.lateness.at_once]} leave at once, and then {LIMITS.lateness.each_second} a second",
        f"a client can send {LIMITS.window // 1024} KiB",
        f"held for longer than {WORDS[LIMITS.lateness.longest]} seconds",
        f"At most {LIMITS.lateness.held_of_user:,} of a caller and {LIMITS.lateness.held:,} in all are held",
        f"the {rate_limits.MAX_USERS:,} users that called last",
        f"its /{rate_limits.IPV6_PREFIX}.",
        f"at most {rate_limits.MAX_VALUES:,} live values",
        f"a value above {rate_limits.MAX_VALUE} characters",
        f"at most {MAX_LIMITERS} limiters and {MAX_IDENTIFICATIONS} user identifications",
    ],
)
def test_number_is_that_of_the_code(stated: str) -> None:
    assert stated in TEXT


def test_every_class_is_explained() -> None:
    assert set(re.findall(r"^\| `([A-Z]+)` \|", PAGE, re.MULTILINE)) == set(OperationClass)


def test_every_kind_of_user_is_explained() -> None:
    assert set(re.findall(r"^- `([A-Z]+)`: ", PAGE, re.MULTILINE)) == set(IdentifierKind)


def test_the_operators_lines_are_limits_and_the_first_is_the_default() -> None:
    [block] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = tomllib.loads(block)["rate_limits"]
    assert [parse_limit(line).name for line in lines] == lines
    assert lines[:1] == list(RATE_LIMITS)
    assert "the first of these two lines holds alone" in TEXT


def test_held_calls_fit_into_the_listeners() -> None:
    assert LIMITS.lateness.held + LIMITS.calls_of_user < LIMITS.concurrent_calls
