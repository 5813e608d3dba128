"""docs/cli.md says what the commands' own help says."""

import pytest

from cli import reference
from cli.options import CREDENTIALS_ENV, PROFILE_ENV, SERVER_ENV, TENANT_ENV, TRUST_KEY_ENV
from cli.profile import Profile

PAGE = reference.PAGE.read_text(encoding="utf-8")


def test_page_is_in_step_with_the_commands() -> None:
    assert reference.render(PAGE) == PAGE, "run python -m cli.reference"


def test_generator_refuses_a_page_without_its_marks() -> None:
    with pytest.raises(ValueError, match="no place for its exit codes"):
        reference.render("# The command line\n")


@pytest.mark.parametrize("name", [PROFILE_ENV, SERVER_ENV, CREDENTIALS_ENV, TRUST_KEY_ENV, TENANT_ENV])
def test_every_variable_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("key", Profile.__slots__)
def test_every_profile_key_is_in_the_example(key: str) -> None:
    assert f"\n{key} = " in PAGE
