"""What operators do with a whole tenant: stop it, let it go on, have it destroyed, and get the receipt."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from kms.audit.export import links
from kms.errors import InvalidField, NotFound, WrongState
from kms.model.chain import SignedCheckpoint, parse_object
from kms.model.names import TenantName
from kms.model.records import TenantRecord
from kms.model.tenant_lifecycle import TenantState, TenantVerb, next_tenant_state
from kms.services.audit_log import ExportedEvent, exported
from kms.services.blindfold_keys import DEFAULT_DELAY, MAX_DELAY, MIN_DELAY
from kms.services.call import Call, Outcome
from kms.services.guard import Action, Guard
from kms.services.repository import Loaded, Repository, found
from kms.services.tenant_destruction import DESTROYED
from kms.storage.interface import Store

PLATFORM = ""
RECEIPT = Action("GetDestructionReceipt", "tenants.getDestructionReceipt")
_ACTIONS = {
    TenantVerb.ENABLE: Action("EnableTenant", "tenants.enable"),
    TenantVerb.DISABLE: Action("DisableTenant", "tenants.disable"),
    TenantVerb.SCHEDULE_DESTROY: Action("ScheduleDestroyTenant", "tenants.scheduleDestroy"),
    TenantVerb.CANCEL_DESTROY: Action("CancelDestroyTenant", "tenants.cancelDestroy"),
}


@dataclass(frozen=True, slots=True)
class DestructionReceipt:
    """Part of the audit chain: the event that says that all of a tenant is gone, between two checkpoints."""

    tenant: Loaded[TenantRecord]
    links: tuple[ExportedEvent | SignedCheckpoint, ...]


class TenantLife:
    """For operators alone."""

    def __init__(self, guard: Guard, repository: Repository, store: Store) -> None:
        self._guard = guard
        self._repository = repository
        self._store = store

    async def change(
        self, call: Call, name: TenantName, verb: TenantVerb, etag: str, delay: timedelta = DEFAULT_DELAY
    ) -> Loaded[TenantRecord]:
        """Enable, disable, schedule the destruction after delay, or cancel it.

        Nothing of a tenant that is not ENABLED is served. Raises `NotFound`, `EtagMismatch`, `WrongState`,
        `InvalidField` for the delay.
        """
        is_scheduling = verb is TenantVerb.SCHEDULE_DESTROY
        if is_scheduling and not MIN_DELAY <= delay <= MAX_DELAY:
            raise InvalidField("delay", "must be from 24 hours to 120 days")

        def act() -> Outcome[Loaded[TenantRecord]]:
            loaded = self._load(name)
            loaded.check_etag(etag)
            state = next_tenant_state(TenantState(loaded.record.state), verb)
            destroy_time = call.time + delay if is_scheduling else None
            record = replace(loaded.record, state=state.value, destroy_time=destroy_time)
            details = {"tenant": name.tenant, "state": state.value}
            if destroy_time is not None:
                details["destroy_time"] = destroy_time.isoformat()
            changed = Loaded(loaded.name, record, loaded.counter + 1)
            return Outcome(changed, [loaded.put(record)], details)

        return await self._guard.perform(call, _ACTIONS[verb], None, act)

    async def receipt(self, call: Call, name: TenantName) -> DestructionReceipt:
        """The proof that a tenant is gone. Raises `NotFound`, `WrongState` before all is gone."""

        def act() -> Outcome[DestructionReceipt]:
            tenant = self._load(name)
            record = tenant.record
            if record.erase_time is None:
                raise WrongState(f"{name} is {record.state}, and not all of it is gone", state=record.state)
            receipt = DestructionReceipt(tenant, tuple(self._links(name, record.anchor)))
            return Outcome(receipt, (), {"tenant": name.tenant})

        return await self._guard.perform(call, RECEIPT, None, act, in_thread=True)

    def _links(self, name: TenantName, anchor: int) -> Iterator[ExportedEvent | SignedCheckpoint]:
        if anchor < self._store.dropped_through():
            raise NotFound(
                f"the event of the destruction of {name}, which was dropped; older exports have it"
            )
        seen = False
        for link in links(self._store, anchor):
            if isinstance(link, SignedCheckpoint):
                yield link
                if seen:
                    return
            else:
                yield exported(link, PLATFORM)
                body = parse_object(link.body)
                seen |= (body["action"], body["resource"]) == (DESTROYED, str(name))
        raise NotFound(f"the event of the destruction of {name}")

    def _load(self, name: TenantName) -> Loaded[TenantRecord]:
        return found(self._repository.load(TenantRecord, str(name)), str(name))
