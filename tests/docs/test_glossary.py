"""docs/glossary.md: every state of a key version, what may follow it, and every form of name."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from kms.model import identity_authorities, lifecycle, names, tenant_lifecycle
from kms.model.identity_authorities import AuthorityState
from kms.model.lifecycle import VersionState
from kms.model.names import ResourceName
from kms.model.tenant_lifecycle import TenantState

PAGE = (Path(__file__).parents[2] / "docs/glossary.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([A-Z_]+)` \| .+ \| (.*) \|$", re.MULTILINE)
WORDS = re.findall(r"^\| \*([^|]+?)\*(?:, \*.+\*| \(AAD\))? \| ", PAGE, re.MULTILINE)
NAMES = [
    value
    for value in vars(names).values()
    if inspect.isclass(value) and issubclass(value, ResourceName) and value is not ResourceName
]
# Those that the interface rests on; the page has more.
REQUIRED = (
    *("seal", "open", "encrypt", "decrypt", "blind", "evaluate", "unblind", "secret policy", "KMS policy"),
    *("rotation schedule", "key version", "primary version", "root of trust", "identity", "enrol"),
    *("tenant", "namespace"),
)


@pytest.mark.parametrize(
    ("title", "states", "transitions"),
    [
        ("States of a key version", VersionState, lifecycle.TRANSITIONS),
        ("States of a tenant", TenantState, tenant_lifecycle.TRANSITIONS),
        ("States of an identity authority", AuthorityState, identity_authorities.TRANSITIONS),
    ],
)
def test_every_state_is_explained_with_what_the_transitions_say_that_follows(
    title: str, states: Any, transitions: Any
) -> None:
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    explained = {state: set(re.findall(r"`([A-Z_]+)`", follows)) for state, follows in ROW.findall(section)}
    assert explained == {
        state: {after for (before, _), after in transitions.items() if before is state} for state in states
    }


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.__name__)
def test_every_form_of_name_is_listed(name: type[ResourceName]) -> None:
    assert f"\n    {name.PATTERN}\n" in PAGE


def test_words_are_in_the_order_of_the_alphabet_and_explained_once() -> None:
    assert sorted(WORDS, key=str.lower) == WORDS
    assert len(WORDS) == len(set(WORDS)) > 40


@pytest.mark.parametrize("word", REQUIRED)
def test_every_word_of_the_interface_is_explained(word: str) -> None:
    assert word in WORDS
