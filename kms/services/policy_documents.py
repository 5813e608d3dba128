"""From stored documents to policies that can decide, compiled once per document."""

import hashlib
from dataclasses import dataclass
from typing import Any

from blindfold import PolicyDocument
from blindfold.errors import DocumentInvalid
from kms.authz.compile import CompiledPolicy, compile_policy
from kms.errors import KmsError, StoreTampered
from kms.model.policy import PolicyContent, PolicyKind
from kms.model.policy_json import parse_policy, to_json
from kms.model.policy_records import RevisionRecord
from kms.services.sized_cache import SizedCache

MAX_KEPT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A document as it was signed, and what it means."""

    document: PolicyDocument
    digest: bytes
    binding_value: bytes
    content: PolicyContent
    compiled: CompiledPolicy


class PolicyDocuments:
    """Reads documents out of revisions. Safe for calls from several threads."""

    def __init__(self) -> None:
        self._policies: SizedCache[bytes, StoredPolicy] = SizedCache(MAX_KEPT_BYTES)

    def at_hand(self, record: RevisionRecord) -> StoredPolicy | None:
        """As `read`, for a policy that was read before and is still kept."""
        return self._policies.get(_digest(record))

    def read(self, record: RevisionRecord) -> StoredPolicy:
        """The policy of a revision, the digest of whose document is computed anew at every call.

        Raises `StoreTampered` if the digest differs or the document does not hold.
        """
        digest = _digest(record)
        policy = self._policies.get(digest)
        if policy is None:
            policy = _read(record.document, digest)
            self._policies.keep(digest, policy, policy.compiled.memory(len(record.document)))
        return policy


def _digest(record: RevisionRecord) -> bytes:
    digest = hashlib.sha256(record.document).digest()
    if digest != record.digest:
        raise StoreTampered("a policy document does not have its recorded digest")
    return digest


def _read(data: bytes, digest: bytes) -> StoredPolicy:
    try:
        document = PolicyDocument.parse(data)
        content = parse_policy(content_json(document), PolicyKind.SECRET)
        return StoredPolicy(document, digest, document.binding_value, content, compile_policy(content))
    except (DocumentInvalid, KmsError):
        pass
    raise StoreTampered("a stored policy document cannot be read")


def content_json(document: PolicyDocument) -> dict[str, object]:
    """The author's part of a document, in the JSON form of docs/policies.md, unset fields left out."""
    fields: dict[str, object] = {
        "rule_combining": document.rule_combining,
        "rules": [dict(rule) for rule in document.rules],
        "labels": dict(document.labels),
        "description": document.description,
        "binding": document.binding.name,
        "decrypt_cache_timeout_seconds": document.decrypt_cache_timeout_seconds,
    }
    return {name: value for name, value in fields.items() if value not in ([], {}, "", 0)}


def document_fields(content: PolicyContent) -> dict[str, Any]:
    """The arguments of `PolicyDocument` that the author fixes."""
    return {
        "binding": content.binding,
        "rule_combining": content.rule_combining.value,
        "rules": to_json(content)["rules"],
        "labels": dict(content.labels),
        "description": content.description,
        "decrypt_cache_timeout_seconds": content.decrypt_cache_timeout_seconds,
    }
