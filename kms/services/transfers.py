"""Key material on its way in, out and across (docs/spec/ciphertext.md, "Wrapping").

A key may only go to a place of at least its own sensitivity: LOW may leave, wrapped towards a key that the
caller proves to hold; MEDIUM is copied inside the KMS alone.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

from blindfold.secret import SecretBytes
from kms.crypto import key_wrapping
from kms.crypto.key_handle import KeyMaterial, accept_private, accept_public
from kms.errors import DecryptionFailed, Denied, InvalidField, KmsError, LimitExceeded, NotFound, WrongState
from kms.model.algorithms import ALGORITHMS, USES_ELSEWHERE, Algorithm, Purpose, find
from kms.model.lifecycle import WAITING_FOR_IMPORT, Verb, VersionState, next_state
from kms.model.names import ImportKeyName, KeyName, KeyVersionName, NamespaceName
from kms.model.records import ImportKeyRecord, KeyRecord, KeyVersionRecord, UseRecord
from kms.model.sensitivity import Sensitivity
from kms.services.call import Call, Outcome
from kms.services.deny_lists import DenyLists
from kms.services.guard import Action, Guard
from kms.services.key_material import Origin, awaiting_import
from kms.services.key_policies import KeyPolicies
from kms.services.key_versions import MAX_INVOCATIONS
from kms.services.keyring import Keyring
from kms.services.keys import version_row
from kms.services.pending_exports import PendingExport, PendingExports, recipient_of
from kms.services.repository import Loaded, Repository, create, found
from kms.services.tenants import require_namespace
from kms.services.use_budget import Counter, UseBudget
from kms.storage.interface import Change, Require

T = TypeVar("T")

IMPORT_KEY_LIFE = timedelta(hours=24)
EXPORT_LIFE = timedelta(minutes=5)
MAX_IMPORTS = 1000

CREATE_IMPORT_KEY = Action("CreateImportKey", "keys.import")
IMPORT = Action("ImportKeyVersion", "keys.import")
COPY = Action("CopyKey", "keys.copy")
BEGIN_EXPORT = Action("BeginExport", "keys.export")
EXPORT = Action("ExportKeyVersion", "keys.export")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """Material wrapped towards an import key."""

    import_key: ImportKeyName
    data: bytes


@dataclass(frozen=True, slots=True)
class Exported:
    """A version's material, wrapped towards the caller's key."""

    name: KeyVersionName
    algorithm: str
    wrapped_key: bytes


class Transfers:
    """Moves key material. RSA work runs in `workers`."""

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        keyring: Keyring,
        policies: KeyPolicies,
        budget: UseBudget,
        deny_lists: DenyLists,
        workers: Executor,
    ) -> None:
        self._deny_lists = deny_lists
        self._guard = guard
        self._repository = repository
        self._keyring = keyring
        self._policies = policies
        self._budget = budget
        self._workers = workers
        self._pending = PendingExports()

    async def create_import_key(
        self, call: Call, parent: NamespaceName, imports: int = 1
    ) -> tuple[ImportKeyName, ImportKeyRecord]:
        """An RSA key to wrap material towards, for so many imports by the same caller within 24 hours.

        Raises `LimitExceeded`, and `NotFound` for the namespace.
        """
        if not 1 <= imports <= MAX_IMPORTS:
            raise LimitExceeded("max_imports", f"must be from 1 to {MAX_IMPORTS}")
        await self._guard.authorise(call, CREATE_IMPORT_KEY, parent)
        made = await self._work(key_wrapping.generate)
        name = ImportKeyName(parent.tenant, parent.namespace, f"i{secrets.token_hex(16)}")

        def act() -> Outcome[tuple[ImportKeyName, ImportKeyRecord]]:
            namespace = require_namespace(self._repository, parent)
            wrapped = self._keyring.of_tenant(name.tenant).wrap_import_key(str(name), made.material)
            record = ImportKeyRecord(
                public_key=made.public_key,
                wrapped_key=wrapped,
                create_time=call.time,
                expire_time=call.time + IMPORT_KEY_LIFE,
                creator=call.caller.spiffe_id,
                imports_left=imports,
            )
            return Outcome((name, record), [namespace, create(str(name), record)])

        return await self._guard.perform(call, CREATE_IMPORT_KEY, parent, act)

    async def import_version(
        self, call: Call, key: KeyName, algorithm: str, source: Wrapped | bytes, *, make_primary: bool
    ) -> KeyVersionName:
        """A version from wrapped material, or from a public key (SPKI in DER) to verify or encrypt only.

        It is a new version, or the one that waits for an import; that one is IMPORT_FAILED, and waits on, if
        the material is refused. A success uses the import key once. Raises `NotFound`, `Denied`,
        `InvalidField`, `DecryptionFailed`, `WrongState` for a HIGH key or an import key that expired.
        """
        record = (await self._guard.authorise(call, IMPORT, key, lambda: self._key(key))).record
        chosen = find(algorithm or record.algorithm, Purpose(record.purpose))
        accepted = await self._accept(call, key, chosen, source)

        def act() -> Outcome[KeyVersionName]:
            loaded = self._key(key)
            rule, held = self._allowed(call, key, loaded.record, "IMPORT")
            _check_enters(key, loaded.record)
            waiting = self._waiting(key)
            if waiting is not None and isinstance(accepted, (InvalidField, DecryptionFailed)):
                return Outcome(_version_name(key, 1), [_rejected(waiting)], failure=accepted)
            material = _value(accepted)
            changes: list[Change] = [*held]
            if isinstance(source, Wrapped):
                changes.append(_used(self._import_key(source.import_key)))
            name, more = self._new_version(
                call, key, loaded, chosen, material, Origin.IMPORTED, make_primary=make_primary
            )
            return Outcome(name, [*changes, *more], {"version": str(name.version), "rule": rule})

        return await self._guard.perform(call, IMPORT, key, act, in_thread=True)

    async def copy(
        self, call: Call, source: KeyVersionName, destination: KeyName, *, make_primary: bool
    ) -> KeyVersionName:
        """A version of destination, as an import makes one, with the material of source.

        It has the same purpose and algorithm. Both keys' policies are asked: COPY of the source's, IMPORT of
        the destination's. One AES key has one budget, wherever it lies: the copy may encrypt one block of
        times, which the source is charged. Raises `NotFound`, `Denied`, `WrongState` where the destination is
        of a lower sensitivity, or HIGH, `BudgetExhausted`.
        """

        def act() -> Outcome[KeyVersionName]:
            if source.tenant != destination.tenant:
                raise Denied("OTHER_TENANT")
            origin, version = self._version(source)
            target = self._key(destination)
            _, held = self._allowed(call, source.key_name, origin.record, "COPY")
            _, held_too = self._allowed(call, destination, target.record, "IMPORT")
            _check_enters(destination, target.record)
            algorithm = _copyable(origin.record, version.record, target.record)
            with self._keyring.unwrap_key_version(source, version.record) as secret:
                material = KeyMaterial(SecretBytes(secret.reveal()), version.record.public_key)
            name, changes = self._new_version(
                call, destination, target, algorithm, material, Origin.COPIED, make_primary=make_primary
            )
            if source.key_name != destination:
                changes.append(origin.require())
            changes += [version.require(), *self._charged(source, version.record, call.time)]
            changes += [*_copied_uses(name, algorithm, call.time), *_once(held, held_too)]
            return Outcome(name, changes, {"to": str(name)})

        await self._guard.authorise(call, IMPORT, destination)
        return await self._guard.perform(call, COPY, source, act, in_thread=True)

    async def begin_export(self, call: Call, name: KeyVersionName) -> tuple[bytes, datetime]:
        """The nonce that one export of this version by this caller is to be signed with, for five minutes."""

        def act() -> Outcome[tuple[bytes, datetime]]:
            key, version = self._version(name)
            self._allowed(call, name.key_name, key.record, "EXPORT")
            _exportable(name, version.record)
            nonce, end = secrets.token_bytes(key_wrapping.PROOF_NONCE_SIZE), call.time + EXPORT_LIFE
            self._pending.begin(call.caller.spiffe_id, nonce, PendingExport(name, end))
            return Outcome((nonce, end))

        return await self._guard.perform(call, BEGIN_EXPORT, name, act, in_thread=True)

    async def export(
        self, call: Call, name: KeyVersionName, nonce: bytes, public_key: bytes, signature: bytes
    ) -> Exported:
        """The material of a LOW version, wrapped towards a key whose holder signed for it.

        The signature is over `key_wrapping.proof_message(nonce, name, SHA-256 of public_key)`. A nonce serves
        once. An AES version's budget is charged for what its holder may do outside. Raises `NotFound`,
        `Denied`, `WrongState`, `InvalidField`, `SignatureInvalid`, `BudgetExhausted`.
        """
        await self._guard.authorise(call, EXPORT, name)
        pending = self._pending.take(call.caller.spiffe_id, nonce)
        recipient = _attempt(lambda: recipient_of(pending, name, nonce, public_key, signature, call.time))

        def act() -> Outcome[Exported]:
            key, version = self._version(name)
            _, held = self._allowed(call, name.key_name, key.record, "EXPORT")
            towards = _value(recipient)
            _exportable(name, version.record)
            with self._keyring.unwrap_key_version(name, version.record) as material:
                wrapped = towards.wrap(material)
            changes: list[Change] = [key.require(), version.require(), *held]
            changes += self._charged(name, version.record, call.time)
            digest = hashlib.sha256(public_key).hexdigest()
            exported = Exported(name, version.record.algorithm, wrapped)
            return Outcome(exported, changes, {"towards_sha256": digest})

        return await self._guard.perform(call, EXPORT, name, act, in_thread=True)

    async def _accept(
        self, call: Call, key: KeyName, algorithm: Algorithm, source: Wrapped | bytes
    ) -> KeyMaterial | KmsError:
        """Checked material, or why there is none; told only to who passes the policy."""
        if isinstance(source, bytes):
            checked = await self._work(_attempt, lambda: accept_public(algorithm, source))
            return checked if isinstance(checked, KmsError) else KeyMaterial(SecretBytes(b""), checked)
        if (source.import_key.tenant, source.import_key.namespace) != (key.tenant, key.namespace):
            return NotFound(str(source.import_key))

        def unwrap() -> KeyMaterial:
            loaded = self._import_key(source.import_key)
            # What was wrapped for one importer is not to be taken by another who saw it.
            if loaded.record.creator != call.caller.spiffe_id:
                raise NotFound(str(source.import_key))
            if call.time >= loaded.record.expire_time:
                raise WrongState(f"{source.import_key} has expired; make another import key")
            tenant_key = self._keyring.of_tenant(key.tenant)
            with tenant_key.unwrap_import_key(str(source.import_key), loaded.record) as private:
                material = key_wrapping.Unwrapper(private).unwrap(source.data)
            return accept_private(algorithm, material)

        return await self._work(_attempt, unwrap)

    def _new_version(
        self,
        call: Call,
        key: KeyName,
        loaded: Loaded[KeyRecord],
        algorithm: Algorithm,
        material: KeyMaterial,
        origin: Origin,
        *,
        make_primary: bool,
    ) -> tuple[KeyVersionName, list[Change]]:
        record = loaded.record
        waiting = self._waiting(key)
        name = _version_name(key, record.last_version + 1 if waiting is None else 1)
        public_only = not len(material.material)
        if make_primary and public_only:
            raise WrongState("a public key cannot be primary: a primary version does new operations")
        wrapped = (
            b"" if public_only else self._keyring.wrap_key_version(name, algorithm.name, material.material)
        )
        empty = awaiting_import(record, call.time) if waiting is None else waiting.record
        row = replace(
            empty,
            state=next_state(VersionState(empty.state), Verb.IMPORTED).value,
            algorithm=algorithm.name,
            sensitivity=record.sensitivity,
            origin=(Origin.IMPORTED_PUBLIC if public_only else origin).value,
            wrapped_key=wrapped,
            public_key=material.public_key,
        )
        primary = name.version if make_primary else record.primary
        changed = replace(record, last_version=name.version, primary=primary)
        written = create(version_row(key, name.version), row) if waiting is None else waiting.put(row)
        return name, [loaded.put(changed), written]

    def _charged(self, name: KeyVersionName, version: KeyVersionRecord, now: datetime) -> list[Change]:
        """A block of the version's budget, for whoever may use its bytes elsewhere."""
        if not ALGORITHMS[version.algorithm].counts_nonces:
            return []
        row = version_row(name.key_name, name.version)
        counter = Counter(row, name.tenant, str(name), MAX_INVOCATIONS)
        return [self._budget.charge(counter, USES_ELSEWHERE, now)]

    def _allowed(
        self, call: Call, key: KeyName, record: KeyRecord, operation: str
    ) -> tuple[str, list[Require]]:
        """The rules by which it is allowed, and what must hold of policies and caller until it is done.

        What has left cannot be called back. Raises `Denied`, `Unauthenticated`.
        """
        held = [*self._deny_lists.check(call.caller), *self._policies.requirements(key, record)]
        rules = self._policies.resolve(key, record)
        rule = rules.require(call.caller, operation, None, call.time)
        return rule, _once(held, rules.requirements())

    def _key(self, name: KeyName) -> Loaded[KeyRecord]:
        return found(self._repository.load(KeyRecord, str(name)), str(name))

    def _version(self, name: KeyVersionName) -> tuple[Loaded[KeyRecord], Loaded[KeyVersionRecord]]:
        row = self._repository.load(KeyVersionRecord, version_row(name.key_name, name.version))
        return self._key(name.key_name), found(row, str(name))

    def _waiting(self, key: KeyName) -> Loaded[KeyVersionRecord] | None:
        """The first version, if it waits for its material."""
        first = self._repository.load(KeyVersionRecord, version_row(key, 1))
        return first if first is not None and first.record.state in WAITING_FOR_IMPORT else None

    def _import_key(self, name: ImportKeyName) -> Loaded[ImportKeyRecord]:
        return found(self._repository.load(ImportKeyRecord, str(name)), str(name))

    async def _work(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)


