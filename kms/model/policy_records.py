"""The records of policies, and of what they name. Times are UTC; names of rows are resource names."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from kms.model.record import Record


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
class KmsPolicyRecord(Record):
    """The head of a KMS policy; its revisions are rows of kind `kmsPolicyRevisions`."""

    KIND: ClassVar[str] = "kmsPolicies"
    uid: bytes
    revision: int
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    request_id: str


@dataclass(frozen=True, slots=True)
class KmsPolicyRevisionRecord(Record):
    """Immutable content as canonical JSON, with its SHA-256."""

    KIND: ClassVar[str] = "kmsPolicyRevisions"
    content: bytes
    digest: bytes
    author: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class NamespacePolicyRecord(Record):
    """The KMS policies, by resource name and in order, that are asked together for every key of a namespace.

    Named as the namespace.
    """

    KIND: ClassVar[str] = "namespacePolicies"
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrefixSetRecord(Record):
    """Address prefixes under a name, which policies use in their place: at least one. Raises `ValueError`."""

    KIND: ClassVar[str] = "prefixSets"
    description: str
    prefixes: tuple[str, ...]
    create_time: datetime
    update_time: datetime
    request_id: str

    def __post_init__(self) -> None:
        # An empty set would turn a rule that names it into one that asks for no address.
        if not self.prefixes:
            raise ValueError("a prefix set is not empty")
