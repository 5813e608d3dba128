"""From stored revisions of KMS policies to rules that can decide, compiled once per content."""

import hashlib
from dataclasses import dataclass

from blindfold import _canonical
from blindfold.errors import DocumentInvalid
from kms.authz.compile import CompiledPolicy, compile_policy
from kms.errors import KmsError, StoreTampered
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import parse_policy, to_json
from kms.model.records import KmsPolicyRevisionRecord
from kms.services.sized_cache import SizedCache

MAX_KEPT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class StoredKmsPolicy:
    """A content as it was written, and what it means. `reads_aad`: a rule has an `aad_matcher`."""

    data: bytes
    compiled: CompiledPolicy
    reads_aad: bool


def stored(content: PolicyContent, data: bytes = b"") -> StoredKmsPolicy:
    """A content ready to be asked; without `data`, a draft. Raises `InvalidField`."""
    reads_aad = any(rule.is_set("aad_matcher") for rule in content.rules)
    return StoredKmsPolicy(data, compile_policy(content), reads_aad)


class KmsPolicyContents:
    """Reads contents out of revisions. Safe for calls from several threads."""

    def __init__(self) -> None:
        self._policies: SizedCache[bytes, StoredKmsPolicy] = SizedCache(MAX_KEPT_BYTES)

    def read(self, record: KmsPolicyRevisionRecord) -> StoredKmsPolicy:
        """The policy of a revision, its content checked against its digest. Raises `StoreTampered`."""
        policy = self.at_hand(record)
        if policy is None:
            policy = _read(record)
            self._policies.keep(record.digest, policy, policy.compiled.memory(len(record.content)))
        return policy

    def at_hand(self, record: KmsPolicyRevisionRecord) -> StoredKmsPolicy | None:
        """As `read`, for a policy that was read before and is still kept."""
        policy = self._policies.get(record.digest)
        # A bytes object cannot change, so the very one that was checked is not hashed again.
        if policy is not None and policy.data is not record.content:
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
    raise StoreTampered("the stored content of a KMS policy cannot be read")


def check_digest(record: KmsPolicyRevisionRecord) -> None:
    """Raises `StoreTampered`."""
    if hashlib.sha256(record.content).digest() != record.digest:
        raise StoreTampered("the content of a KMS policy does not have its recorded digest")


def _read(record: KmsPolicyRevisionRecord) -> StoredKmsPolicy:
    obj = content_object(record)
    try:
        return stored(parse_policy(obj, PolicyKind.KMS), record.content)
    except KmsError:
        pass
    raise StoreTampered("the stored content of a KMS policy cannot be read")