def _attempt(function: Callable[[], T]) -> T | KmsError:
    try:
        return function()
    except KmsError as error:
        return error


def _once(*required: Iterable[Require]) -> list[Require]:
    """Each row once; of one that was read twice what was read first, which holds only if it is still so."""
    rows = {(item.kind, item.name): item for item in reversed(list(chain.from_iterable(required)))}
    return list(rows.values())


def _value(result: T | KmsError) -> T:
    if isinstance(result, KmsError):
        raise result
    return result


def _version_name(key: KeyName, number: int) -> KeyVersionName:
    return KeyVersionName(key.tenant, key.namespace, key.key, number)


def _used(import_key: Loaded[ImportKeyRecord]) -> Change:
    left = import_key.record.imports_left - 1
    return import_key.put(replace(import_key.record, imports_left=left)) if left else import_key.delete()


def _rejected(waiting: Loaded[KeyVersionRecord]) -> Change:
    state = next_state(VersionState(waiting.record.state), Verb.REJECTED)
    return waiting.put(replace(waiting.record, state=state.value))


def _copied_uses(name: KeyVersionName, algorithm: Algorithm, now: datetime) -> list[Change]:
    """What is spent of a copied version's budget: all but a block."""
    if not algorithm.counts_nonces:
        return []
    used = UseRecord(MAX_INVOCATIONS - USES_ELSEWHERE, now)
    return [create(version_row(name.key_name, name.version), used)]


