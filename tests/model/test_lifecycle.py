"""The whole grid of states and verbs: what is not in the table is refused, and says what is possible."""

import itertools

import pytest

from kms.errors import WrongState
from kms.model.lifecycle import TRANSITIONS, Verb, VersionState, next_state


@pytest.mark.parametrize(("state", "verb"), list(itertools.product(VersionState, Verb)))
def test_each_pair_is_a_transition_or_is_refused(state: VersionState, verb: Verb) -> None:
    if (state, verb) in TRANSITIONS:
        assert next_state(state, verb) is TRANSITIONS[state, verb]
        return
    with pytest.raises(WrongState, match=f"that is {state}; possible in ") as caught:
        next_state(state, verb)
    for possible, other in TRANSITIONS:
        assert (possible in str(caught.value).partition("possible in ")[2].split(", ")) or other is not verb


def test_destroyed_is_the_end() -> None:
    assert not [verb for state, verb in TRANSITIONS if state is VersionState.DESTROYED]


def test_only_a_scheduled_destruction_destroys() -> None:
    sources = [state for (state, _), after in TRANSITIONS.items() if after is VersionState.DESTROYED]
    assert sources == [VersionState.DESTROY_SCHEDULED]
