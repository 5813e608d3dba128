"""The whole grid of a tenant's states and verbs: what is not in the table is refused."""

import itertools

import pytest

from kms.errors import WrongState
from kms.model.tenant_lifecycle import TRANSITIONS, TenantState, TenantVerb, next_tenant_state


@pytest.mark.parametrize(("state", "verb"), list(itertools.product(TenantState, TenantVerb)))
def test_each_pair_is_a_transition_or_is_refused(state: TenantState, verb: TenantVerb) -> None:
    if (state, verb) in TRANSITIONS:
        assert next_tenant_state(state, verb) is TRANSITIONS[state, verb]
        return
    with pytest.raises(WrongState, match=f"a tenant that is {state}; possible in "):
        next_tenant_state(state, verb)


def test_destroyed_is_the_end_and_comes_of_a_schedule_alone() -> None:
    assert not [verb for state, verb in TRANSITIONS if state is TenantState.DESTROYED]
    sources = [state for (state, _), after in TRANSITIONS.items() if after is TenantState.DESTROYED]
    assert sources == [TenantState.DESTROY_SCHEDULED]


def test_cancelled_destruction_does_not_serve_again_by_itself() -> None:
    assert TRANSITIONS[TenantState.DESTROY_SCHEDULED, TenantVerb.CANCEL_DESTROY] is TenantState.DISABLED
