"""Keys: created, read, changed and rotated. Their versions are in `key_versions`, their use in `operations`.

A key's purpose never changes. Its algorithm and sensitivity are for new versions; older ones keep theirs.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from kms.authz.roles import require_permission
from kms.authz.selector import parse_selector
from kms.errors import AlreadyExists, InvalidField, LimitExceeded, NotFound, WrongState
from kms.model.algorithms import Algorithm, Purpose, find
from kms.model.labels import check_labels
from kms.model.lifecycle import WAITING_FOR_IMPORT, VersionState
from kms.model.names import KeyName, KeyVersionName, KmsPolicyName, NamespaceName
from kms.model.policy_records import KmsPolicyRecord
from kms.model.records import KeyRecord, KeyVersionRecord
from kms.model.sensitivity import Sensitivity
from kms.services.agenda import ROTATE, Agenda
from kms.services.call import Call, Outcome, Page
from kms.services.fresh_versions import FreshVersions, NewVersion
from kms.services.guard import Action, Guard
from kms.services.key_material import Origin, awaiting_import
from kms.services.keyring import Keyring
from kms.services.repository import Loaded, Repository, create, found, page, same_request
from kms.services.tenants import MAX_DESCRIPTION, require_namespace
from kms.storage.interface import Change

Changes = list[Change]

UID_SIZE = 16
MIN_ROTATION, MAX_ROTATION = timedelta(hours=1), timedelta(days=3650)

CREATE = Action("CreateKey", "keys.create")
GET = Action("GetKey", "keys.get")
LIST = Action("ListKeys", "keys.list")
UPDATE = Action("UpdateKey", "keys.update")
ROTATE_KEY = Action("RotateKey", "keys.rotate")


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What a caller decides of a key and may change later. Times and versions as in `KeyRecord`.

    `rotation_period` None for no automatic rotation; `policy` None for no policy of its own. Raises
    `InvalidField`, `LimitExceeded`.
    """

    description: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    policy: KmsPolicyName | None = None
    rotation_period: timedelta | None = None
    next_rotation_time: datetime | None = None
    minimum_encrypt_version: int = 0
    minimum_decrypt_version: int = 0
    sensitivity: Sensitivity = Sensitivity.MEDIUM

    def __post_init__(self) -> None:
        if len(self.description) > MAX_DESCRIPTION:
            raise LimitExceeded("description", f"at most {MAX_DESCRIPTION} characters are allowed")
        object.__setattr__(self, "labels", check_labels(dict(self.labels)))
        period = self.rotation_period
        if period is not None and not MIN_ROTATION <= period <= MAX_ROTATION:
            raise InvalidField("rotation_period", "must be from an hour to ten years")
        if self.next_rotation_time is not None and period is None:
            raise InvalidField("next_rotation_time", "needs a rotation_period")
        if min(self.minimum_encrypt_version, self.minimum_decrypt_version) < 0:
            raise InvalidField("minimum_encrypt_version", "must not be negative")


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """Which keys to list: a label selector as in policies, and a state, or "".

    A key's state is that of its primary version, or of the first one while there is no primary.
    """

    selector: str = ""
    state: str = ""


