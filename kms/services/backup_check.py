"""What the rows of a backup must be before any of them is restored (docs/spec/backup.md, "Restoring").

Bodies are looked at one by one; of what was seen, names and a few facts are kept.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from blindfold import PolicyDocument
from blindfold.errors import BlindfoldError
from kms.crypto.key_handle import load, load_public
from kms.crypto.wrapping import UnwrapFailed
from kms.errors import BackupInvalid, KmsError
from kms.model.algorithms import ALGORITHMS
from kms.model.backup_rows import BackupRow
from kms.model.device_handle import DeviceHandle
from kms.model.finding import Finding, Invariant
from kms.model.lifecycle import VersionState
from kms.model.names import (
    BlindfoldKeyName,
    KeyName,
    KeyVersionName,
    KmsPolicyName,
    KmsPolicyRevisionName,
    ResourceName,
    SecretPolicyName,
    SecretPolicyRevisionName,
    TenantName,
)
from kms.model.policy_records import (
    DigestRecord,
    KmsPolicyRecord,
    KmsPolicyRevisionRecord,
    NamespacePolicyRecord,
    PrefixSetRecord,
    RevisionRecord,
    SecretPolicyRecord,
)
from kms.model.records import (
    BlindfoldKeyRecord,
    KeyRecord,
    KeyVersionRecord,
    NamespaceRecord,
    PrimaryRecord,
    RateLimiterRecord,
    SecretManagementAccessRecord,
    TenantRecord,
    UseRecord,
    UserIdentificationRecord,
)
from kms.services.agenda import DESTROY, ROTATE
from kms.services.backup_kinds import KINDS, is_within, namespace_of
from kms.services.blindfold_keys import key_row
from kms.services.key_versions import MAX_INVOCATIONS
from kms.services.keys import version_row
from kms.services.kms_policy_contents import content_object
from kms.services.policy_changes import revision_row
from kms.services.prefix_sets import PrefixSetSettings
from kms.services.rate_limiters import identification_settings, limiter_settings
from kms.services.secret_management_accesses import access_of
from kms.services.tenant_key import TenantKey
from kms.services.version_check import Unsound, Versions, check_blindfold_life, check_key, check_life

_ORDER: Mapping[str, int] = MappingProxyType({kind: index for index, kind in enumerate(KINDS)})


@dataclass(slots=True)
class Facts:
    """What was learned of a tenant.

    `counts` are the rows of each kind; `counted` the rows of the versions whose nonces are counted, and
    `usable` those of them that make something new here; `rotating` the keys whose primary is one of these;
    `evaluating` the rows of Blindfold keys that open, and `bindings` the digests of what they open under;
    `due` are rotations and destructions as `Agenda.entry` takes them; `placed` says which versions are where
    in a device.
    """

    counts: Counter[str] = field(default_factory=Counter)
    counted: set[str] = field(default_factory=set)
    usable: set[str] = field(default_factory=set)
    rotating: list[KeyName] = field(default_factory=list)
    evaluating: set[str] = field(default_factory=set)
    bindings: set[str] = field(default_factory=set)
    due: list[tuple[str, str, datetime]] = field(default_factory=list)
    placed: dict[str, DeviceHandle] = field(default_factory=dict)

    @property
    def devices(self) -> Counter[str]:
        """How many versions are in which device, by its serial number."""
        return Counter(handle.serial for handle in self.placed.values())


class BackupCheck:
    """Takes a tenant's rows in order; `finish` tells what they were. Both raise `BackupInvalid`.

    Who wants to know all that is wrong calls `look` and `missing` instead.
    """

    def __init__(self, tenant: TenantName, key: TenantKey) -> None:
        self._tenant = tenant
        self._key = key
        self.facts = Facts()
        self._last = (-1, "")
        self._seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
        self._digests: dict[str, bytes] = {}
        self._parts: dict[str, set[str]] = {
            kind: set() for kind in (KmsPolicyRecord.KIND, SecretPolicyRecord.KIND)
        }
        self._versions: dict[str, Versions] = {}
        self._checks: Mapping[str, Callable[[str, Any, Any], None]] = {
            BlindfoldKeyRecord.KIND: self._check_blindfold_key,
            PrimaryRecord.KIND: self._check_primary,
            KmsPolicyRevisionRecord.KIND: self._check_kms_revision,
            KmsPolicyRecord.KIND: self._check_kms_policy,
            NamespacePolicyRecord.KIND: self._check_choice,
            RevisionRecord.KIND: self._check_revision,
            SecretPolicyRecord.KIND: self._check_secret_policy,
            DigestRecord.KIND: self._check_digest,
            KeyVersionRecord.KIND: self._check_version,
            KeyRecord.KIND: self._check_key,
            UseRecord.KIND: self._check_use,
            UserIdentificationRecord.KIND: self._check_identification,
            RateLimiterRecord.KIND: self._check_limiter,
            PrefixSetRecord.KIND: self._check_prefix_set,
            SecretManagementAccessRecord.KIND: self._check_access,
        }

    def take(self, row: BackupRow) -> None:
        finding = self.look(row)
        if finding is not None:
            raise BackupInvalid(f"the row {row.name} of kind {row.kind} {finding.problem}")

    def finish(self) -> Facts:
        for finding in self.missing():
            raise BackupInvalid(f"{finding.subject} {finding.problem}")
        return self.facts

    def look(self, row: BackupRow) -> Finding | None:
        """What is wrong with a row. It counts as seen, so that what refers to it is not at fault too."""
        try:
            self._take(row)
        except Unsound as error:
            problem, invariant = error.problem, error.invariant
        except UnwrapFailed:
            problem, invariant = "has a wrapped key that does not open", Invariant.WRAPPING
        except (KmsError, BlindfoldError, ValueError, KeyError):
            problem, invariant = "cannot be read, or does not open", Invariant.FORM
        else:
            return None
        return Finding(invariant, f"{row.kind} {row.name}", problem)

    def missing(self) -> Iterator[Finding]:
        """What the rows that were seen need, once all were seen."""
        for kind in (TenantRecord.KIND, PrimaryRecord.KIND):
            if self._seen[kind] != {str(self._tenant)}:
                yield Finding(Invariant.REFERENCE, f"{kind} {self._tenant}", "is missing")
        for kind, wholes in {**self._parts, KeyRecord.KIND: self._versions.keys()}.items():
            for name in sorted(wholes - self._seen[kind]):
                yield Finding(Invariant.REFERENCE, f"{kind} {name}", "is missing")

    def _take(self, row: BackupRow) -> None:
        kind, place = KINDS[row.kind], (_ORDER[row.kind], row.name)
        if place <= self._last or not is_within(row.name, self._tenant):
            raise Unsound("is out of place")
        self._last = place
        name = kind.name(row.name)
        self._seen[row.kind].add(row.name)
        self.facts.counts[row.kind] += 1
        namespace = namespace_of(name)
        if namespace is not None:
            self._refer(NamespaceRecord, str(namespace))
        check = self._checks.get(row.kind)
        record = kind.record.from_bytes(row.body)
        if check is not None:
            check(row.name, name, record)

    def _refer(self, kind: Any, row: str) -> None:
        if row not in self._seen[kind.KIND]:
            raise Unsound(f"refers to {row}, which is missing", Invariant.REFERENCE)

    def _check_blindfold_key(self, row: str, name: BlindfoldKeyName, record: BlindfoldKeyRecord) -> None:
        check_blindfold_life(record)
        if record.wrapped_key:
            self._key.unwrap_blindfold_key(name, record)
            self.facts.evaluating.add(row)

    def _check_primary(self, row: str, name: TenantName, record: PrimaryRecord) -> None:
        for version in {record.version, record.last_version} - {0}:
            self._refer(BlindfoldKeyRecord, key_row(BlindfoldKeyName(name.tenant, version)))

    def _check_kms_revision(
        self, row: str, name: KmsPolicyRevisionName, record: KmsPolicyRevisionRecord
    ) -> None:
        content_object(record)
        self._parts[KmsPolicyRecord.KIND].add(str(name.policy_name))

    def _check_kms_policy(self, row: str, name: KmsPolicyName, record: KmsPolicyRecord) -> None:
        self._refer(KmsPolicyRevisionRecord, revision_row(name, record.revision))

    def _check_choice(self, row: str, name: ResourceName, record: NamespacePolicyRecord) -> None:
        self._refer(NamespaceRecord, row)
        for policy in record.policies:
            self._refer(KmsPolicyRecord, policy)

    def _check_revision(self, row: str, name: SecretPolicyRevisionName, record: RevisionRecord) -> None:
        if hashlib.sha256(record.document).digest() != record.digest:
            raise Unsound("does not have its digest")
        document = PolicyDocument.parse(record.document)
        policy = SecretPolicyName(name.tenant, name.namespace, name.policy)
        if document.resource_name != str(policy):
            raise Unsound("holds the document of another policy")
        self._digests[row] = record.digest
        self._parts[SecretPolicyRecord.KIND].add(str(policy))
        self.facts.bindings.add(hashlib.sha256(document.binding_value).hexdigest())

    def _check_secret_policy(self, row: str, name: SecretPolicyName, record: SecretPolicyRecord) -> None:
        if self._digests[revision_row(name, record.revision)] != record.digest:
            raise Unsound("is not of its revision")

    def _check_digest(self, row: str, name: TenantName, record: DigestRecord) -> None:
        if self._digests[record.revision_row].hex() != row.rpartition("/")[2]:
            raise Unsound("is not of its revision")

    def _check_version(self, row: str, name: KeyVersionName, record: KeyVersionRecord) -> None:
        self._versions.setdefault(str(name.key_name), Versions()).take(name.version, record)
        check_life(record)
        algorithm = ALGORITHMS[record.algorithm]
        if record.wrapped_key:
            with self._key.unwrap_key_version(name, record) as material:
                public_key = load(algorithm, material).public_key
            if public_key != record.public_key:
                raise Unsound("does not have its public key")
        elif record.public_key:
            load_public(algorithm, record.public_key)
        if record.destroy_time is not None:
            self.facts.due.append((DESTROY, row, record.destroy_time))
        if record.handle:
            self.facts.placed[row] = DeviceHandle.parse(record.handle)
        if record.holds_private and algorithm.counts_nonces:
            self.facts.counted.add(row)
            if record.state == VersionState.ENABLED:
                self.facts.usable.add(row)

    def _check_key(self, row: str, name: KeyName, record: KeyRecord) -> None:
        for version in {record.primary, record.last_version} - {0}:
            self._refer(KeyVersionRecord, version_row(name, version))
        check_key(record, self._versions.get(row, Versions()))
        if record.policy:
            self._refer(KmsPolicyRecord, record.policy)
        if record.next_rotation_time is not None:
            self.facts.due.append((ROTATE, row, record.next_rotation_time))
        if version_row(name, record.primary) in self.facts.usable:
            self.facts.rotating.append(name)

    def _check_use(self, row: str, name: ResourceName, record: UseRecord) -> None:
        if not 0 <= record.reserved <= MAX_INVOCATIONS:
            raise Unsound(f"counts more uses than {MAX_INVOCATIONS}", Invariant.LIFE_CYCLE)
        if isinstance(name, BlindfoldKeyName):
            self._refer(BlindfoldKeyRecord, key_row(name))
        else:
            self._refer(KeyVersionRecord, row)

    def _check_identification(self, row: str, name: ResourceName, record: UserIdentificationRecord) -> None:
        identification_settings(record)

    def _check_prefix_set(self, row: str, name: ResourceName, record: PrefixSetRecord) -> None:
        PrefixSetSettings(record.prefixes, record.description)

    def _check_access(self, row: str, name: ResourceName, record: SecretManagementAccessRecord) -> None:
        access_of(record)

    def _check_limiter(self, row: str, name: ResourceName, record: RateLimiterRecord) -> None:
        limiter_settings(record)
        if record.user_identification:
            self._refer(UserIdentificationRecord, record.user_identification)
