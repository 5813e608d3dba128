"""What secret and KMS policies have in common: how a head changes, and how its next content comes about."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from kms.errors import WrongState
from kms.model.names import KmsPolicyName, SecretPolicyName
from kms.model.policy_records import KmsPolicyRecord, SecretPolicyRecord
from kms.services.repository import Loaded

H = TypeVar("H", SecretPolicyRecord, KmsPolicyRecord)

Content = Mapping[str, object]


def revision_row(policy: SecretPolicyName | KmsPolicyName, number: int) -> str:
    """The row's name: the revision's, with ten digits, so that rows sort by number."""
    return f"{policy}/revisions/{number:010d}"


def check_not_deleted(head: Loaded[H]) -> None:
    """Raises `WrongState`."""
    if head.record.delete_time is not None:
        raise WrongState(f"{head.name} is deleted; undelete it first")


def with_deletion(head: Loaded[H], etag: str, now: datetime, *, deleted: bool) -> Loaded[H]:
    """The head once it is deleted, or no longer is. Raises `EtagMismatch`, `WrongState`."""
    head.check_etag(etag)
    if (head.record.delete_time is not None) == deleted:
        raise WrongState(f"{head.name} is {'already' if deleted else 'not'} deleted")
    record = replace(head.record, delete_time=now if deleted else None, update_time=now)
    return Loaded(head.name, record, head.counter + 1)


def merge(current: Content, content: Content, fields: Collection[str]) -> Content:
    """Those fields of `content`, absent ones unset, and all others as they are."""
    kept = {field: value for field, value in current.items() if field not in fields}
    return kept | {field: value for field, value in content.items() if field in fields}
