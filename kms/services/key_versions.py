"""The life of a key's versions: one transition table (`kms.model.lifecycle`), one way to change a state."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kms.errors import InvalidField, WrongState
from kms.model.algorithms import ALGORITHMS
from kms.model.device_handle import DeviceHandle
from kms.model.lifecycle import Verb, VersionState, next_state
from kms.model.names import KeyName, KeyVersionName
from kms.model.records import DueRecord, KeyRecord, KeyVersionRecord
from kms.services.agenda import DESTROY, Agenda
from kms.services.blindfold_keys import DEFAULT_DELAY, MAX_DELAY, MIN_DELAY
from kms.services.call import Call, Outcome, Page
from kms.services.guard import Action, Guard
from kms.services.keys import version_row
from kms.services.repository import Loaded, Repository, found, page
from kms.services.use_budget import UseBudget
from kms.storage.interface import Change, Put

Changes = list[Change]

MAX_INVOCATIONS = 1 << 32
ROTATE_AT = 1 << 31

GET = Action("GetKeyVersion", "keys.get")
LIST = Action("ListKeyVersions", "keys.list")
SET_PRIMARY = Action("SetPrimaryKeyVersion", "keys.update")
_ACTIONS = {
    Verb.ENABLE: Action("EnableKeyVersion", "keys.enable"),
    Verb.DISABLE: Action("DisableKeyVersion", "keys.disable"),
    Verb.MARK_COMPROMISED: Action("MarkKeyVersionCompromised", "keys.disable"),
    Verb.SCHEDULE_DESTROY: Action("ScheduleDestroyKeyVersion", "keys.scheduleDestroy"),
    Verb.CANCEL_DESTROY: Action("CancelDestroyKeyVersion", "keys.cancelDestroy"),
}


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version, whether it is primary, and its use: invocations set aside (at most a block ahead), last day.

    `limit` is how many invocations it may make, 0 if they are not counted.
    """

    name: KeyVersionName
    row: Loaded[KeyVersionRecord]
    primary: bool
    invocations: int
    limit: int
    last_used: datetime | None