class Keys:
    """The life of keys."""

    def __init__(
        self, guard: Guard, repository: Repository, keyring: Keyring, agenda: Agenda, fresh: FreshVersions
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._keyring = keyring
        self._agenda = agenda
        self._fresh = fresh

    async def create(
        self,
        call: Call,
        name: KeyName,
        purpose: Purpose,
        algorithm: str,
        settings: KeySettings,
        request_id: str,
        *,
        import_only: bool = False,
    ) -> Loaded[KeyRecord]:
        """A key with its first version, which waits for an import if so asked.

        Raises `AlreadyExists`, `NotFound` for namespace or policy, `InvalidField`; for HIGH `DeviceAbsent`,
        `DeviceUnavailable`, `DeviceLacksAlgorithm`, and `WrongState` if it were to wait for an import.
        """
        chosen = find(algorithm, purpose)
        await self._guard.authorise(call, CREATE, name)
        drawn = self._fresh.drawn(name, chosen, settings.sensitivity, call.time)
        taken = self._repository.load(KeyRecord, str(name)) is not None
        async with nullcontext() if import_only or taken else drawn as version:
            return await self._guard.perform(
                call,
                CREATE,
                name,
                lambda: self._created(call, name, purpose, chosen, settings, request_id, version),
            )

    def _created(
        self,
        call: Call,
        name: KeyName,
        purpose: Purpose,
        chosen: Algorithm,
        settings: KeySettings,
        request_id: str,
        version: NewVersion | None,
    ) -> Outcome[Loaded[KeyRecord]]:
        """`version` None: the key's first version waits for an import, or there is the key already."""
        existing = self._repository.load(KeyRecord, str(name))
        if existing is not None:
            _check_same(existing.record, purpose, chosen, settings)
            return Outcome(same_request(existing, request_id, existing.record.request_id))
        if version is None and settings.sensitivity is Sensitivity.HIGH:
            raise WrongState("a HIGH key takes no bytes from elsewhere, only what its device generates")
        self._check_policy(call, name, settings.policy)
        record = self._first(call, purpose, chosen, settings, request_id)
        changes: Changes = [require_namespace(self._repository, NamespaceName(name.tenant, name.namespace))]
        if version is None:
            changes.append(create(version_row(name, 1), awaiting_import(record, call.time)))
        else:
            record = replace(record, primary=1)
            changes += self._version_rows(name, 1, record, version, call.time)
        changes += [create(str(name), record), *self._scheduled(name, None, record)]
        details = {"purpose": purpose, "algorithm": chosen.name, "sensitivity": record.sensitivity}
        return Outcome(Loaded(str(name), record, 1), changes, details)

    async def get(self, call: Call, name: KeyName) -> Loaded[KeyRecord]:
        """Raises `NotFound`."""
        return await self._guard.perform(call, GET, name, lambda: Outcome(self._key(name)))

    async def list(
        self, call: Call, parent: NamespaceName, query: KeyQuery, after: str, limit: int
    ) -> Page[Loaded[KeyRecord]]:
        """A page may hold fewer than limit keys, or none, although more follow. Raises `InvalidField`."""

        def act() -> Outcome[Page[Loaded[KeyRecord]]]:
            selector = parse_selector(query.selector, "label_selector") if query.selector else None
            if query.state and query.state not in VersionState.__members__:
                raise InvalidField("state", f"is one of {', '.join(VersionState)}")

            def passes(key: Loaded[KeyRecord]) -> bool:
                if selector is not None and not selector.matches(key.record.labels):
                    return False
                return not query.state or self._state(key) == query.state

            rows = page(self._repository.scan(KeyRecord, f"{parent}/keys/", after, limit + 1), limit)
            return Outcome(Page(tuple(filter(passes, rows.items)), rows.next_after))

        return await self._guard.perform(call, LIST, parent, act, in_thread=True)

    async def update(
        self, call: Call, name: KeyName, change: Callable[[KeySettings], KeySettings], etag: str
    ) -> Loaded[KeyRecord]:
        """Replace the settings by what change makes of them.

        The sensitivity may only rise, which makes a new primary version. Raises `NotFound`, `EtagMismatch`,
        `InvalidField`, `WrongState`; for HIGH `DeviceAbsent`, `DeviceUnavailable`, `DeviceLacksAlgorithm`.
        """
        before = (await self._guard.authorise(call, UPDATE, name, lambda: self._key(name))).record
        level = change(settings_of(before)).sensitivity
        raised = level > Sensitivity[before.sensitivity]
        drawn = self._fresh.drawn(name, find(before.algorithm, Purpose(before.purpose)), level, call.time)
        async with drawn if raised else nullcontext() as version:
            return await self._guard.perform(
                call, UPDATE, name, lambda: self._updated(call, name, change, etag, version)
            )

    def _updated(
        self,
        call: Call,
        name: KeyName,
        change: Callable[[KeySettings], KeySettings],
        etag: str,
        version: NewVersion | None,
    ) -> Outcome[Loaded[KeyRecord]]:
        key = self._key(name)
        key.check_etag(etag)
        settings = change(settings_of(key.record))
        if settings.policy != settings_of(key.record).policy:
            self._check_policy(call, name, settings.policy)
        record = self._changed(key.record, settings, call.time)
        changes: Changes = []
        if settings.sensitivity > Sensitivity[key.record.sensitivity]:
            self._check_generated(key)
            if version is None:
                raise WrongState("the key was changed by somebody else; repeat the call")
            record, rows = self._rotated(name, record, version, call.time)
            changes += rows
        changes += [key.put(record), *self._scheduled(name, key.record, record)]
        return Outcome(Loaded(key.name, record, key.counter + 1), changes)

    async def rotate(self, call: Call, name: KeyName) -> Loaded[KeyRecord]:
        """A new primary version; older ones go on decrypting.

        Raises `NotFound`, `WrongState` for a key that waits for its first import, `DeviceAbsent`,
        `DeviceUnavailable`, `DeviceLacksAlgorithm`.
        """
        record = (await self._guard.authorise(call, ROTATE_KEY, name, lambda: self._key(name))).record
        async with self.drawn(name, record, call.time) as version:

            def act() -> Outcome[Loaded[KeyRecord]]:
                key, changes = self.rotation(name, version, call.time)
                return Outcome(key, changes, {"version": str(key.record.primary)})

            return await self._guard.perform(call, ROTATE_KEY, name, act)

    def drawn(
        self, name: KeyName, record: KeyRecord, now: datetime
    ) -> AbstractAsyncContextManager[NewVersion]:
        """A fresh version of a key as it is, to be stored within the context."""
        algorithm = find(record.algorithm, Purpose(record.purpose))
        return self._fresh.drawn(name, algorithm, Sensitivity[record.sensitivity], now)

    def rotation(
        self, name: KeyName, version: NewVersion, now: datetime
    ) -> tuple[Loaded[KeyRecord], Changes]:
        """The key as it will be after a rotation, and the writes. Two of them at once: one conflicts."""
        key = self._key(name)
        self._check_generated(key)
        record, rows = self._rotated(name, key.record, version, now)
        if record.rotation_period:
            record = replace(record, next_rotation_time=now + timedelta(seconds=record.rotation_period))
        changes = [*rows, key.put(record), *self._scheduled(name, key.record, record)]
        return Loaded(key.name, record, key.counter + 1), changes

    def _first(
        self, call: Call, purpose: Purpose, algorithm: Algorithm, settings: KeySettings, request_id: str
    ) -> KeyRecord:
        blank = KeyRecord(
            uid=secrets.token_bytes(UID_SIZE),
            purpose=purpose.value,
            algorithm=algorithm.name,
            sensitivity=settings.sensitivity.name,
            description="",
            labels={},
            policy="",
            primary=0,
            last_version=1,
            minimum_encrypt_version=0,
            minimum_decrypt_version=0,
            rotation_period=0,
            next_rotation_time=None,
            create_time=call.time,
            request_id=request_id,
        )
        return _with_settings(blank, settings, call.time)

    def _changed(self, record: KeyRecord, settings: KeySettings, now: datetime) -> KeyRecord:
        if settings.sensitivity < Sensitivity[record.sensitivity]:
            raise InvalidField("sensitivity", f"is {record.sensitivity} and can only be raised")
        for limit in ("minimum_encrypt_version", "minimum_decrypt_version"):
            if getattr(settings, limit) > record.last_version:
                raise InvalidField(limit, f"the key's newest version is {record.last_version}")
        return replace(_with_settings(record, settings, now), sensitivity=settings.sensitivity.name)

    def _rotated(
        self, name: KeyName, record: KeyRecord, version: NewVersion, now: datetime
    ) -> tuple[KeyRecord, Changes]:
        number = record.last_version + 1
        rows = self._version_rows(name, number, record, version, now)
        return replace(record, primary=number, last_version=number), rows

    def _version_rows(
        self, name: KeyName, number: int, record: KeyRecord, version: NewVersion, now: datetime
    ) -> Changes:
        """The row of a new version, and what comes with it. Raises as `NewVersion.check`."""
        version.check(Sensitivity[record.sensitivity])
        wrapped = b""
        if version.material is not None:
            place = KeyVersionName(name.tenant, name.namespace, name.key, number)
            wrapped = self._keyring.wrap_key_version(place, record.algorithm, version.material)
        row = create(
            version_row(name, number),
            KeyVersionRecord(
                state=VersionState.ENABLED.value,
                algorithm=record.algorithm,
                sensitivity=record.sensitivity,
                origin=Origin.GENERATED.value,
                wrapped_key=wrapped,
                public_key=version.public_key,
                handle=version.handle,
                create_time=now,
                generate_time=now,
                destroy_time=None,
                destroy_event_time=None,
            ),
        )
        return [row, *version.changes]

    def _scheduled(self, name: KeyName, before: KeyRecord | None, after: KeyRecord) -> Changes:
        old = None if before is None else before.next_rotation_time
        return self._agenda.move(ROTATE, str(name), old, after.next_rotation_time)

    def _key(self, name: KeyName) -> Loaded[KeyRecord]:
        return found(self._repository.load(KeyRecord, str(name)), str(name))

    def _check_generated(self, key: Loaded[KeyRecord]) -> None:
        """Raise `WrongState` for a key that waits for its first import: no drawn bytes take their place."""
        state = self._state(key)
        if state in WAITING_FOR_IMPORT:
            raise WrongState(f"{key.name} waits for an import into its version 1", state=state)

    def _state(self, key: Loaded[KeyRecord]) -> str:
        """That of the primary version, or of the first one while there is no primary."""
        row = f"{key.name}/versions/{key.record.primary or 1:010d}"
        return self._repository.require(KeyVersionRecord, row).record.state

    def _check_policy(self, call: Call, name: KeyName, policy: KmsPolicyName | None) -> None:
        """Raises `NotFound`; `Denied` for a policy of a namespace that the caller's roles do not reach."""
        if policy is None:
            return
        require_permission(call.caller, GET.permission, policy.namespace)
        loaded = None
        if policy.tenant == name.tenant:
            loaded = self._repository.load(KmsPolicyRecord, str(policy))
        if loaded is None or loaded.record.delete_time is not None:
            raise NotFound(str(policy))


def settings_of(record: KeyRecord) -> KeySettings:
    """What a key's record says of the part that callers decide."""
    return KeySettings(
        description=record.description,
        labels=record.labels,
        policy=KmsPolicyName.parse(record.policy) if record.policy else None,
        rotation_period=timedelta(seconds=record.rotation_period) if record.rotation_period else None,
        next_rotation_time=record.next_rotation_time,
        minimum_encrypt_version=record.minimum_encrypt_version,
        minimum_decrypt_version=record.minimum_decrypt_version,
        sensitivity=Sensitivity[record.sensitivity],
    )


def version_row(name: KeyName, number: int) -> str:
    """The row's name: the version's, with ten digits, so that rows sort by number."""
    return f"{name}/versions/{number:010d}"


def _check_same(record: KeyRecord, purpose: Purpose, algorithm: Algorithm, settings: KeySettings) -> None:
    """Raise `AlreadyExists` if another key is asked for than the one there is, whatever the request id."""
    asked = (purpose.value, algorithm.name, settings.sensitivity.name)
    if (record.purpose, record.algorithm, record.sensitivity) != asked:
        raise AlreadyExists("a key of that name exists already, of another purpose, algorithm or sensitivity")


def _with_settings(record: KeyRecord, settings: KeySettings, now: datetime) -> KeyRecord:
    period = settings.rotation_period
    following = settings.next_rotation_time
    if period is not None and following is None:
        following = now + period
    return replace(
        record,
        description=settings.description,
        labels=settings.labels,
        policy="" if settings.policy is None else str(settings.policy),
        minimum_encrypt_version=settings.minimum_encrypt_version,
        minimum_decrypt_version=settings.minimum_decrypt_version,
        rotation_period=0 if period is None else int(period.total_seconds()),
        next_rotation_time=following,
    )
