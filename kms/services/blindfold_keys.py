"""A tenant's Blindfold keys: made in the background, rotated, stopped, destroyed.

Generation: `begin` writes a version in PENDING_GENERATION, the scheduler finds the primes and calls
`complete`. Whatever is pending when the server stops is taken up at the next start.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from blindfold import KeyDocument
from blindfold.private_key import PrivateKey
from kms.errors import InvalidField, WrongState
from kms.model.lifecycle import Verb, VersionState, next_state
from kms.model.names import BlindfoldKeyName, TenantName
from kms.model.records import BlindfoldKeyRecord, PrimaryRecord, UseRecord
from kms.services.call import Call, Outcome, Page
from kms.services.guard import Action, Guard
from kms.services.key_test import test_key
from kms.services.keyring import Keyring
from kms.services.repository import Loaded, Repository, create, found, page
from kms.storage.interface import Change, Put

MODULUS_BITS = (3072, 4096)
MIN_DELAY, DEFAULT_DELAY, MAX_DELAY = timedelta(hours=24), timedelta(days=30), timedelta(days=120)

GENERATE = Action("GenerateBlindfoldKey", "blindfoldKeys.generate")
GET = Action("GetBlindfoldKey", "blindfoldKeys.get")
LIST = Action("ListBlindfoldKeys", "blindfoldKeys.list")
SET_PRIMARY = Action("SetPrimaryBlindfoldKey", "blindfoldKeys.rotate")
ENABLE = Action("EnableBlindfoldKey", "blindfoldKeys.enable")
DISABLE = Action("DisableBlindfoldKey", "blindfoldKeys.disable")
SCHEDULE_DESTROY = Action("ScheduleDestroyBlindfoldKey", "blindfoldKeys.scheduleDestroy")
CANCEL_DESTROY = Action("CancelDestroyBlindfoldKey", "blindfoldKeys.cancelDestroy")

_ACTIONS = {
    Verb.ENABLE: ENABLE,
    Verb.DISABLE: DISABLE,
    Verb.SCHEDULE_DESTROY: SCHEDULE_DESTROY,
    Verb.CANCEL_DESTROY: CANCEL_DESTROY,
}


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key version, whether it is the tenant's primary, and the day it was last used."""

    name: BlindfoldKeyName
    row: Loaded[BlindfoldKeyRecord]
    primary: bool
    last_used: datetime | None