class KeyVersions:
    """Reads and changes versions; `Keys` makes them."""

    def __init__(self, guard: Guard, repository: Repository, agenda: Agenda, budget: UseBudget) -> None:
        self._guard = guard
        self._repository = repository
        self._agenda = agenda
        self._budget = budget

    async def get(self, call: Call, name: KeyVersionName) -> VersionView:
        """Raises `NotFound`."""

        def act() -> Outcome[VersionView]:
            key, row = self._load(name)
            return Outcome(self._view(name, key, row))

        return await self._guard.perform(call, GET, name, act)

    def view(self, name: KeyVersionName) -> VersionView:
        """For whoever has just been allowed to make this version. Raises `NotFound`."""
        return self._view(name, *self._load(name))

    async def list(self, call: Call, parent: KeyName, after: str, limit: int) -> Page[VersionView]:
        """By rising version. Raises `NotFound`."""

        def act() -> Outcome[Page[VersionView]]:
            key = found(self._repository.load(KeyRecord, str(parent)), str(parent))
            rows = page(
                self._repository.scan(KeyVersionRecord, f"{parent}/versions/", after, limit + 1), limit
            )
            views = tuple(self._view(name_of(row.name), key, row) for row in rows.items)
            return Outcome(Page(views, rows.next_after))

        return await self._guard.perform(call, LIST, parent, act)

    async def set_primary(self, call: Call, name: KeyVersionName, etag: str) -> VersionView:
        """New operations use this version from now on. Raises `NotFound`, `EtagMismatch`, `WrongState`."""

        def act() -> Outcome[VersionView]:
            key, row = self._load(name)
            row.check_etag(etag)
            if row.record.state != VersionState.ENABLED:
                raise WrongState(f"{name} is {row.record.state}; a primary version is ENABLED")
            if not row.record.holds_private:
                raise WrongState(f"{name} holds a public key only; a primary version does new operations")
            primary = replace(key.record, primary=name.version)
            view = self._view(name, Loaded(key.name, primary, key.counter + 1), row)
            return Outcome(view, [key.put(primary)])

        return await self._guard.perform(call, SET_PRIMARY, name, act)

    async def change(
        self, call: Call, name: KeyVersionName, verb: Verb, etag: str, delay: timedelta = DEFAULT_DELAY
    ) -> VersionView:
        """Enable, disable, mark as compromised, schedule a destruction after delay, or cancel it.

        Raises `NotFound`, `EtagMismatch`, `WrongState`, `InvalidField` for the delay.
        """
        if verb is Verb.SCHEDULE_DESTROY and not MIN_DELAY <= delay <= MAX_DELAY:
            raise InvalidField("delay", "must be from 24 hours to 120 days")

        def act() -> Outcome[VersionView]:
            key, row = self._load(name)
            row.check_etag(etag)
            _check_not_begun(row.record, verb, call.time)
            destroy_time = call.time + delay if verb is Verb.SCHEDULE_DESTROY else None
            record = replace(_moved(row.record, verb), destroy_time=destroy_time)
            changes: Changes = [row.put(record)]
            changes += self._agenda.move(DESTROY, row.name, row.record.destroy_time, destroy_time)
            details = {} if destroy_time is None else {"destroy_time": destroy_time.isoformat()}
            view = self._view(name, key, Loaded(row.name, record, row.counter + 1))
            return Outcome(view, changes, details)

        return await self._guard.perform(call, _ACTIONS[verb], name, act)

    def due_handle(self, due: Loaded[DueRecord]) -> DeviceHandle | None:
        """Where the bytes are of a version whose time has come, if they are in a device."""
        row = self._repository.load(KeyVersionRecord, due.record.target)
        if row is None or row.record.state != VersionState.DESTROY_SCHEDULED or not row.record.handle:
            return None
        return DeviceHandle.parse(row.record.handle)

    def destruction(self, due: Loaded[DueRecord], now: datetime) -> Changes:
        """The writes that end a version whose time has come: its bytes are overwritten for good.

        What a device holds of it, `due_handle`, has been destroyed before.
        """
        row = self._repository.load(KeyVersionRecord, due.record.target)
        changes: Changes = [due.delete()]
        if row is not None and row.record.state == VersionState.DESTROY_SCHEDULED:
            changes.append(destroyed(row, now))
        return changes

    def _load(self, name: KeyVersionName) -> tuple[Loaded[KeyRecord], Loaded[KeyVersionRecord]]:
        key = found(self._repository.load(KeyRecord, str(name.key_name)), str(name.key_name))
        row = self._repository.load(KeyVersionRecord, version_row(name.key_name, name.version))
        return key, found(row, str(name))

    def _view(
        self, name: KeyVersionName, key: Loaded[KeyRecord], row: Loaded[KeyVersionRecord]
    ) -> VersionView:
        used = self._budget.used(row.name)
        counted = ALGORITHMS[row.record.algorithm].counts_nonces
        return VersionView(
            name=name,
            row=row,
            primary=key.record.primary == name.version,
            invocations=0 if used is None or not counted else used.reserved,
            limit=MAX_INVOCATIONS if counted else 0,
            last_used=None if used is None else used.last_used,
        )


def _moved(record: KeyVersionRecord, verb: Verb) -> KeyVersionRecord:
    """The version after a verb. Raises `WrongState`."""
    if verb is Verb.CANCEL_DESTROY and record.compromised:
        verb = Verb.CANCEL_COMPROMISED
    state = next_state(VersionState(record.state), verb)
    compromised = record.compromised or verb is Verb.MARK_COMPROMISED
    return replace(record, state=state.value, compromised=compromised)


def _check_not_begun(record: KeyVersionRecord, verb: Verb, now: datetime) -> None:
    """Raise `WrongState` where a device may have destroyed the key already, and the store not said so yet."""
    if verb is Verb.CANCEL_DESTROY and record.handle and record.destroy_time and record.destroy_time <= now:
        raise WrongState("the destruction of the key in its device has begun", state=record.state)


def destroyed(row: Loaded[KeyVersionRecord], now: datetime) -> Put:
    """The write that overwrites a version's bytes for good."""
    record = replace(
        row.record,
        state=VersionState.DESTROYED.value,
        wrapped_key=b"",
        handle="",
        destroy_time=None,
        destroy_event_time=now,
    )
    return replace(row.put(record), destroys=True)


def name_of(row: str) -> KeyVersionName:
    """The version that a row is of."""
    key, _, number = row.rpartition("/versions/")
    name = KeyName.parse(key)
    return KeyVersionName(name.tenant, name.namespace, name.key, int(number))