def _check_enters(key: KeyName, record: KeyRecord) -> None:
    """Raise `WrongState` for a HIGH key: its bytes are made in a device and were never anywhere else."""
    if record.sensitivity == Sensitivity.HIGH.name:
        raise WrongState(f"{key} is HIGH: it takes no bytes from elsewhere, only what its device generates")


def _copyable(source: KeyRecord, version: KeyVersionRecord, target: KeyRecord) -> Algorithm:
    """The algorithm under which the version may be copied. Raises `WrongState`."""
    if version.state != VersionState.ENABLED or not version.wrapped_key:
        raise WrongState(f"the version is {version.state}, or holds no private bytes; it cannot be copied")
    if Sensitivity[target.sensitivity] < Sensitivity[version.sensitivity]:
        raise WrongState(f"a {version.sensitivity} key is not copied to a {target.sensitivity} one")
    if source.purpose != target.purpose:
        raise WrongState(f"the source is for {source.purpose}, the destination for {target.purpose}")
    return find(version.algorithm, Purpose(target.purpose))


def _exportable(name: KeyVersionName, version: KeyVersionRecord) -> None:
    if version.sensitivity != Sensitivity.LOW.name:
        raise WrongState(f"{name} is {version.sensitivity}; only LOW keys may leave")
    if version.state != VersionState.ENABLED or not version.wrapped_key:
        raise WrongState(f"{name} is {version.state}, or holds no private bytes; it cannot be exported")
