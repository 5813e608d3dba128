"""The life of a tenant: one table of transitions; what is not in it is refused."""

from enum import StrEnum

from kms.model.lifecycle import follow


class TenantState(StrEnum):
    """docs/glossary.md says what each means."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    DESTROY_SCHEDULED = "DESTROY_SCHEDULED"
    DESTROYED = "DESTROYED"


class TenantVerb(StrEnum):
    """What may happen to a tenant. `EXPIRE` is the end of a scheduled destruction's delay."""

    ENABLE = "enable"
    DISABLE = "disable"
    SCHEDULE_DESTROY = "schedule destruction of"
    CANCEL_DESTROY = "cancel the destruction of"
    EXPIRE = "destroy"


_S, _V = TenantState, TenantVerb

TRANSITIONS: dict[tuple[TenantState, TenantVerb], TenantState] = {
    (_S.DISABLED, _V.ENABLE): _S.ENABLED,
    (_S.ENABLED, _V.DISABLE): _S.DISABLED,
    (_S.ENABLED, _V.SCHEDULE_DESTROY): _S.DESTROY_SCHEDULED,
    (_S.DISABLED, _V.SCHEDULE_DESTROY): _S.DESTROY_SCHEDULED,
    (_S.DESTROY_SCHEDULED, _V.CANCEL_DESTROY): _S.DISABLED,
    (_S.DESTROY_SCHEDULED, _V.EXPIRE): _S.DESTROYED,
}


def next_tenant_state(state: TenantState, verb: TenantVerb) -> TenantState:
    """The state after verb. Raises `WrongState`, which names the states in which the verb is possible."""
    return follow(TRANSITIONS, state, verb, "tenant")
