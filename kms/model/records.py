"""The records of the store. Times are UTC; names of rows are resource names unless said otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from kms.model.record import Record


@dataclass(frozen=True, slots=True)
class SettingsRecord(Record):
    """What `kms init` fixed for good. One row, named `kms`."""

    KIND: ClassVar[str] = "settings"
    trust_domain: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class SignerRecord(Record):
    """A delegated Ed25519 signer of documents, its seed wrapped under its tenant's key.

    Named `tenants/{tenant}/documentSigners/{type}`; `delegation` is canonical JSON.
    """

    KIND: ClassVar[str] = "documentSigners"
    wrapped_seed: bytes
    delegation: str
    delegation_not_after: datetime


@dataclass(frozen=True, slots=True)
class AuthorityRecord(Record):
    """The online intermediate of the identity authority, and the roots that clients are told to trust.

    The row `online` is the one that issues; its key is in the row of kind `authorityKey` of the same name.
    """

    KIND: ClassVar[str] = "authorities"
    certificate_pem: str
    trust_bundle_pem: str


@dataclass(frozen=True, slots=True)
class TenantRecord(Record):
    """A tenant; its key is in the row of kind `tenantKey` of the same name."""

    KIND: ClassVar[str] = "tenants"
    description: str
    labels: Mapping[str, str]
    create_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class NamespaceRecord(Record):
    KIND: ClassVar[str] = "namespaces"
    description: str
    labels: Mapping[str, str]
    create_time: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class SecretPolicyRecord(Record):
    """The head of a policy: which revision is current. `binding` is fixed for the policy's life."""

    KIND: ClassVar[str] = "secretPolicies"
    uid: bytes
    binding: str
    revision: int
    digest: bytes
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    request_id: str


@dataclass(frozen=True, slots=True)
class RevisionRecord(Record):
    """An immutable document, and the two things that can happen to it. `denied` are SPIFFE ids.

    The row's name ends in the revision as ten digits, so that rows sort by number.
    """

    KIND: ClassVar[str] = "revisions"
    document: bytes
    digest: bytes
    author: str
    create_time: datetime
    revoke_time: datetime | None
    denied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DigestRecord(Record):
    """From `tenants/{tenant}/{digest in hex}` to the revision's row."""

    KIND: ClassVar[str] = "policyDigests"
    revision_row: str


@dataclass(frozen=True, slots=True)
class BlindfoldKeyRecord(Record):
    """One version of a tenant's Blindfold key; `wrapped_key` is empty before generation and once destroyed.

    The row's name ends in the version as ten digits, so that rows sort by number.
    """

    KIND: ClassVar[str] = "blindfoldKeys"
    state: str
    modulus_bits: int
    modulus: bytes
    wrapped_key: bytes
    make_primary: bool
    create_time: datetime
    generate_time: datetime | None
    destroy_time: datetime | None
    destroy_event_time: datetime | None
    request_id: str


@dataclass(frozen=True, slots=True)
class PrimaryRecord(Record):
    """Which version is the tenant's primary Blindfold key (0: none), and the last version begun."""

    KIND: ClassVar[str] = "blindfoldPrimaries"
    version: int
    last_version: int


@dataclass(frozen=True, slots=True)
class EvaluationCountRecord(Record):
    """How many evaluations under one exponent have been set aside; a crash can only overstate it.

    Named by the key version's row and the SHA-256 of the binding value. `last_used` is to the day.
    """

    KIND: ClassVar[str] = "evaluationCounts"
    reserved: int
    last_used: datetime


@dataclass(frozen=True, slots=True)
class IdentityRecord(Record):
    """An enrolled identity as it was granted last. `certificates` are `serial not_before not_after`."""

    KIND: ClassVar[str] = "identities"
    spiffe_id: str
    dns_names: tuple[str, ...]
    labels: Mapping[str, str]
    roles: tuple[str, ...]
    create_time: datetime
    revoke_time: datetime | None
    certificates: tuple[str, ...]
