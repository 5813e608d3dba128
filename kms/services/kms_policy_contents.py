"""From stored revisions of KMS policies to rules that can decide, compiled once per content."""

import hashlib
from dataclasses import dataclass

from blindfold import _canonical
from blindfold.errors import DocumentInvalid
from kms.authz.compile import CompiledPolicy, compile_policy
from kms.authz.prefix_sets import references
from kms.errors import Denied, KmsError, StoreTampered
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import parse_policy, to_json
from kms.model.policy_records import KmsPolicyRevisionRecord
from kms.services.prefix_sets import PrefixSet, TenantPrefixSets
from kms.services.repository import Repository
from kms.services.sized_cache import SizedCache

MAX_KEPT_BYTES = 256 << 20
PREFIX_SET_MISSING = "PREFIX_SET_MISSING"

_UNREADABLE = "the stored content of a KMS policy cannot be read"


@dataclass(frozen=True, slots=True)
class StoredKmsPolicy:
    """A content as it was written, and what it means, with the prefix sets that it names as they were read.

    `reads_aad`: a rule has an `aad_matcher`; `reads_time`: one has a `time_window`.
    """

    data: bytes
    compiled: CompiledPolicy
    reads_aad: bool
    reads_time: bool
    prefix_sets: tuple[PrefixSet, ...] = ()


def stored(content: PolicyContent, sets: TenantPrefixSets, data: bytes = b"") -> StoredKmsPolicy:
    """A content ready to be asked; without `data`, a draft. Raises `InvalidField`."""
    reads_aad, reads_time = (
        any(rule.is_set(predicate) for rule in content.rules) for predicate in ("aad_matcher", "time_window")
    )
    return StoredKmsPolicy(data, compile_policy(content, sets), reads_aad, reads_time, sets.read)


class KmsPolicyContents:
    """Reads contents out of revisions. Safe for calls from several threads."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._policies: SizedCache[tuple[bytes, str], StoredKmsPolicy] = SizedCache(MAX_KEPT_BYTES)

    def read(self, record: KmsPolicyRevisionRecord, tenant: str) -> StoredKmsPolicy:
        """The policy of a revision of a tenant's, its content checked against its digest.

        Raises `StoreTampered`, and `Denied` because of `PREFIX_SET_MISSING`.
        """
        policy = self.at_hand(record, tenant)
        if policy is None:
            policy = _read(record, TenantPrefixSets(self._repository, tenant))
            self._policies.keep((record.digest, tenant), policy, policy.compiled.memory(len(record.content)))
        return policy

    def at_hand(self, record: KmsPolicyRevisionRecord, tenant: str) -> StoredKmsPolicy | None:
        """As `read`, for a policy that was read before, is still kept, and names no set that has changed."""
        policy = self._policies.get((record.digest, tenant))
        if policy is None or not all(map(self._repository.is_current, policy.prefix_sets)):
            return None
        # A bytes object cannot change, so the very one that was checked is not hashed again.
        if policy.data is not record.content:
            check_digest(record)
        return policy


def content_bytes(content: PolicyContent) -> bytes:
    """A content's canonical JSON (RFC 8785), what is unset left out."""
    return _canonical.dump(to_json(content))


def content_object(record: KmsPolicyRevisionRecord) -> dict[str, object]:
    """The JSON object of docs/policies.md. Raises `StoreTampered`, also for another digest."""
    check_digest(record)
    try:
        return _canonical.load(record.content, record.KIND)
    except DocumentInvalid:
        pass
    raise StoreTampered(_UNREADABLE)


def check_digest(record: KmsPolicyRevisionRecord) -> None:
    """Raises `StoreTampered`."""
    if hashlib.sha256(record.content).digest() != record.digest:
        raise StoreTampered("the content of a KMS policy does not have its recorded digest")


def _read(record: KmsPolicyRevisionRecord, sets: TenantPrefixSets) -> StoredKmsPolicy:
    content = _content(record)
    if not all(name in sets for name in references(content)):
        raise Denied(PREFIX_SET_MISSING)
    try:
        return stored(content, sets, record.content)
    except KmsError:
        pass
    raise StoreTampered(_UNREADABLE)


def _content(record: KmsPolicyRevisionRecord) -> PolicyContent:
    obj = content_object(record)
    try:
        return parse_policy(obj, PolicyKind.KMS)
    except KmsError:
        pass
    raise StoreTampered(_UNREADABLE)
