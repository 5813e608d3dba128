"""docs/glossary.md: every state of a key version, what may follow it, and every form of name."""

import inspect
import re
from pathlib import Path

import pytest

from kms.model import names
from kms.model.lifecycle import TRANSITIONS, VersionState
from kms.model.names import ResourceName

PAGE = (Path(__file__).parents[2] / "docs/glossary.md").read_text(encoding="utf-8")
STATES = dict(re.findall(r"^\| `([A-Z_]+)` \| .+ \| (.*) \|$", PAGE, re.MULTILINE))
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


def test_every_state_is_explained_and_no_other_is() -> None:
    assert STATES.keys() == set(VersionState)


@pytest.mark.parametrize("state", VersionState)
def test_what_follows_a_state_is_what_the_transitions_say(state: VersionState) -> None:
    following = {after for (before, _), after in TRANSITIONS.items() if before is state}
    assert set(re.findall(r"`([A-Z_]+)`", STATES[state])) == following


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.__name__)
def test_every_form_of_name_is_listed(name: type[ResourceName]) -> None:
    assert f"\n    {name.PATTERN}\n" in PAGE


def test_words_are_in_the_order_of_the_alphabet_and_explained_once() -> None:
    assert sorted(WORDS, key=str.lower) == WORDS
    assert len(WORDS) == len(set(WORDS)) > 40


@pytest.mark.parametrize("word", REQUIRED)
def test_every_word_of_the_interface_is_explained(word: str) -> None:
    assert word in WORDS