class BlindfoldKeys:
    """The life cycle. Using the keys is elsewhere: documents and evaluation."""

    def __init__(self, guard: Guard, repository: Repository, keyring: Keyring) -> None:
        self._guard = guard
        self._repository = repository
        self._keyring = keyring
        self.wanted = asyncio.Event()
        """Set when there is a version to generate."""

    async def begin(
        self, call: Call, parent: TenantName, modulus_bits: int, request_id: str, *, make_primary: bool
    ) -> KeyView:
        """The tenant's next version, in PENDING_GENERATION. Raises `InvalidField` for another size."""
        if modulus_bits not in MODULUS_BITS:
            raise InvalidField("modulus_bits", "must be 3072 or 4096")

        def act() -> Outcome[KeyView]:
            primary = self._primary(parent)
            for row in self._repository.all(BlindfoldKeyRecord, f"{parent}/blindfoldKeys/"):
                if request_id and row.record.request_id == request_id:
                    return Outcome(self._view(name_of(row.name), row))
            name = BlindfoldKeyName(parent.tenant, primary.record.last_version + 1)
            record = BlindfoldKeyRecord(
                state=VersionState.PENDING_GENERATION.value,
                modulus_bits=modulus_bits,
                modulus=b"",
                wrapped_key=b"",
                make_primary=make_primary,
                create_time=call.time,
                generate_time=None,
                destroy_time=None,
                destroy_event_time=None,
                request_id=request_id,
            )
            counted = primary.put(replace(primary.record, last_version=name.version))
            view = KeyView(name, Loaded(key_row(name), record, 1), primary=False, last_used=None)
            return Outcome(view, [counted, create(key_row(name), record)], {"version": str(name.version)})

        view = await self._guard.perform(call, GENERATE, parent, act)
        self.wanted.set()
        return view

    def pending(self) -> Iterator[tuple[BlindfoldKeyName, int]]:
        """The versions that wait for their primes, and the modulus sizes in bits."""
        for row in self._repository.all(BlindfoldKeyRecord):
            if row.record.state == VersionState.PENDING_GENERATION:
                yield name_of(row.name), row.record.modulus_bits

    def complete(self, name: BlindfoldKeyName, key: PrivateKey, now: datetime) -> list[Change]:
        """The writes that make a pending version usable.

        The wrapped form that is about to be stored is unwrapped and used to seal and open a test first.
        Raises `WrongState` if the version is pending no more, `EvaluationFailed` if the test fails.
        """
        row = found(self._repository.load(BlindfoldKeyRecord, key_row(name)), str(name))
        modulus = int(key.n).to_bytes(row.record.modulus_bits // 8, "big")
        record = replace(
            row.record,
            state=next_state(VersionState(row.record.state), Verb.GENERATED).value,
            modulus=modulus,
            wrapped_key=self._keyring.wrap_blindfold_key(name, key),
            generate_time=now,
        )
        test_key(self._keyring.unwrap_blindfold_key(name, record), key_document(name, record))
        changes: list[Change] = [row.put(record)]
        primary = self._primary(TenantName(name.tenant))
        wanted = record.make_primary or not primary.record.version
        if wanted and primary.record.version < name.version:
            changes.append(primary.put(replace(primary.record, version=name.version)))
        return changes

    async def get(self, call: Call, name: BlindfoldKeyName) -> KeyView:
        """Raises `NotFound`."""

        def act() -> Outcome[KeyView]:
            return Outcome(self._view(name, self._row(name)))

        return await self._guard.perform(call, GET, name, act)

    async def list(self, call: Call, parent: TenantName, after: str, limit: int) -> Page[KeyView]:
        """By rising version."""

        def act() -> Outcome[Page[KeyView]]:
            prefix = f"{parent}/blindfoldKeys/"
            rows = page(self._repository.scan(BlindfoldKeyRecord, prefix, after, limit + 1), limit)
            views = tuple(self._view(name_of(row.name), row) for row in rows.items)
            return Outcome(Page(views, rows.next_after))

        return await self._guard.perform(call, LIST, parent, act)

    async def set_primary(self, call: Call, name: BlindfoldKeyName, etag: str) -> KeyView:
        """Seal to this version from now on; the primary version never goes down.

        Raises `NotFound`, `EtagMismatch`, `WrongState`.
        """

        def act() -> Outcome[KeyView]:
            row = self._row(name)
            row.check_etag(etag)
            if row.record.state != VersionState.ENABLED:
                raise WrongState(f"{name} is {row.record.state}; a primary version is ENABLED")
            primary = self._primary(TenantName(name.tenant))
            if name.version < primary.record.version:
                raise WrongState(
                    f"{name} is below the primary version {primary.record.version}, and whoever has sealed "
                    "to that one refuses older ones; generate a new version and make that primary"
                )
            view = KeyView(name, row, primary=True, last_used=self._last_used(name))
            return Outcome(view, [primary.put(replace(primary.record, version=name.version))])

        return await self._guard.perform(call, SET_PRIMARY, name, act)

    async def change(
        self, call: Call, name: BlindfoldKeyName, verb: Verb, etag: str, delay: timedelta = DEFAULT_DELAY
    ) -> KeyView:
        """Enable, disable, schedule a destruction after delay, or cancel it.

        The primary version cannot be destroyed; disabling it stops sealing too. Raises `NotFound`,
        `EtagMismatch`, `WrongState`, `InvalidField` for the delay.
        """
        if verb is Verb.SCHEDULE_DESTROY and not MIN_DELAY <= delay <= MAX_DELAY:
            raise InvalidField("delay", "must be from 24 hours to 120 days")

        def act() -> Outcome[KeyView]:
            row = self._row(name)
            row.check_etag(etag)
            primary = self._primary(TenantName(name.tenant)).record.version == name.version
            if verb is Verb.SCHEDULE_DESTROY and primary:
                raise WrongState(f"{name} is the primary version; make another one primary first")
            destroy_time = call.time + delay if verb is Verb.SCHEDULE_DESTROY else None
            state = next_state(VersionState(row.record.state), verb)
            record = replace(row.record, state=state.value, destroy_time=destroy_time)
            view = KeyView(name, Loaded(row.name, record, row.counter + 1), primary, self._last_used(name))
            details = {} if destroy_time is None else {"destroy_time": destroy_time.isoformat()}
            return Outcome(view, [row.put(record)], details)

        return await self._guard.perform(call, _ACTIONS[verb], name, act)

    def due(self, now: datetime) -> Iterator[tuple[BlindfoldKeyName, Put]]:
        """The versions whose destruction is due, and the write that overwrites their bytes for good."""
        for row in self._repository.all(BlindfoldKeyRecord):
            record = row.record
            if record.state == VersionState.DESTROY_SCHEDULED and record.destroy_time <= now:  # type: ignore[operator]
                yield name_of(row.name), destroyed(row, now)

    def _row(self, name: BlindfoldKeyName) -> Loaded[BlindfoldKeyRecord]:
        return found(self._repository.load(BlindfoldKeyRecord, key_row(name)), str(name))

    def _primary(self, tenant: TenantName) -> Loaded[PrimaryRecord]:
        return self._repository.require(PrimaryRecord, str(tenant))

    def _view(self, name: BlindfoldKeyName, row: Loaded[BlindfoldKeyRecord]) -> KeyView:
        primary = self._primary(TenantName(name.tenant)).record.version == name.version
        return KeyView(name, row, primary, self._last_used(name))

    def _last_used(self, name: BlindfoldKeyName) -> datetime | None:
        counts = self._repository.all(UseRecord, f"{key_row(name)}/")
        return max((count.record.last_used for count in counts), default=None)


def destroyed(row: Loaded[BlindfoldKeyRecord], now: datetime) -> Put:
    """The write that overwrites a version's bytes for good."""
    record = replace(
        row.record,
        state=VersionState.DESTROYED.value,
        wrapped_key=b"",
        destroy_time=None,
        destroy_event_time=now,
    )
    return replace(row.put(record), destroys=True)


def key_row(name: BlindfoldKeyName) -> str:
    """The row's name: the version with ten digits, so that rows sort by number."""
    return f"tenants/{name.tenant}/blindfoldKeys/{name.version:010d}"


def name_of(row: str) -> BlindfoldKeyName:
    """The version that a row is of."""
    _, tenant, _, version = row.split("/")
    return BlindfoldKeyName(tenant, int(version))


def key_document(name: BlindfoldKeyName, record: BlindfoldKeyRecord) -> KeyDocument:
    """The public half. Raises `WrongState` before generation."""
    if not record.modulus:
        raise WrongState(f"{name} is {record.state}; it has no public key yet")
    return KeyDocument(name.tenant, name.version, int.from_bytes(record.modulus, "big"))
